"""Full fine-tuning on small random Llamas: the same laws as LoRA's, and a model directory instead of an adapter."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig

from star_loop.config.build import build
from star_loop.export.files import export
from star_loop.generators.pool import write_golds
from star_loop.launch import launch
from star_loop.models import Model, Pretrained, fingerprint
from star_loop.models.merging import merged_weights
from star_loop.models.weights import load_beside, load_merged, load_tokenizer, sequence_logprobs
from star_loop.protocols import TrainingError
from star_loop.records import Metrics
from star_loop.run.directory import RunDirectory
from star_loop.trainers.full import Full
from star_loop.trainers.lora import Lora
from star_loop.trainers.students import refuse_without_disk
from tests.quiz import configure
from tests.small_models import write_adapter, write_llama
from tests.trainers.test_exploding_loss import SMALL
from tests.trainers.test_lora import EXAMPLES, naive

FAST = Full(learning_rate=3e-3, epochs=2, batch_size=8, threads=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    """Its head is tied to its embeddings."""
    return Pretrained(name_or_path=str(write_llama(tmp_path_factory.mktemp("llama"), tied=True)))


def fit(into: Path, start: Model, trainer: Full | Lora = FAST, **changes: Any) -> tuple[Metrics, Path]:
    into.mkdir()
    trainer = trainer.model_copy(update=changes)
    return trainer.train(EXAMPLES, start, into, steps=None, seed=0), into


@pytest.fixture(scope="module")
def trained(base: Pretrained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Metrics, Path]:
    before = fingerprint(base)
    made = fit(tmp_path_factory.mktemp("round") / "model", Model(base=base))
    assert fingerprint(base) == before, "the base on disk is only read"
    return made


def canary(directory: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = json.loads((directory / "canary.json").read_text())
    return found


def test_every_weight_moves_and_the_loss_falls(base: Pretrained, trained: tuple[Metrics, Path]) -> None:
    metrics, model = trained
    assert metrics["last_loss"] < 0.7 * metrics["first_loss"]
    before, after = (load_file(Path(place) / "model.safetensors") for place in (base.name_or_path, model))
    assert before.keys() == after.keys()
    assert all((after[name] != before[name]).any() for name in before)


def test_what_is_written_is_a_model_that_anything_loads(base: Pretrained, trained: tuple[Metrics, Path]) -> None:
    _, directory = trained
    expected, prompts = canary(directory)["after"], canary(directory)["prompts"]
    model = Model(base=base, adapter=directory)
    plain = AutoModelForCausalLM.from_pretrained(directory)
    for loaded in (plain, load_merged(model), load_beside(model)):
        assert sequence_logprobs(loaded, prompts) == pytest.approx(expected, abs=1e-3)
    streamed = dict(merged_weights(model, torch.float32))
    assert streamed.keys() == load_file(directory / "model.safetensors").keys()
    assert all(torch.equal(tensor, plain.state_dict()[name]) for name, tensor in streamed.items())
    here = Pretrained(name_or_path=str(directory))
    assert load_tokenizer(here)("3+3=").input_ids == load_tokenizer(base)("3+3=").input_ids


def test_a_round_equals_the_naive_one(base: Pretrained, tmp_path: Path) -> None:
    """The textbook: one sequence at a time, all logits, torch's plain AdamW, the schedule and the clip by hand."""
    changes = {"max_grad_norm": 0.5, "warmup_steps": 2, "weight_decay": 0.5, "packing": True}
    trainer = FAST.model_copy(update=changes)
    _, directory = fit(tmp_path / "model", Model(base=base), trainer)
    model = AutoModelForCausalLM.from_pretrained(base.name_or_path)
    naive(model, list(trainer.batches(trainer._units(trainer._fitting(EXAMPLES, base)), None, seed=0)), trainer)
    written = load_file(directory / "model.safetensors")
    for name, value in model.named_parameters():
        torch.testing.assert_close(written[name], value.detach(), rtol=1e-2, atol=1e-3)


def test_a_round_goes_on_from_a_model_or_an_adapter(
    base: Pretrained, trained: tuple[Metrics, Path], tmp_path: Path
) -> None:
    adapter = write_adapter(Path(base.name_or_path), tmp_path / "adapter")
    for name, start in (("model", trained[1]), ("merged", adapter)):
        _, directory = fit(tmp_path / name, Model(base=base, adapter=start), epochs=1)
        found = canary(directory)
        earlier = load_merged(Model(base=base, adapter=start))
        assert sequence_logprobs(earlier, found["prompts"]) == pytest.approx(found["before"], abs=1e-3)
        assert sum(found["after"]) > sum(found["before"])
    with pytest.raises(ValueError, match=r"it is a whole model, of trainer=full.*Set start_from=base"):
        fit(tmp_path / "lora", Model(base=base, adapter=trained[1]), Lora(r=2))


def test_bfloat16_bases_are_trained_in_float32_and_rounded_once(base: Pretrained, tmp_path: Path) -> None:
    """Steps of 1e-5 would vanish in bfloat16; 30 of them do not."""
    half = base.model_copy(update={"dtype": "bfloat16"})
    metrics, directory = fit(
        tmp_path / "model", Model(base=half), learning_rate=1e-5, lr_scheduler_type="constant", epochs=10
    )
    written = load_file(directory / "model.safetensors")
    assert {tensor.dtype for tensor in written.values()} == {torch.bfloat16}
    before = load_file(Path(base.name_or_path) / "model.safetensors")
    assert any((written[name] != before[name].bfloat16()).any() for name in written)
    assert metrics["steps"] == 30


def test_a_round_in_which_nothing_moves_writes_nothing(base: Pretrained, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no weight moved"):
        fit(tmp_path / "model", Model(base=base), learning_rate=1e-60)  # none in float32
    with pytest.raises(TrainingError, match=r"step \d+ of 6: loss .*(nan|inf)"):
        fit(tmp_path / "wild", Model(base=base), learning_rate=1e30, max_grad_norm=None)
    assert list((tmp_path / "model").iterdir()) == list((tmp_path / "wild").iterdir()) == []


def test_a_rate_factor_of_no_parameter_is_refused_before_anything_starts(base: Pretrained) -> None:
    FAST.model_copy(update={"rate_factors": {"q_proj": 2}}).check_base(base)
    with pytest.raises(ValueError, match=r"trainer\.rate_factors: 'lora_B' is in the name of no parameter"):
        FAST.model_copy(update={"rate_factors": {"q_proj": 2, "lora_B": 16}}).check_base(base)


def test_what_does_not_fit_the_memory_is_refused_before_anything_starts(base: Pretrained, tmp_path: Path) -> None:
    FAST.check_base(base)
    LlamaConfig(hidden_size=16384, intermediate_size=65536, num_hidden_layers=80).save_pretrained(tmp_path)
    save_file({"none": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(
        ValueError, match=r"trainer=full: .*B weights need \d+\.\d GiB, 16 bytes each.*take trainer=lora"
    ):
        FAST.check_base(Pretrained(name_or_path=str(tmp_path)))


def test_what_does_not_fit_the_disk_is_refused_with_both_figures(tmp_path: Path) -> None:
    refuse_without_disk(3 * 2**30, 3 * 2**30, tmp_path)
    with pytest.raises(OSError, match=r"round needs 3\.0 GiB, and 1\.0 GiB are free on the disk of .*: make room, or"):
        refuse_without_disk(3 * 2**30, 2**30, tmp_path)


def test_a_model_that_lost_a_number_is_not_gone_on_with(
    base: Pretrained, trained: tuple[Metrics, Path], tmp_path: Path
) -> None:
    spoilt = tmp_path / "spoilt"
    shutil.copytree(trained[1], spoilt)
    weights = load_file(spoilt / "model.safetensors")
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, spoilt / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"spoilt has numbers that are not finite \(first in model\.norm\.weight\)"):
        fit(tmp_path / "model", Model(base=base, adapter=spoilt))
    assert list((tmp_path / "model").iterdir()) == []


def test_keys_that_a_whole_model_has_no_use_for_are_refused() -> None:
    for key in ({"r": 8}, {"optimizer": "muon"}, {"peft": {}}):
        with pytest.raises(ValidationError):
            Full(**key)
    with pytest.raises(ValueError, match=r"generator\.adapter=lora cannot serve: set generator\.adapter=merge"):
        Full().check_beside(16)


@pytest.mark.engine
def test_a_run_keeps_resumes_forks_and_exports_whole_models(tmp_path: Path) -> None:
    small = [key for key in SMALL if key != "trainer.r=2"]
    task = build(configure(*SMALL)).task
    write_golds(task, [*task.train(), *task.validation(), *task.test()], tmp_path / "golds.jsonl")
    common = (*small, "trainer=full", f"generator.path={tmp_path / 'golds.jsonl'}", "keep=best")
    for iterations in (3, 4):  # the second launch goes on from the third iteration's model
        launch(configure(*common, f"iterations={iterations}"), tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    last = run.latest()
    assert last is not None and last.number == 4
    kept = last.state().kept
    assert kept is not None and [t for t in range(1, 5) if (run.iteration(t).path / "adapter").exists()] == list(kept)
    figures = last.metrics()
    assert 0 < figures["flops_exact/train"] < 1.5 * figures["flops/train"]

    forked = launch(
        configure(*common, "iterations=5", f"fork={last.path}", "trainer.learning_rate=1e-4"), tmp_path / "fork"
    )
    assert forked.iteration == 5
    folder = export(tmp_path / "run", "last")
    assert {path.name for path in folder.iterdir()} == {"merged", "data", "README.md"}
    assert "all weights trained on rationales" in " ".join((folder / "README.md").read_text().split())
    exported, made = (load_file(place / "model.safetensors") for place in (folder / "merged", last.path / "adapter"))
    assert all(torch.equal(exported[name], made[name]) for name in made)

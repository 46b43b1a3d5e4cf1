"""TRL's trainer behind the protocol: the same batches and laws, and its own loss, schedule and optimiser."""

import importlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from peft import PeftModel
from pydantic import ValidationError
from safetensors.torch import load_file

from star_loop.config.build import build
from star_loop.models import Model, Pretrained, fingerprint
from star_loop.models.weights import load_merged, load_model, sequence_logprobs
from star_loop.protocols import TrainingError
from star_loop.records import Metrics
from star_loop.trainers.lora import Lora
from star_loop.trainers.students import load_base
from star_loop.trainers.trl import Trl
from tests.quiz import QUIZ, configure
from tests.small_models import write_llama
from tests.trainers.test_lora import EXAMPLES, FILES, example

KEYS: dict[str, Any] = {
    "r": 4, "lora_alpha": 8, "learning_rate": 1e-2, "epochs": 2, "batch_size": 7, "threads": 1, "max_grad_norm": 0.5,
    "weight_decay": 0.1, "betas": (0.8, 0.99),
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    return Pretrained(name_or_path=str(write_llama(tmp_path_factory.mktemp("llama"))))


def fit(into: Path, base: Pretrained, trainer: Lora, start: Path | None = None, **options: Any) -> Metrics:
    into.mkdir()
    return trainer.train(EXAMPLES, Model(base=base, adapter=start), into, **({"steps": None, "seed": 0} | options))


SCHEDULES: dict[str, dict[str, Any]] = {
    "linear": {},
    "cosine": {"warmup_steps": 2},
    "constant": {"warmup_steps": 3},
    "linear, with a warm-up": {"warmup_steps": 2, "min_lr_ratio": 0.1},
    "wsd": {"warmup_steps": 1, "decay_ratio": 0.5},
}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_round_is_ours_but_for_rounding(base: Pretrained, tmp_path: Path, schedule: str) -> None:
    """One loss, one order of examples, one schedule, one optimiser: two implementations."""
    told: list[int] = []
    found = fingerprint(base)
    keys = KEYS | {"lr_scheduler_type": schedule.partition(",")[0], **SCHEDULES[schedule]}
    theirs = fit(tmp_path / "theirs", base, Trl(**keys), progress=told.append)
    ours = fit(tmp_path / "ours", base, Lora(**keys))
    assert fingerprint(base) == found and sum(told) == theirs["steps"] == ours["steps"] == 7
    assert theirs.keys() == ours.keys()
    for name, value in ours.items():
        assert theirs[name] == pytest.approx(value, rel=1e-3), name
    one, other = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("theirs", "ours"))
    assert one.keys() == other.keys()
    moved = max(float(tensor.abs().max()) for name, tensor in other.items() if "lora_B" in name)
    assert moved > 0.02
    for name, tensor in other.items():
        assert float((one[name] - tensor).abs().max()) < 0.05 * moved, name


def test_the_only_step_of_a_warm_up_moves_something(base: Pretrained, tmp_path: Path) -> None:
    found = fit(tmp_path / "one", base, Trl(**KEYS, warmup_steps=1), steps=1)
    assert (found["steps"], found["learning_rate"]) == (1, KEYS["learning_rate"])


def test_what_is_written_is_pefts_and_gone_on_with(base: Pretrained, tmp_path: Path) -> None:
    fit(tmp_path / "first", base, Trl(**KEYS), steps=3)
    fit(tmp_path / "second", base, Trl(**KEYS), start=tmp_path / "first", steps=3)
    assert sorted(path.name for path in (tmp_path / "second").iterdir()) == FILES
    for name in ("first", "second"):
        canary = json.loads((tmp_path / name / "canary.json").read_text())
        served = load_merged(Model(base=base, adapter=tmp_path / name))
        assert sequence_logprobs(served, canary["prompts"]) == pytest.approx(canary["after"], abs=1e-3)
    PeftModel.from_pretrained(load_model(base), str(tmp_path / "second"))
    first, second = (json.loads((tmp_path / name / "canary.json").read_text()) for name in ("first", "second"))
    assert second["before"] == pytest.approx(first["after"], abs=1e-3)
    assert not any("lora" in name for name, _ in load_base(base).named_modules())


def test_fields_of_its_own_reach_it(base: Pretrained, tmp_path: Path) -> None:
    plain = fit(tmp_path / "plain", base, Trl(**KEYS), steps=3)
    rows = fit(tmp_path / "rows", base, Trl(**KEYS, sft={"padding_free": True}), steps=3)
    noise = fit(tmp_path / "noise", base, Trl(**KEYS, sft={"neftune_noise_alpha": 50.0}), steps=3)
    assert rows["last_loss"] == pytest.approx(plain["last_loss"], rel=1e-3)
    assert noise["first_loss"] != pytest.approx(plain["first_loss"], rel=1e-3)


def test_nothing_is_written_where_a_law_is_broken(base: Pretrained, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no weight moved"):
        fit(tmp_path / "still", base, Trl(**KEYS | {"learning_rate": 1e-60}))  # none in float32
    wild = KEYS | {"learning_rate": 1e30, "max_grad_norm": None}
    with pytest.raises(TrainingError, match=r"step \d+ of 7: .*(nan|inf|finite).*Lower trainer\.learning_rate"):
        fit(tmp_path / "wild", base, Trl(**wild))
    assert list((tmp_path / "still").iterdir()) == list((tmp_path / "wild").iterdir()) == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"packing": True}, r"trainer\.packing=True: trainer=trl does not heed it: take trainer=lora"),
        ({"loss": "dpo"}, r"trainer\.loss=dpo: trainer=trl does not heed it"),
        ({"optimizer": "muon"}, r"trainer\.optimizer=muon: trainer=trl does not"),
        ({"sft": {"learning_rate": 1.0}}, r"trainer\.sft\.learning_rate: a round sets this"),
        ({"sft": {"use_liger_kernel": True}}, r"trainer\.sft\.use_liger_kernel: .* by a key of its own"),
        ({"sft": {"neftune_noise": 5}}, r"trainer\.sft\.neftune_noise: TRL .* did you mean neftune_noise_alpha\?"),
    ],
)
def test_what_it_would_not_heed_is_refused_before_the_run(base: Pretrained, keys: dict[str, Any], said: str) -> None:
    Trl(**KEYS).check_base(base)
    with pytest.raises(ValueError, match=said):
        Trl(**KEYS, **keys).check_base(base)
    with pytest.raises(ValueError, match=r"model\.quantization=nf4: TRL would keep .* bfloat16: take trainer=lora"):
        Trl(**KEYS).check_base(base.model_copy(update={"quantization": "nf4"}))
    with pytest.raises(ValidationError):
        Trl(strategy="ddp")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("optim", "foo"), ("optim", "muon"), ("loss_type", "foo"), ("assistant_only_loss", True),
        ("eos_token", "<nope>"), ("pad_token", "<nope>"), ("dataloader_num_workers", -1), ("chat_template_path", "nope"),
        ("deepspeed", "nope.json"), ("gradient_checkpointing_kwargs", 3),
    ],
)  # fmt: skip
def test_a_value_that_trl_refuses_is_refused_before_the_run(base: Pretrained, field: str, value: Any) -> None:
    Trl(**KEYS, sft={"padding_free": True, "neftune_noise_alpha": 5}).check_base(base)
    with pytest.raises(ValueError, match=rf"^trainer\.sft=\{{'{field}': .*TRL refuses it: \w+: "):
        Trl(**KEYS, sft={field: value}).check_base(base)


def test_a_value_that_only_a_step_uses_ends_the_round_by_name(base: Pretrained, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"^trainer\.sft=\{'neftune_noise_alpha': 'x'\}: TRL fails with it: TypeErr"
    ):
        fit(tmp_path / "noise", base, Trl(**KEYS, sft={"neftune_noise_alpha": "x"}))
    assert list((tmp_path / "noise").iterdir()) == []


@pytest.mark.parametrize(("selectors", "named"), [("lark", "lark"), ("[]", "mass")])
def test_selectors_that_weigh_are_refused_before_the_run(selectors: str, named: str) -> None:
    more = ("+selectors.mass._target_=star_loop.selectors.mixture.Mass", "sampler=skill_it", "sampler.by=[level]")
    keys = (*QUIZ, "model=tiny", "scorer=student", f"selectors={selectors}", *(more if named == "mass" else ()))
    build(configure(*keys, "trainer=lora")).check()
    with pytest.raises(ValueError, match=rf"selectors\.{named} gives rationales different weights.*take trainer=lora"):
        build(configure(*keys, "trainer=trl")).check()


def test_weights_are_refused(base: Pretrained, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"knows no weights of examples, and these have .* to .*: take trainer=lora"):
        Trl(**KEYS).train([example(1), example(2, weight=3.0)], Model(base=base), tmp_path, steps=1, seed=0)
    assert math.isfinite(Trl(**KEYS).train([example(1)], Model(base=base), tmp_path, steps=1, seed=0)["loss"])


def test_without_it_the_refusal_says_what_to_install(base: Pretrained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [base.name_or_path])  # where nothing is installed
    monkeypatch.delitem(sys.modules, "trl", raising=False)
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match=r"^trainer=trl needs TRL: pip install 'star_loop\[trl\]', or take"):
        Trl(**KEYS).check_base(base)

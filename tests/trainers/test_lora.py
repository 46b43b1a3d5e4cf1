"""The LoRA trainer on small random Llamas: real PEFT, real gradients."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel
from pydantic import ValidationError

from star_loop.generators.openai import OpenAI
from star_loop.generators.pool import Pool
from star_loop.generators.vllm import Vllm
from star_loop.models import Model, Pretrained
from star_loop.models.weights import computing_dtype, load_merged, load_model, sequence_logprobs
from star_loop.protocols import TrainingError
from star_loop.records import Example
from star_loop.trainers import finetuning
from star_loop.trainers.adapter import SIZES
from star_loop.trainers.batches import Encoded, micro_batches, normalised
from star_loop.trainers.forward import Forward
from star_loop.trainers.lora import Lora
from star_loop.trainers.optimizers import factor_of, first_spoilt, spoilt
from star_loop.trainers.placement import Placement
from star_loop.trainers.students import Adapted, load_base
from tests.small_models import write_llama

FILES = ["adapter_config.json", "adapter_model.safetensors", "canary.json"]
adapted = Adapted().student
FAST = Lora(r=4, lora_alpha=8, learning_rate=1e-2, epochs=4, batch_size=8, threads=1)


def example(i: int, completion: str | None = None, weight: float = 1.0) -> Example:
    return Example(
        position=i, id=f"sum/{i}", prompt=f"{i}+{i}=", completion=completion or str(2 * i) * (1 + i % 5), weight=weight
    )  # fmt: skip


EXAMPLES = [example(i) for i in range(24)]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Pretrained:
    return Pretrained(name_or_path=str(write_llama(tmp_path_factory.mktemp("llama"))))


@pytest.fixture
def fit(base, tmp_path):
    """Train and return (metrics, adapter directory); keyword arguments change the trainer."""
    rounds = iter(range(100))

    def run(examples=EXAMPLES, *, start=None, steps=None, seed=0, progress=None, trainer=FAST, **changes):
        into = tmp_path / f"adapter{next(rounds)}"
        into.mkdir()
        trainer = trainer.model_copy(update=changes)
        start = start or Model(base=base)
        return trainer.train(examples, start, into, steps=steps, seed=seed, progress=progress), into

    return run


def contents(directory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


# ------------------------------------------------------------------------------------------------- it learns


def test_the_loss_falls_and_the_adapter_changes_the_model(base, fit):
    metrics, adapter = fit()
    assert metrics["last_loss"] < 0.7 * metrics["first_loss"]
    assert 0 < metrics["token_accuracy"] < 1
    ids = torch.tensor([list(b"3+3=")])
    plain = load_model(base)
    before = plain(ids).logits
    after = PeftModel.from_pretrained(plain, str(adapter))(ids).logits
    assert (before - after).abs().max() > 0.1


def test_metrics_count_what_was_trained(fit):
    metrics, _ = fit(EXAMPLES[:10], epochs=2, batch_size=4)
    prompts = sum(1 + len(e.prompt) for e in EXAMPLES[:10])  # with <bos>
    losses = sum(len(e.completion) + 1 for e in EXAMPLES[:10])  # with <eos>
    assert metrics["examples"] == 10 and metrics["epochs"] == 2 and metrics["steps"] == 5
    assert metrics["tokens"] == 2 * (prompts + losses)
    assert metrics["loss_tokens"] == 2 * losses
    assert metrics["dropped"] == 0
    assert metrics["learning_rate"] == FAST.learning_rate
    assert all(math.isfinite(value) for value in metrics.values())


def test_only_the_completion_and_the_end_have_a_loss(base, fit):
    """The reported first loss is the base model's mean negative log-likelihood of completions, and of nothing else."""
    metrics, _ = fit(steps=1, batch_size=24)
    model, expected = load_model(base), 0.0
    bos, eos = 256, 257
    for e in EXAMPLES:
        prompt = [bos, *letters(e.prompt)]
        full = [*prompt, *letters(e.completion), eos]
        whole, question = sequence_logprobs(model, [full, prompt])
        expected -= whole - question
    assert metrics["first_loss"] == pytest.approx(expected / metrics["loss_tokens"], rel=1e-5)


def letters(text: str) -> list[int]:
    from tests.small_models import byte_tokenizer

    return byte_tokenizer()(text, add_special_tokens=False).input_ids


def test_progress_is_told_of_every_step(fit):
    told = []
    metrics, _ = fit(progress=told.append)
    assert sum(told) == metrics["steps"] == FAST.total_steps(EXAMPLES, None)


def test_canary_holds_both_models_log_probabilities(base, fit):
    _, adapter = fit()
    canary = json.loads((adapter / "canary.json").read_text())
    assert 2 <= len(canary["prompts"]) <= 4
    model = load_model(base)
    assert sequence_logprobs(model, canary["prompts"]) == pytest.approx(canary["before"], rel=1e-5)
    adapted = PeftModel.from_pretrained(model, str(adapter))
    assert sequence_logprobs(adapted, canary["prompts"]) == pytest.approx(canary["after"], rel=1e-4)
    assert sum(canary["after"]) > sum(canary["before"]) + 1


def test_going_on_starts_where_the_last_round_ended(base, fit):
    _, first = fit(epochs=6)
    everything = {"steps": 1, "batch_size": len(EXAMPLES)}
    again, second = fit(start=Model(base=base, adapter=first), **everything)
    fresh, _ = fit(**everything)
    assert again["first_loss"] < 0.7 * fresh["first_loss"]
    ended = json.loads((first / "canary.json").read_text())
    began = json.loads((second / "canary.json").read_text())
    adapted = PeftModel.from_pretrained(load_model(base), str(first))
    assert began["before"] == pytest.approx(sequence_logprobs(adapted, began["prompts"]), rel=1e-4)
    assert sum(ended["after"]) > sum(ended["before"])


def test_gradient_checkpointing_and_dropout_train_too(fit):
    plain, _ = fit()
    checkpointed, _ = fit(gradient_checkpointing=True)
    assert checkpointed["last_loss"] == pytest.approx(plain["last_loss"], rel=1e-4)
    dropped, _ = fit(lora_dropout=0.3)
    assert dropped["last_loss"] < dropped["first_loss"]
    assert dropped["last_loss"] != plain["last_loss"]


def test_bfloat16_weights_keep_float32_adapters(base, fit):
    from safetensors.torch import load_file

    half = base.model_copy(update={"dtype": "bfloat16"})
    metrics, adapter = fit(start=Model(base=half))
    assert metrics["last_loss"] < 0.8 * metrics["first_loss"]
    assert {value.dtype for value in load_file(adapter / "adapter_model.safetensors").values()} == {torch.float32}


def test_peft_casts_nothing_where_autocast_does(base, fit):
    """PEFT would cast each input to the matrices' float32; the products are in bfloat16 then all the same."""
    found = {}
    for dtype in ("bfloat16", "float32"):
        other = base.model_copy(update={"dtype": dtype})

        def look(_, dtype=dtype, other=other):
            layers = [module for module in load_base(other).modules() if hasattr(module, "lora_A")]
            found[dtype] = {getattr(layer, "cast_input_dtype_enabled", True) for layer in layers}

        fit(EXAMPLES[:4], start=Model(base=other), epochs=1, progress=look)
    half = computing_dtype(base.model_copy(update={"dtype": "bfloat16"})) == torch.bfloat16  # not on every CPU
    assert found == {"bfloat16": {not half}, "float32": {True}}


# ------------------------------------------------------------------------------------------- it is reproducible


def test_same_arguments_same_bytes(fit):
    _, first = fit()
    _, second = fit()
    _, other = fit(seed=1)
    assert sorted(contents(first)) == FILES
    assert contents(first) == contents(second)
    assert contents(first)["adapter_model.safetensors"] != contents(other)["adapter_model.safetensors"]


def test_the_seed_draws_the_matrices_and_the_order(base):
    def matrices(seed):
        with adapted(FAST, Model(base=base), seed) as model:
            return torch.cat([p.detach().flatten() for name, p in model.named_parameters() if "lora_A" in name])

    def order(seed):
        encoded = [Encoded(ids=[i, i], prompt=1) for i in range(24)]
        return [[s.ids[0] for s in batch] for batch in FAST.batches(encoded, None, seed)]

    assert torch.equal(matrices(0), matrices(0)) and not torch.equal(matrices(0), matrices(1))
    assert order(0) == order(0) != order(1)
    assert order(0)[:3] != order(0)[3:6], "each pass has its own order"


def test_another_process_writes_the_same_bytes(base, fit, tmp_path):
    """PEFT keeps target modules in a set, whose order changes with every process."""
    import subprocess
    import sys

    _, here = fit(EXAMPLES[:4], epochs=1)
    there = tmp_path / "there"
    there.mkdir()
    script = (
        "import sys; from pathlib import Path; from star_loop.models import Pretrained; "
        "from star_loop.models import Model; from tests.trainers.test_lora import EXAMPLES, FAST; "
        "FAST.model_copy(update={'epochs': 1}).train(EXAMPLES[:4], Model(base=Pretrained(name_or_path=sys.argv[1])), "
        "Path(sys.argv[2]), steps=None, seed=0)"
    )
    subprocess.run([sys.executable, "-c", script, base.name_or_path, str(there)], check=True)
    assert contents(here) == contents(there)


def test_nothing_of_a_round_stays_in_the_base(base, fit):
    """Rounds share one loaded base; a round between two equal ones must not show."""
    _, first = fit()
    fit(seed=5, target_modules=("q_proj",), gradient_checkpointing=True)
    _, again = fit()
    assert contents(first) == contents(again)
    left = load_base(base)
    assert not any("lora" in name for name, _ in left.named_modules())
    assert not left.is_gradient_checkpointing


@pytest.mark.parametrize("module", ["lm_head", "embed_tokens"])
def test_a_tied_layer_is_refused_before_anything_starts(base, tmp_path, module):
    tied = Pretrained(name_or_path=str(write_llama(tmp_path, tied=True)))
    trainer = FAST.model_copy(update={"target_modules": ("q_proj", module)})
    trainer.check_base(base)
    FAST.check_base(tied)
    with pytest.raises(ValueError, match=rf"LoRA matrices on (model\.)?{module}: .*Take these layers out of trainer"):
        trainer.check_base(tied)


def test_modules_that_are_not_there_are_refused_before_anything_starts(base):
    with pytest.raises(ValueError, match=r"trainer\.target_modules: the base has no module oracle: there are .*q_proj"):
        FAST.model_copy(update={"target_modules": ("q_proj", "oracle")}).check_base(base)


def test_an_output_layer_of_its_own_is_trained(base, fit):
    metrics, adapter = fit(target_modules=("lm_head",))
    assert metrics["last_loss"] < metrics["first_loss"]
    canary = json.loads((adapter / "canary.json").read_text())
    merged = load_merged(Model(base=base, adapter=adapter))
    assert sequence_logprobs(merged, canary["prompts"]) == pytest.approx(canary["after"], abs=1e-3)


OPTIONS = {
    "rsLoRA": {"use_rslora": True},
    "DoRA": {"use_dora": True},
    "ranks by layer": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 16}},
    "a head trained whole": {"modules_to_save": ["lm_head"]},
    "another beginning": {"init_lora_weights": "orthogonal"},
    "one layer": {"layers_to_transform": [1]},
    **{method: {"peft_type": method} for method in SIZES if method not in ("LORA", "OFT")},
    "OFT": {"peft_type": "oft", "oft_block_size": 8},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_what_peft_offers_is_trained_gone_on_with_and_merged(base, fit, name):
    targets = ("q_proj", "v_proj", "down_proj")
    FAST.model_copy(update={"peft": OPTIONS[name], "target_modules": targets}).check_base(base)
    metrics, adapter = fit(peft=OPTIONS[name], target_modules=targets, steps=4)
    assert metrics["last_loss"] < metrics["first_loss"]
    first = Model(base=base, adapter=adapter)
    _, second = fit(peft=OPTIONS[name], target_modules=targets, steps=1, start=first)
    for directory in (adapter, second):
        canary = json.loads((directory / "canary.json").read_text())
        merged = load_merged(Model(base=base, adapter=directory))
        assert sequence_logprobs(merged, canary["prompts"]) == pytest.approx(canary["after"], abs=1e-2)
    canary = json.loads((second / "canary.json").read_text())
    assert sequence_logprobs(load_merged(first), canary["prompts"]) == pytest.approx(canary["before"], abs=1e-2)


@pytest.mark.parametrize(
    ("peft", "said"),
    [
        ({"r": 8}, r"trainer\.peft\.r: this has a key of its own: trainer\.r"),
        ({"use_dorra": True}, r"trainer\.peft\.use_dorra: PEFT .* has no such field: did you mean use_dora\?"),
        ({"bias": "all"}, r"trainer\.peft\.bias: a bias of the base would be trained"),
        ({"init_lora_weights": "pissa"}, r"trainer\.peft\.init_lora_weights: 'pissa' changes the weights of the base"),
        ({"peft_type": "OSF"}, r"trainer\.peft\.peft_type=OSF: no such method of PEFT .*: there are LORA, LOHA"),
        (
            {"peft_type": "LOHA", "use_dora": True},
            r"trainer\.peft\.use_dora: PEFT .* has no such field: .*rank_dropout",
        ),
        ({"peft_type": "LOHA", "alpha": 8}, r"trainer\.peft\.alpha: this has a key of its own: trainer\.lora_alpha"),
        ({"peft_type": "OFT", "oft_block_size": 0}, r"trainer\.peft=.*PEFT refuses it"),
        ({"task_type": "SEQ_CLS"}, r"trainer\.peft\.task_type: a round sets this by itself"),
        ({"alora_invocation_tokens": [1]}, r"trainer\.peft\.alora_invocation_tokens: it acts only behind"),
        (
            {"modules_to_save": ["oracle"]},
            r"trainer\.peft\.modules_to_save: the base has no module oracle: there are .*lm_head",
        ),
    ],
)
def test_what_cannot_be_trained_served_or_merged_is_refused_by_name(base, peft, said):
    with pytest.raises(ValueError, match=said):
        FAST.model_copy(update={"peft": peft}).check_base(base)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        *(("rank_pattern", value, r"does not fit: .*dictionary") for value in (3, None, [4])),
        *(("rank_pattern", {"q_proj": value}, r"does not fit at q_proj: .*integer") for value in ("abc", 4.5, None)),
        ("rank_pattern", {"q_proj": 0}, r"does not fit at q_proj: .*greater than or equal to 1"),
        ("rank_pattern", {"q_proj(": 4}, r"'q_proj\(' is no regular expression.*unterminated"),
        ("alpha_pattern", 7, r"7 does not fit: .*dictionary"),
        ("alpha_pattern", {"q_proj": "x"}, r"does not fit at q_proj: .*number"),
        ("exclude_modules", 5, r"5 does not fit"),
        ("exclude_modules", "(", r"'\(' is no regular expression"),
        ("modules_to_save", 5, r"5 does not fit"),
        ("modules_to_save", ["("], r"'\(' is no regular expression"),
        ("init_lora_weights", 1, r"1 changes the weights of the base.*take one of \[True, False"),
        ("use_dora", 1, r"1 does not fit: .*boolean"),
        ("runtime_config", {"a": 1}, r"it is written in no file: leave it out"),
        ("monteclora_config", 3, r"3 is no mapping"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_name(base, field, value, said):
    with pytest.raises(ValueError, match=rf"^trainer\.peft\.{field}: .*{said}"):
        FAST.model_copy(update={"peft": {field: value}}).check_base(base)


@pytest.mark.parametrize(
    ("method", "field", "value"),
    [("OFT", "oft_block_size", "x"), ("LOHA", "rank_pattern", {"q_proj": "a"}), ("VERA", "d_initial", "x")],
)
def test_so_is_one_of_another_method(base, method, field, value):
    with pytest.raises(ValueError, match=rf"^trainer\.peft\.{field}: .* does not fit"):
        FAST.model_copy(update={"peft": {"peft_type": method, field: value}}).check_base(base)


def test_values_that_do_not_go_together_are_refused_in_pefts_words(base):
    peft = {"monteclora_config": {"oracle": 1}}
    with pytest.raises(ValueError, match=r"^trainer\.peft=\{'monteclora_config'.*: PEFT refuses it: .*oracle"):
        FAST.model_copy(update={"peft": peft}).check_base(base)
    peft = {"target_parameters": ["q_proj.weight"]}
    with pytest.raises(ValueError, match=r"^trainer\.target_modules=all-linear, trainer\.peft=\{'target_param.*q_proj"):
        FAST.model_copy(update={"peft": peft}).check_base(base)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peft": {"use_dora": True}}, r"trainer\.peft\.use_dora cannot be served with generator\.adapter=lora"),
        ({"peft": {"rank_pattern": {"q_proj": 9}}}, r"have rank 9, and generator\.max_lora_rank=8: raise it"),
        ({"peft": {"peft_type": "MISS"}}, r"trainer\.peft\.peft_type cannot be served with generator\.adapter=lora"),
        ({"r": 16}, r"have rank 16, and generator\.max_lora_rank=8"),
    ],
)
def test_what_an_engine_cannot_apply_beside_the_base_is_refused(changes, said):
    beside = Vllm(adapter="lora", max_lora_rank=8).rank_beside
    assert beside == 8
    assert Vllm(adapter="merge").rank_beside is None
    for taught in (OpenAI, Pool):
        assert taught(student=Vllm(adapter="lora", max_lora_rank=8)).rank_beside == beside
        assert taught().rank_beside is None
    FAST.check_beside(beside)
    with pytest.raises(ValueError, match=said):
        FAST.model_copy(update=changes).check_beside(beside)


def test_a_tied_head_that_is_trained_whole_is_refused(tmp_path):
    tied = Pretrained(name_or_path=str(write_llama(tmp_path, tied=True)))
    with pytest.raises(ValueError, match=r"LoRA matrices on lm_head: .*ties its output layer"):
        FAST.model_copy(update={"peft": {"modules_to_save": ["lm_head"]}}).check_base(tied)


def test_another_meaning_of_the_same_matrices_is_not_gone_on_with(base, fit):
    _, adapter = fit(steps=1)
    with pytest.raises(ValueError, match=r"it has use_rslora=False, trainer\.peft\.use_rslora=True"):
        fit(steps=1, start=Model(base=base, adapter=adapter), peft={"use_rslora": True})


def test_another_method_is_not_gone_on_with(base, fit):
    _, adapter = fit(steps=1)
    with pytest.raises(ValueError, match=r"it has peft_type=LORA and 28 matrices, the trainer peft_type=LOHA and 56"):
        fit(steps=1, start=Model(base=base, adapter=adapter), peft={"peft_type": "LOHA"})
    with pytest.raises(ValueError, match=r"trainer\.lora_dropout=0\.1: LOHA has none"):
        fit(steps=1, lora_dropout=0.1, peft={"peft_type": "LOHA"})


@pytest.mark.parametrize("changes", [{"optimizer": "muon"}, {"rate_factors": {"lora_B": 16.0}, "learning_rate": 1e-3}])
def test_other_optimisers_learn_as_well(fit, changes):
    metrics, _ = fit(steps=6, **changes)
    assert metrics["last_loss"] < metrics["first_loss"]


def test_a_rate_factor_names_parts_of_parameters():
    settings = Lora(rate_factors={"lora_B": 16, "q_proj": 0.5})
    assert [factor_of(settings, name) for name in ("k_proj.lora_A", "k_proj.lora_B", "q_proj.lora_B")] == [1, 16, 8]


def test_a_rate_factor_of_no_parameter_is_refused_before_anything_starts(base, fit):
    for factors in ({"lora_B": 16}, {"lora_B": 16, "q_proj": 2}):
        FAST.model_copy(update={"rate_factors": factors}).check_base(base)
    refused = r"trainer\.rate_factors: 'lora_b' is in the name of no parameter that is trained; .* lora_A, lora_B, "
    with pytest.raises(ValueError, match=refused):
        FAST.model_copy(update={"rate_factors": {"lora_B": 16, "lora_b": 16}}).check_base(base)
    with pytest.raises(ValueError, match=refused):
        fit(steps=1, rate_factors={"lora_b": 16})
    FAST.model_copy(update={"rate_factors": {"lora_A": 0}}).check_base(base)
    with pytest.raises(ValueError, match=r"trainer\.rate_factors=.*: all that is trained has a rate of 0"):
        FAST.model_copy(update={"rate_factors": {"lora_A": 0, "lora_B": 0}}).check_base(base)


def test_attention_for_generation_is_refused_before_anything_starts(base):
    for name in ("paged|eager", "paged|sdpa"):
        with pytest.raises(ValueError, match=r"^trainer\.attention=paged\|\w+: paged attention is for generation"):
            FAST.model_copy(update={"attention": name}).check_base(base)


@pytest.mark.parametrize(
    ("peft", "said"),
    [
        ({"use_dora": True}, r"lora_magnitude_vector.* has 1 dimensions: .*leave out trainer\.peft\.use_dora=True"),
        ({"modules_to_save": ["norm"]}, r"norm.*leave its module out of trainer\.peft\.modules_to_save=\['norm'\]"),
        ({"peft_type": "VERA"}, r"vera_lambda.*leave out trainer\.peft\.peft_type=VERA"),
        ({"peft_type": "DELORA"}, r"delora_lambda.*leave out trainer\.peft\.peft_type=DELORA"),
    ],
)
def test_what_is_no_matrix_is_refused_for_muon_before_anything_starts(base, peft, said):
    muon = FAST.model_copy(update={"optimizer": "muon", "target_modules": ("q_proj", "v_proj")})
    muon.model_copy(update={"peft": {"modules_to_save": ["lm_head"]}}).check_base(base)
    with pytest.raises(ValueError, match=rf"^trainer\.optimizer=muon orthogonalises matrices, and .*{said}"):
        muon.model_copy(update={"peft": peft}).check_base(base)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("rank_pattern", {"nope": 4}, r"'nope' matches no module that is trained: there are q_proj, v_proj$"),
        ("alpha_pattern", {"k_proj": 4}, r"'k_proj' matches no module that is trained: there are q_proj, v_proj$"),
        ("exclude_modules", ["nada"], r"the base has no module nada: there are .*q_proj"),
        ("layers_to_transform", [0, 7], r"the base has no layer 7: there are 0 to 1$"),
        ("layers_to_transform", -1, r"the base has no layer -1: there are 0 to 1$"),
        ("modules_to_save", ["oracle.lm_head"], r"the base has no module oracle\.lm_head: there are .*lm_head"),
        ("target_parameters", ["x"], r"the base has no parameter x: they are called like lm_head\.weight"),
    ],
)
def test_names_that_the_base_does_not_have_are_refused(base, field, value, said):
    two = FAST.model_copy(update={"target_modules": ("q_proj", "v_proj")})
    for fits in ({"rank_pattern": {r"layers\.0\..*q_proj": 2}}, {"exclude_modules": r".*\.0\..*"}):
        two.model_copy(update={"peft": fits}).check_base(base)
    with pytest.raises(ValueError, match=rf"^trainer\.peft\.{field}: {said}"):
        two.model_copy(update={"peft": {field: value}}).check_base(base)
    with pytest.raises(ValueError, match=r"^trainer\.peft\.exclude_modules=nada: this matches the whole name of no"):
        two.model_copy(update={"peft": {"exclude_modules": "nada"}}).check_base(base)


class Narrow(Placement):
    """Memory that holds micro-batches of at most `room` padded tokens: more is an out-of-memory halfway through."""

    room = 40

    def share(self, batch, max_tokens, packed):
        for number, group in enumerate(super().share(batch, max_tokens, packed)):
            if len(group) * len(group[-1].ids) > self.room and number:
                raise torch.OutOfMemoryError("no room")
            yield group


def test_a_step_that_does_not_fit_is_cut_smaller_and_stays_the_same(base, tmp_path):
    sequences = normalised([Encoded(ids=list(range(k, k + 10)), prompt=3) for k in range(8)])
    curves = []
    for name, place in (("wide", Placement), ("narrow", Narrow)):
        (tmp_path / name).mkdir()
        settings = FAST.model_copy(update={"max_tokens_per_batch": 60})
        curves.append(
            finetuning.run(
                settings, [sequences] * 2, Model(base=base), tmp_path / name, seed=0, progress=None, place=place
            )
        )
    for wide, narrow in zip(*curves, strict=True):
        assert (narrow.loss, narrow.grad_norm) == pytest.approx((wide.loss, wide.grad_norm), rel=1e-4)


def test_a_sequence_that_does_not_fit_alone_ends_the_round(base, tmp_path):
    class Tiny(Placement):
        def share(self, batch, max_tokens, packed):
            raise torch.OutOfMemoryError("no room")

    with pytest.raises(TrainingError, match=r"micro-batches of 10 tokens \(the longest sequence has 10\)"):
        finetuning.run(
            FAST, [[Encoded(ids=list(range(10)), prompt=3)]], Model(base=base), tmp_path, seed=0, progress=None,
            place=Tiny,
        )  # fmt: skip


def test_draws_leave_torchs_generator_alone(fit):
    before = torch.random.get_rng_state()
    fit(lora_dropout=0.1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_adapter_config_names_the_base_and_loads(base, fit):
    _, adapter = fit(EXAMPLES[:4], epochs=1)
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == base.name_or_path
    assert config["peft_type"] == "LORA" and config["r"] == 4 and config["inference_mode"]
    assert config["target_modules"] == sorted(config["target_modules"])


# ---------------------------------------------------------------------------------------------- it is right


def test_a_round_equals_the_naive_one(base, fit):
    """The textbook: one sequence at a time, all logits, torch's plain AdamW, the schedule and the clip by hand."""
    from safetensors.torch import load_file

    changes = {"max_grad_norm": 0.5, "warmup_steps": 2, "weight_decay": 5.0, "epochs": 2.0, "learning_rate": 3e-3}
    trainer = FAST.model_copy(update=changes)
    weighted = [example(i, weight=1.0 + i % 3) for i in range(12)]
    _, adapter = fit(weighted, trainer=trainer)
    batches = list(trainer.batches(trainer._units(trainer._fitting(weighted, base)), None, seed=0))
    with adapted(trainer, Model(base=base), seed=0) as model:
        naive(model, batches, trainer)
        expected = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    written = load_file(adapter / "adapter_model.safetensors")
    assert len(written) == len(expected) > 0
    for name, value in expected.items():
        torch.testing.assert_close(written[name.replace(".default", "")], value, rtol=1e-2, atol=1e-4)


def naive(model, batches, trainer):
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, betas=trainer.betas, weight_decay=trainer.weight_decay, foreach=False)
    for step, batch in enumerate(batches):
        model.zero_grad()
        losses = []
        for sequence in batch:
            logits = model(input_ids=torch.tensor([sequence.ids])).logits[0, sequence.prompt - 1 : -1]
            nll = torch.nn.functional.cross_entropy(
                logits, torch.tensor(sequence.ids[sequence.prompt :]), reduction="sum"
            )
            losses.append(sequence.weight * nll)
        (sum(losses) / sum(len(s.ids) - s.prompt for s in batch)).backward()
        norm = torch.sqrt(sum((p.grad**2).sum() for p in parameters))
        for p in parameters:
            p.grad *= min(1.0, trainer.max_grad_norm / norm)
        rising, left = (step + 1) / trainer.warmup_steps, (len(batches) - step) / (len(batches) - trainer.warmup_steps)
        optimizer.param_groups[0]["lr"] = trainer.learning_rate * (rising if step < trainer.warmup_steps else left)
        optimizer.step()


# --------------------------------------------------------------------------------------- weights and batches


def gradients(base, sequences, max_tokens) -> torch.Tensor:
    """The gradient of one optimiser step, all parameters in a row."""
    settings = FAST.model_copy(update={"max_tokens_per_batch": max_tokens})
    with adapted(settings, Model(base=base), seed=0) as model:
        finetuning._accumulate(Placement(model), sequences, settings.max_tokens_per_batch)
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])


def pair(weight: float) -> list[Encoded]:
    return [Encoded(ids=list(b"1+1=2"), prompt=4, weight=weight), Encoded(ids=list(b"10+10=20."), prompt=6)]


def test_a_weight_reaches_the_gradient_at_micro_batch_1(base):
    """1 token at once: every micro-batch is one sequence. The gradient is linear in the weight."""
    one, two, three = (gradients(base, pair(weight), max_tokens=1) for weight in (1.0, 2.0, 3.0))
    assert (two - one).norm() > 0.05 * one.norm()
    torch.testing.assert_close(three - two, two - one, rtol=1e-3, atol=1e-6)


def test_a_weight_acts_where_a_step_is_one_example(fit):
    light = [example(1, weight=1.0), example(2, weight=1.0)]
    heavy = [example(1, weight=1.0), example(2, weight=9.0)]
    assert fit(light, batch_size=1)[0]["loss"] != pytest.approx(fit(heavy, batch_size=1)[0]["loss"], rel=1e-3)


def test_the_scale_of_all_weights_does_not_matter(fit):
    plain, _ = fit()
    scaled, _ = fit([example(i, weight=16.0) for i in range(24)])
    assert scaled == plain


def test_micro_batches_add_up_to_the_step(base):
    sequences = normalised([Encoded(ids=list(b"12+3=15 and so on"[: 6 + i]), prompt=5, weight=1 + i) for i in range(8)])
    whole = gradients(base, sequences, max_tokens=10_000)
    torch.testing.assert_close(gradients(base, sequences, max_tokens=1), whole, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(gradients(base, sequences, max_tokens=25), whole, rtol=1e-3, atol=1e-6)


def test_micro_batching_does_not_change_the_loss_curve(fit):
    whole, _ = fit(max_tokens_per_batch=10_000)
    single, _ = fit(max_tokens_per_batch=1)
    for name in ("first_loss", "loss", "last_loss", "grad_norm"):
        assert single[name] == pytest.approx(whole[name], rel=1e-3)


def test_chunks_of_logits_do_not_change_loss_or_gradient(base):
    def losses(at_once):
        with adapted(FAST, Model(base=base), seed=0) as model:
            nll, correct = Forward(at_once=at_once)(model, pair(1.0))
            (nll * torch.linspace(0.5, 2, len(nll))).sum().backward()  # no two losses weigh the same
            return nll.detach(), correct, [p.grad for p in model.parameters() if p.requires_grad]

    torch.testing.assert_close(losses(1), losses(2**20), rtol=1e-4, atol=1e-5)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 200))
def test_micro_batches_keep_every_sequence_within_the_budget(lengths, budget):
    batch = [Encoded(ids=[i] * length, prompt=0) for i, length in enumerate(lengths)]
    groups = micro_batches(batch, budget)
    assert sorted(s.ids[0] for group in groups for s in group) == list(range(len(lengths)))
    assert all(len(g) == 1 or len(g) * max(len(s.ids) for s in g) <= budget for g in groups)


@given(st.integers(1, 40), st.integers(1, 50), st.none() | st.integers(1, 30), st.sampled_from([0.3, 1.0, 2.5]))
def test_every_pass_visits_every_example_once(n, batch_size, steps, epochs):
    trainer = Lora(batch_size=batch_size, epochs=epochs)
    encoded = [Encoded(ids=[i, i], prompt=1) for i in range(n)]
    batches = list(trainer.batches(encoded, steps, seed=3))
    assert len(batches) == trainer.total_steps([example(1)] * n, steps)
    assert steps is None or len(batches) == steps
    visits = [sequence.ids[0] for batch in batches for sequence in batch]
    for first in range(0, len(visits), n):
        chunk = visits[first : first + n]
        assert len(set(chunk)) == len(chunk)
    assert steps is not None or len(visits) == math.ceil(epochs * n - 1e-9)


def test_max_epochs_caps_the_schedules_steps():
    trainer = Lora(batch_size=4, max_epochs=3)
    assert trainer.total_steps(EXAMPLES[:10], steps=100) == 8  # 30 visits
    assert trainer.total_steps(EXAMPLES[:10], steps=2) == 2
    assert Lora(batch_size=4).total_steps(EXAMPLES[:10], steps=100) == 100


def test_learning_rate_rises_and_falls():
    trainer = Lora(learning_rate=1.0, warmup_steps=2, min_lr_ratio=0.5)
    assert [trainer.rate(step, 6) for step in range(6)] == [0.5, 1.0, 1.0, 0.875, 0.75, 0.625]
    constant = Lora(learning_rate=1.0, warmup_steps=2, lr_scheduler_type="constant")
    assert [constant.rate(step, 4) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]
    assert np.allclose([Lora(learning_rate=1.0).rate(step, 4) for step in range(4)], [1.0, 0.75, 0.5, 0.25])
    cosine = Lora(learning_rate=1.0, lr_scheduler_type="cosine", min_lr_ratio=0.2)
    assert np.allclose([cosine.rate(step, 4) for step in (0, 2)], [1.0, 0.6])
    stable = Lora(learning_rate=1.0, lr_scheduler_type="wsd", decay_ratio=0.4)
    assert np.allclose([stable.rate(step, 10) for step in range(10)], [1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


# ------------------------------------------------------------------------------------------------ it refuses


def test_nothing_to_train_on(fit):
    with pytest.raises(ValueError, match="0 examples"):
        fit([])
    with pytest.raises(ValueError, match="0 steps"):
        fit(steps=0)


def test_examples_longer_than_the_context_are_dropped(fit):
    long = example(99, completion="9" * 600)
    metrics, _ = fit([*EXAMPLES, long])
    assert metrics["dropped"] == 1 and metrics["examples"] == len(EXAMPLES)
    with pytest.raises(TrainingError, match="512 tokens"):
        fit([long])


def test_an_adapter_that_did_not_move(fit, tmp_path):
    with pytest.raises(TrainingError, match="no weight moved"):
        fit(learning_rate=1e-60)  # none in float32
    assert list((tmp_path / "adapter0").iterdir()) == []


def test_a_loss_that_is_not_finite_names_the_step(fit, tmp_path):
    with pytest.raises(TrainingError, match=r"step \d+ of 12: loss (nan|inf)"):
        fit(learning_rate=1e30, max_grad_norm=None)
    assert list((tmp_path / "adapter0").iterdir()) == []
    fit()  # and the base is none the worse for it


def test_a_weight_that_the_last_step_spoils_names_it_and_nothing_is_written(fit, tmp_path):
    with pytest.raises(TrainingError, match=r"step 1 of 1: a weight of .*lora_A.* is not a finite number"):
        fit(steps=1, learning_rate=1e39)
    assert list((tmp_path / "adapter0").iterdir()) == []


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("kind", ["exp_avg", "exp_avg_sq"])
def test_a_number_that_an_optimiser_lost_is_found_and_named(kind, number):
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
    layer(torch.ones(3)).sum().backward()
    optimizer.step()
    assert not spoilt(optimizer, lambda tensor: tensor)
    optimizer.state[layer.weight][kind][1, 2] = number
    assert spoilt(optimizer, lambda tensor: tensor)
    assert first_spoilt(optimizer, layer) == f"the optimiser's {kind} of weight"


def test_a_base_that_moved(base, fit, tmp_path):
    def spoil(_):
        load_base(base).get_input_embeddings().weight.data.add_(1e-3)

    with pytest.raises(TrainingError, match="frozen base changed"):
        fit(progress=spoil)
    assert list((tmp_path / "adapter0").iterdir()) == []
    clean, _ = fit()
    assert clean["last_loss"] < clean["first_loss"]


def test_an_adapter_of_another_shape(base, fit):
    _, first = fit(EXAMPLES[:4], epochs=1)
    with pytest.raises(ValueError, match=r"r=4.*trainer r=8"):
        fit(start=Model(base=base, adapter=first), r=8)
    with pytest.raises(ValueError, match="lora_alpha"):
        fit(start=Model(base=base, adapter=first), lora_alpha=16.0)
    with pytest.raises(ValueError, match="matrices"):
        fit(start=Model(base=base, adapter=first), target_modules=("q_proj",))


@pytest.mark.parametrize("weight", [-1.0, math.inf, 0.0])
def test_unusable_weights(fit, weight):
    with pytest.raises(ValueError, match="weights must be"):
        fit([example(1, weight=weight)])


def test_a_head_that_the_trainer_does_not_know(tmp_path, fit):
    """Granite divides its logits; a trainer that leaves that out optimises something else."""
    from transformers import GraniteConfig, GraniteForCausalLM

    from tests.small_models import byte_tokenizer

    tokenizer = byte_tokenizer()
    GraniteForCausalLM(
        GraniteConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
            logits_scaling=8.0, initializer_range=0.3, bos_token_id=256, eos_token_id=257, pad_token_id=258,
        )
    ).save_pretrained(tmp_path / "granite")  # fmt: skip
    tokenizer.save_pretrained(tmp_path / "granite")
    with pytest.raises(TrainingError, match="scales its logits"):
        fit(start=Model(base=Pretrained(name_or_path=str(tmp_path / "granite"))))


def test_soft_capped_logits(tmp_path, fit):
    """Gemma 2 squashes its logits; the loss is that of its own forward, or the round would refuse."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    from tests.small_models import byte_tokenizer

    tokenizer = byte_tokenizer()
    Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, head_dim=32, final_logit_softcapping=3.0, initializer_range=0.3,
            bos_token_id=256, eos_token_id=257, pad_token_id=258,
        )
    ).save_pretrained(tmp_path / "gemma")  # fmt: skip
    tokenizer.save_pretrained(tmp_path / "gemma")
    metrics, _ = fit(start=Model(base=Pretrained(name_or_path=str(tmp_path / "gemma"))))
    assert metrics["last_loss"] < metrics["first_loss"]


@pytest.mark.parametrize(
    "keys",
    [
        {"rank": 8},
        {"r": 0},
        {"lr_scheduler_type": "sine"},
        {"learning_rate": math.nan},
        {"learning_rate": 0},
        {"attention": ""},
    ],
)
def test_unusable_keys(keys):
    with pytest.raises(ValidationError):
        Lora(**keys)

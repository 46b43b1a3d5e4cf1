"""Rows of several sequences: the same losses and gradients as sequences that are padded to one length."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from star_loop.models import Model, Pretrained
from star_loop.models.weights import load_merged, sequence_logprobs
from star_loop.protocols import TrainingError
from star_loop.trainers import finetuning
from star_loop.trainers.attention import NAME, attending, by_sequence
from star_loop.trainers.batches import Encoded, micro_batches
from star_loop.trainers.forward import Forward
from star_loop.trainers.lora import Lora
from star_loop.trainers.placement import Placement
from star_loop.trainers.students import Adapted, load_base
from tests.small_models import byte_tokenizer, write_llama
from tests.trainers.test_lora import EXAMPLES, FAST

SHAPE = {
    "vocab_size": 259, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 32, "initializer_range": 0.3, "bos_token_id": 256, "eos_token_id": 257,
    "pad_token_id": 258,
}  # fmt: skip


def write(into: Path, kind: str, **fields: Any) -> Pretrained:
    """A random model of one of transformers' families."""
    import transformers

    config = getattr(transformers, f"{kind}Config")(**SHAPE, **fields)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        getattr(transformers, f"{kind}ForCausalLM")(config).save_pretrained(into)
    byte_tokenizer().save_pretrained(into)
    return Pretrained(name_or_path=str(into))


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pretrained]:
    """Grouped keys; windows of 6 tokens; and squashed scores, which only transformers' own attention has."""
    folder = tmp_path_factory.mktemp("bases")
    return {
        "sdpa": Pretrained(name_or_path=str(write_llama(folder / "llama"))),
        "windows": write(folder / "windows", "Mistral", sliding_window=6),
        "eager": write(folder / "eager", "Gemma2", sliding_window=6),
    }


sequences = st.lists(
    st.builds(
        Encoded,
        ids=st.lists(st.integers(0, 255), min_size=1, max_size=24),
        prompt=st.integers(0, 3),
        weight=st.floats(0.1, 3),
    ),
    min_size=1,
    max_size=7,
)


@pytest.mark.parametrize("kind", ["sdpa", "windows", "eager"])
@examples(max_examples=12)
@given(batch=sequences, budget=st.integers(1, 80), checkpointing=st.booleans())
def test_a_packed_step_is_the_padded_one(
    bases: dict[str, Pretrained], kind: str, batch: list[Encoded], budget: int, checkpointing: bool
) -> None:
    batch = [sequence for sequence in batch if sequence.losses > 0] or [Encoded(ids=[1, 2], prompt=1)]

    def step(packed: bool) -> tuple[torch.Tensor, ...]:
        attention = "eager" if kind == "eager" else None
        with (
            Adapted().student(FAST, Model(base=bases[kind]), seed=0) as model,
            attending(model.get_base_model(), attention, packed),
        ):
            assert model.get_base_model().config._attn_implementation == (attention or NAME)
            if checkpointing:
                model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
            with torch.no_grad():
                for number, (name, parameter) in enumerate(model.named_parameters()):
                    if "lora_B" in name:  # zeros would hide the gradients of the matrices A
                        parameter.copy_(torch.linspace(-0.1, 0.1, parameter.numel()).view_as(parameter).roll(number))
            loss, correct = finetuning._accumulate(Placement(model), batch, budget, Forward(packed=packed))
            slopes = [p.grad.flatten() for p in model.parameters() if p.requires_grad]
            return loss, correct, torch.cat(slopes)

    torch.testing.assert_close(step(packed=True), step(packed=False), rtol=1e-3, atol=1e-5)


def test_a_packed_round_ends_where_the_padded_one_does(bases: dict[str, Pretrained], tmp_path: Path) -> None:
    metrics = {}
    for name, packing in (("packed", True), ("padded", False)):
        (tmp_path / name).mkdir()
        trainer = FAST.model_copy(update={"packing": packing})
        metrics[name] = trainer.train(EXAMPLES, Model(base=bases["sdpa"]), tmp_path / name, steps=None, seed=0)
    assert metrics["packed"] == pytest.approx(metrics["padded"], rel=1e-2)
    assert metrics["packed"]["last_loss"] < 0.7 * metrics["packed"]["first_loss"]
    canary = json.loads((tmp_path / "packed" / "canary.json").read_text())
    merged = load_merged(Model(base=bases["sdpa"], adapter=tmp_path / "packed"))
    assert sequence_logprobs(merged, canary["prompts"]) == pytest.approx(canary["after"], abs=1e-3)
    left = load_base(bases["sdpa"])
    assert left.config._attn_implementation == "sdpa"


def test_attention_in_bfloat16_is_computed_in_float32_on_a_cpu() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        given = [torch.randn(1, 2, 9, 32).bfloat16().requires_grad_(True) for _ in range(3)]
    told = {"scaling": 0.2, "cu_seq_lens_q": torch.tensor([0, 4, 9])}
    layer = torch.nn.Module()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = by_sequence(layer, *given, None, **told)
    assert found.dtype == torch.bfloat16 and found.shape == (1, 9, 2, 32)
    expected, _ = by_sequence(layer, *(each.float() for each in given), None, **told)
    torch.testing.assert_close(found, expected.bfloat16(), rtol=0, atol=0)
    found.float().sum().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in given)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 200))
def test_packed_micro_batches_are_as_full_as_their_order_allows(lengths: list[int], budget: int) -> None:
    groups = micro_batches([Encoded(ids=[0] * length, prompt=0) for length in lengths], budget, packed=True)
    sizes = [[len(sequence.ids) for sequence in group] for group in groups]
    assert [size for group in sizes for size in group] == sorted(lengths)
    assert all(len(group) == 1 or sum(group) <= budget for group in sizes)
    assert all(sum(group) + after[0] > budget for group, after in pairwise(sizes))
    assert len(sizes) <= len(micro_batches([Encoded(ids=[0] * n, prompt=0) for n in lengths], budget))


def mixing(module: Any, query: Any, key: Any, value: Any, _: Any, **options: Any) -> Any:
    """Attention that knows nothing of sequences."""
    options.pop("cu_seq_lens_q", None)
    return sdpa_attention_forward(module, query, key, value, None, **options)


def test_a_model_that_mixes_the_sequences_of_a_row_is_refused(bases: dict[str, Pretrained], tmp_path: Path) -> None:
    AttentionInterface.register("mixing", mixing)
    trainer = FAST.model_copy(update={"packing": True, "attention": "mixing"})
    with pytest.raises(TrainingError, match=r"mixes the sequences of a row \(trainer\.packing=false pads them\)"):
        trainer.train(EXAMPLES, Model(base=bases["sdpa"]), tmp_path, steps=1, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_layers_that_hand_a_state_on_are_refused_before_anything_starts(tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    MambaForCausalLM(MambaConfig(vocab_size=259, hidden_size=32, num_hidden_layers=1)).save_pretrained(tmp_path)
    base = Pretrained(name_or_path=str(tmp_path))
    Lora(attention="eager").check_base(base)
    with pytest.raises(ValueError, match=r"MambaForCausalLM has layers that hand a state on.*trainer\.packing=false"):
        Lora(packing=True).check_base(base)


@pytest.mark.parametrize("name", ["flash_attention_2", "quick"])
def test_an_attention_that_is_not_there_is_refused_before_anything_starts(
    bases: dict[str, Pretrained], name: str
) -> None:
    with pytest.raises(ValueError, match=rf"^trainer\.attention={name}: .*(installed|not supported)"):
        Lora(attention=name).check_base(bases["sdpa"])

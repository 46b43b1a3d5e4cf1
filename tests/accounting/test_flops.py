"""FLOPs from matrix shapes against torch's own counter, on transformers with eager attention."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MixtralConfig, PhiConfig

from star_loop.accounting.flops import Shapes, inference_flops, shapes_of, training_flops
from star_loop.models import Pretrained

RANK = 8
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 300,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ARCHITECTURES = {
    "llama": LlamaConfig(**SIZES),
    "grouped queries": LlamaConfig(**SIZES, num_key_value_heads=2, head_dim=32),
    "tied": LlamaConfig(**SIZES, num_key_value_heads=1, tie_word_embeddings=True),
    "parallel blocks": PhiConfig(**SIZES),
    "transposed weights": GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=300, bos_token_id=1, eos_token_id=2),
}  # fmt: skip


@pytest.fixture(params=ARCHITECTURES)
def architecture(request, tmp_path):
    """A random model with eager attention, and the shapes found from its configuration file alone."""
    config = ARCHITECTURES[request.param]
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager"), shapes(config, tmp_path)


def shapes(config, folder, targets="all-linear") -> Shapes:
    config.save_pretrained(folder)
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return shapes_of(Pretrained(name_or_path=str(folder)), targets)


def count(work) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def tokens(n: int) -> torch.Tensor:
    return torch.zeros(1, n, dtype=torch.long)


def test_parameters(architecture):
    model, shapes = architecture
    assert shapes.parameters == model.num_parameters()


@pytest.mark.parametrize("logits", [1, 96])
def test_prefill(architecture, logits):
    model, shapes = architecture
    counted = count(lambda: model(tokens(96), logits_to_keep=logits, use_cache=False))
    assert shapes.prefill(96, logits) == pytest.approx(counted, rel=0.02)


def test_decode(architecture):
    model, shapes = architecture
    cache = model(tokens(20)).past_key_values

    def decode():
        for _ in range(30):
            model(tokens(1), past_key_values=cache)

    assert shapes.decode(prompt=20, generated=31) == pytest.approx(count(decode), rel=0.02)


def test_lora_training(architecture):
    model, shapes = architecture
    student = get_peft_model(model, LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM"))
    losses = 40
    counted = count(lambda: student(tokens(96), logits_to_keep=losses).logits.sum().backward())
    assert shapes.train([(96, losses)], RANK) == pytest.approx(counted, rel=0.02)


def test_full_training(architecture):
    model, shapes = architecture
    losses = 40
    counted = count(lambda: model.requires_grad_(True)(tokens(96), logits_to_keep=losses).logits.sum().backward())
    assert shapes.train_whole([(96, losses)]) == pytest.approx(counted, rel=0.02)


def test_lora_training_of_some_layers(tmp_path):
    config, targets = LlamaConfig(**SIZES | {"num_hidden_layers": 6}), ["q_proj", "down_proj"]
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    student = get_peft_model(model, LoraConfig(r=RANK, target_modules=targets, task_type="CAUSAL_LM"))
    counted = count(lambda: student(tokens(96)).logits.sum().backward())
    assert shapes(config, tmp_path, targets).train([(96, 96)], RANK) == pytest.approx(counted, rel=0.02)


def test_experts_count_where_a_token_visits_them(tmp_path):
    config = MixtralConfig(**SIZES, num_local_experts=8, num_experts_per_tok=2, num_key_value_heads=2)
    found = shapes(config, tmp_path)
    hidden, inner, layers = 64, 160, 2
    visited = 2 * layers * (hidden * 2 * inner + inner * hidden)
    assert sum(linear.size for linear in found.linears if "experts" in linear.name) == visited
    assert found.parameters > sum(linear.size for linear in found.linears) + 6 * layers * 3 * hidden * inner


def test_generation_shares_the_prefill(architecture):
    _, shapes = architecture
    apart = shapes.generate(50, [7]) + shapes.generate(50, [9])
    assert apart - shapes.generate(50, [7, 9]) == shapes.prefill(50)
    assert shapes.generate(50, [1]) == shapes.prefill(50), "the prefill's logits give the first token"
    assert shapes.generate(50, []) == shapes.prefill(50)


def test_convention():
    assert inference_flops(340_000, 100) == 2 * 340_000 * 100
    assert training_flops(340_000, 100) == 3 * inference_flops(340_000, 100)


def test_exact_approaches_the_convention_where_it_should():
    """Without attention, head and embeddings, a forward is 2·P per token."""
    from star_loop.accounting.flops import Linear

    wide = Linear(name="wide", inputs=1000, outputs=1000)
    shapes = Shapes(parameters=10**6, linears=(wide,), hidden=1, vocabulary=1, layers=0, heads=0, head_dim=0)
    assert shapes.prefill(10, logits=0) == inference_flops(10**6, 10)
    assert shapes.train([(10, 0)], rank=0) == pytest.approx(training_flops(10**6, 10) * 2 / 3)

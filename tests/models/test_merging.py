"""The stream of a merged model is the merged model, bit for bit, and no second copy of it."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from star_loop.models import Model, Pretrained
from star_loop.models.merging import checkpoint_files, merged_weights, updates
from star_loop.models.weights import checkpoint_weights, load_merged, load_model
from tests.small_models import write_llama

ADAPTERS = {
    "plain": LoraConfig(r=4, lora_alpha=6, target_modules="all-linear"),
    "some layers": LoraConfig(r=3, lora_alpha=3, target_modules=["q_proj", "down_proj"]),
    "rsLoRA": LoraConfig(r=4, lora_alpha=6, use_rslora=True, target_modules="all-linear"),
    "DoRA": LoraConfig(r=4, use_dora=True, target_modules=["q_proj"]),
    "ranks of their own": LoraConfig(r=4, rank_pattern={"q_proj": 2}, target_modules=["q_proj", "v_proj"]),
    "a head of its own": LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head"]),
}
PLAIN = {"plain", "some layers", "rsLoRA"}


@pytest.fixture(scope="module", params=["one file", "tied", "several files"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = write_llama(tmp_path_factory.mktemp("base"), tied=request.param == "tied")
    if request.param == "several files":
        model = load_model(Pretrained(name_or_path=str(into)))
        (into / "model.safetensors").unlink()
        model.save_pretrained(into, max_shard_size="100KB")
        assert len(list(into.glob("model-*.safetensors"))) > 1
    return into


def adapted(base: Path, config: LoraConfig, into: Path) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = get_peft_model(load_model(Pretrained(name_or_path=str(base))), deepcopy(config))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.normal_(std=0.1)
    model.save_pretrained(into)
    return Model(base=Pretrained(name_or_path=str(base)), adapter=into)


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_stream_is_the_merged_model(base: Path, name: str, tmp_path: Path) -> None:
    tied = load_model(Pretrained(name_or_path=str(base))).config.tie_word_embeddings
    if name == "a head of its own" and tied:
        return  # such an adapter unties them, and is refused where it is configured
    model = adapted(base, ADAPTERS[name], tmp_path)
    assert (updates(tmp_path) is not None) == (name in PLAIN)
    for dtype in (torch.float32, torch.bfloat16):
        stream, whole = dict(merged_weights(model, dtype)), checkpoint_weights(load_merged(model, dtype))
        assert {key: value.dtype for key, value in stream.items()} == dict.fromkeys(whole, dtype)
        assert all(torch.equal(stream[key], whole[key]) for key in whole)


def test_a_base_without_an_adapter_is_streamed_as_it_is(base: Path) -> None:
    model = Model(base=Pretrained(name_or_path=str(base)))
    whole = checkpoint_weights(load_model(model.base))
    stream = dict(merged_weights(model, torch.float32))
    assert set(stream) == set(whole) == set(checkpoint_files(model.base) or ())
    assert all(torch.equal(stream[key], whole[key]) for key in whole)


def test_layers_of_other_names_on_disk_are_merged_in_memory(tmp_path: Path) -> None:
    base = write_llama(tmp_path / "base", tied=True)
    model = adapted(base, ADAPTERS["plain"], tmp_path / "adapter")
    expected = dict(merged_weights(model, torch.float32))
    inner = {name.removeprefix("model."): weight for name, weight in load_file(base / "model.safetensors").items()}
    save_file(inner, base / "model.safetensors", metadata={"format": "pt"})  # as a model without a head is saved
    assert not set(updates(tmp_path / "adapter") or ()) <= set(checkpoint_files(model.base) or ())
    stream = dict(merged_weights(model, torch.float32))
    assert all(torch.equal(stream[name], weight) for name, weight in expected.items())

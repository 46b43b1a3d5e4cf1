"""Loading, encoding, merging, and the errors of models that are not there."""

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from star_loop.models import Model, Pretrained, fingerprint
from star_loop.models.weights import (
    checkpoint_weights,
    context_length,
    encode_completion,
    encode_prompt,
    end_tokens,
    load_beside,
    load_config,
    load_merged,
    load_model,
    load_tokenizer,
    save_merged,
    sequence_logprobs,
    weight_dtype,
)
from tests.small_models import LETTERS, byte_tokenizer, write_adapter, write_llama

BOS, EOS = LETTERS, LETTERS + 1


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Pretrained:
    return Pretrained(name_or_path=str(write_llama(tmp_path_factory.mktemp("llama"))))


@pytest.fixture(scope="module")
def tied(tmp_path_factory) -> Pretrained:
    return Pretrained(name_or_path=str(write_llama(tmp_path_factory.mktemp("tied"), tied=True)))


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory) -> Path:
    return write_adapter(Path(base.name_or_path), tmp_path_factory.mktemp("adapter"))


@pytest.fixture
def copy(base, tmp_path) -> Path:
    return Path(shutil.copytree(base.name_or_path, tmp_path / "copy"))


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.tensor([[BOS, 1, 2, 3]])).logits


class TestEncoding:
    TOKENIZER = byte_tokenizer()

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_any_text_survives(self, text):
        ids = encode_completion(self.TOKENIZER, text)
        assert ids[-1] == EOS and EOS not in ids[:-1]
        assert self.TOKENIZER.decode(ids, skip_special_tokens=True) == text
        assert encode_prompt(self.TOKENIZER, text, None)[0] == BOS

    def test_a_spelt_out_special_token_is_only_text(self):
        assert len(encode_completion(self.TOKENIZER, "<eos>")) == len("<eos>") + 1

    def test_a_prompt_that_its_tokenizer_closes_stays_open(self):
        from tokenizers.processors import TemplateProcessing

        closing = byte_tokenizer()
        closing.backend_tokenizer.post_processor = TemplateProcessing(
            single="<bos> $A <eos>", special_tokens=[("<bos>", BOS), ("<eos>", EOS)]
        )
        assert encode_prompt(closing, "a", None) == encode_prompt(self.TOKENIZER, "a", None)


class TestLoading:
    def test_dtype(self, base, copy):
        assert weight_dtype(base) == load_model(base).dtype == torch.float32
        assert load_model(base, torch.bfloat16).dtype == torch.bfloat16
        edit(copy / "config.json", dtype="bfloat16")
        half = Pretrained(name_or_path=str(copy))
        assert weight_dtype(half) == load_model(half).dtype == torch.bfloat16
        assert weight_dtype(half.model_copy(update={"dtype": "float16"})) == torch.float16

    def test_a_cpu_that_is_slow_in_bfloat16_computes_in_float32(self, copy):
        edit(copy / "config.json", dtype="bfloat16")
        asked = (
            "import torch, star_loop.generators.devices as devices, star_loop.models.weights as weights\n"
            "from star_loop.models import Pretrained\n"
            f"half = Pretrained(name_or_path={str(copy)!r})\n"
            "print(torch.backends.cpu.get_cpu_capability(), *map(str, (weights.weight_dtype(half),"
            "weights.computing_dtype(half), devices.generating_dtype(half, 'auto'),"
            "devices.generating_dtype(half, 'bfloat16'))))"
        )
        for most in {"avx2", torch.backends.cpu.get_cpu_capability().lower()}:  # the most that torch may use
            environment = os.environ | {"ATEN_CPU_CAPABILITY": most, "CUDA_VISIBLE_DEVICES": ""}
            said = subprocess.run([sys.executable, "-c", asked], env=environment, stdout=subprocess.PIPE, check=True)
            capability, *dtypes = said.stdout.decode().split()
            found = "float32" if capability == "AVX2" else "bfloat16"
            assert dtypes == ["torch.bfloat16", f"torch.{found}", found, "bfloat16"]
        if platform.machine() == "x86_64":
            assert capability in ("AVX2", "AVX512"), "the names that torch gives them"

    def test_facts_of_the_configuration(self, base, copy):
        assert context_length(load_config(base)) == 512
        edit(copy / "generation_config.json", eos_token_id=[EOS, 7])
        model = Pretrained(name_or_path=str(copy))
        assert end_tokens(load_model(model), load_tokenizer(model), model) == [EOS, 7]

    def test_no_such_directory(self, tmp_path):
        with pytest.raises(ValueError, match=r"no directory.*config\.json"):
            Pretrained(name_or_path=str(tmp_path / "nowhere")).check()

    def test_neither_a_directory_nor_in_the_hub_cache(self, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(ValueError, match=r"star-loop/no-such-model.*HF_HUB_OFFLINE"):
            Pretrained(name_or_path="star-loop/no-such-model").check()

    @pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
    def test_what_is_missing_is_named(self, copy, missing):
        (copy / missing).unlink()
        pretrained = Pretrained(name_or_path=str(copy))
        for look in (pretrained.check, lambda: load_model(pretrained)):
            with pytest.raises(ValueError, match=f"has no .*{Path(missing).suffix}"):
                look()

    def test_a_broken_configuration(self, copy):
        (copy / "config.json").write_text("{")
        with pytest.raises(ValueError, match=r"config\.json is not JSON"):
            load_config(Pretrained(name_or_path=str(copy)))

    def test_truncated_weights(self, copy):
        weights = copy / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        with pytest.raises(ValueError, match=r"model\.safetensors is not whole"):
            load_model(Pretrained(name_or_path=str(copy)))

    def test_weights_that_do_not_fill_the_model(self, copy):
        edit(copy / "config.json", num_hidden_layers=3)
        with pytest.raises(ValueError, match=r"lack .*layers\.2.*random"):
            load_model(Pretrained(name_or_path=str(copy)))

    def test_a_tokenizer_without_end_of_sequence(self, copy):
        config = json.loads((copy / "tokenizer_config.json").read_text())
        del config["eos_token"]
        (copy / "tokenizer_config.json").write_text(json.dumps(config))
        with pytest.raises(ValueError, match="no end-of-sequence token"):
            load_tokenizer(Pretrained(name_or_path=str(copy)))


class TestFingerprint:
    def test_moves_with_the_weights_only(self, base, copy):
        moved = Pretrained(name_or_path=str(copy))
        assert fingerprint(moved) == fingerprint(base)
        (copy / "README.md").write_text("a card")
        assert fingerprint(moved) == fingerprint(base)
        weights = bytearray((copy / "model.safetensors").read_bytes())
        weights[-1] ^= 1
        (copy / "model.safetensors").write_bytes(weights)
        assert fingerprint(moved) != fingerprint(base)

    def test_of_a_hub_model_is_its_name_and_revision(self):
        assert fingerprint(Pretrained(name_or_path="a/b")) == "a/b@main"
        assert fingerprint(Pretrained(name_or_path="a/b", revision="c")) == "a/b@c"


class TestMerging:
    def test_merged_is_the_base_with_its_adapter(self, base, adapter):
        model = Model(base=base, adapter=adapter)
        merged, beside = logits(load_merged(model)), logits(load_beside(model))
        torch.testing.assert_close(merged, beside, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(merged, logits(load_model(base)), atol=1.0)

    def test_what_is_saved_is_what_was_merged(self, base, adapter, tmp_path):
        model = Model(base=base, adapter=adapter)
        save_merged(model, tmp_path / "merged")
        saved = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
        assert torch.equal(logits(saved), logits(load_merged(model)))
        assert AutoTokenizer.from_pretrained(tmp_path / "merged").eos_token_id == EOS
        assert any((tmp_path / "merged").glob("*.safetensors"))

    def test_weights_of_a_checkpoint_are_what_is_saved(self, base, adapter, tmp_path):
        model = Model(base=base, adapter=adapter)
        save_merged(model, tmp_path)
        saved, passed = load_file(tmp_path / "model.safetensors"), checkpoint_weights(load_merged(model))
        assert saved.keys() == passed.keys()
        assert all(torch.equal(saved[name], passed[name]) for name in saved)

    def test_rounded_once(self, base, adapter):
        model = Model(base=base, adapter=adapter)
        exact, rounded = load_merged(model).state_dict(), load_merged(model, torch.bfloat16).state_dict()
        assert all(torch.equal(rounded[name], tensor.bfloat16()) for name, tensor in exact.items())

    def test_without_an_adapter_it_is_the_base(self, base):
        assert torch.equal(logits(load_merged(Model(base=base))), logits(load_model(base)))

    @pytest.mark.parametrize("load", [load_merged, load_beside])
    def test_a_directory_without_an_adapter(self, base, tmp_path, load):
        with pytest.raises(ValueError, match=r"not a PEFT adapter.*adapter_config\.json.*adapter_model\.safetensors"):
            load(Model(base=base, adapter=tmp_path))


class TestSequenceLogprobs:
    def test_sums_of_token_logprobs(self, base):
        model, ids = load_model(base), [BOS, 5, 6, 7]
        with torch.inference_mode():
            expected = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits, -1)[0]
        total = sum(float(expected[at - 1, ids[at]]) for at in range(1, len(ids)))
        assert sequence_logprobs(model, [ids, [BOS]]) == [pytest.approx(total, abs=1e-4), 0.0]

    def test_leaves_the_model_as_it_was(self, base):
        model = load_model(base).train()
        sequence_logprobs(model, [[BOS, 1]])
        assert model.training

    def test_the_adapter_has_its_canary(self, base, adapter):
        canary = json.loads((adapter / "canary.json").read_text())
        measured = sequence_logprobs(load_merged(Model(base=base, adapter=adapter)), canary["prompts"])
        assert measured == pytest.approx(canary["after"], abs=1e-3)
        assert sequence_logprobs(load_model(base), canary["prompts"]) == pytest.approx(canary["before"], abs=1e-3)


ADAPTED = {
    "the output layer": {"target_modules": ["q_proj", "lm_head"]},
    "the embeddings": {"target_modules": ["q_proj", "embed_tokens"]},
    "both": {"target_modules": ["lm_head", "embed_tokens"]},
    "modules that are kept whole": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "embed_tokens"]},
    "dora": {"target_modules": ["q_proj", "lm_head"], "use_dora": True},
    "rslora": {"target_modules": "all-linear", "use_rslora": True},
}
"""What PEFT can put on a model, by what is unusual of it."""


def trained(base: Pretrained, into: Path, **config) -> tuple[Model, torch.Tensor]:
    """An adapter with random numbers in all that would be trained, and the logits of the model that PEFT trains."""
    model = get_peft_model(load_model(base), LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **config))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(into)
    return Model(base=base, adapter=into), logits(model.eval())


@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning", "ignore:Model (with|has):UserWarning")
class TestUnusualAdapters:
    @pytest.mark.parametrize("name", ADAPTED)
    def test_served_and_exported_are_the_trained_function(self, base, tmp_path, name):
        model, expected = trained(base, tmp_path / "adapter", **ADAPTED[name])
        save_merged(model, tmp_path / "merged")
        saved = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
        assert not torch.allclose(expected, logits(load_model(base)), atol=0.1)
        for made in (load_beside(model), load_merged(model), saved):
            torch.testing.assert_close(logits(made), expected, atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize("name", ["the output layer", "the embeddings", "both", "dora"])
    def test_tied_weights_are_not_merged(self, tied, tmp_path, name):
        model, expected = trained(tied, tmp_path, **ADAPTED[name])
        torch.testing.assert_close(logits(load_beside(model)), expected)
        with pytest.raises(ValueError, match=r"LoRA matrices on .*ties its output layer.*tie_word_embeddings=false"):
            load_merged(model)

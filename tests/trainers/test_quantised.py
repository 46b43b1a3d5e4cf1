"""Bases in 4 and 8 bits: what is trained on them is served on the base as it is on disk, and the drift is told."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from star_loop.models import Model, Pretrained, fingerprint
from star_loop.models.quantised import load_quantised
from star_loop.models.weights import load_merged, load_model, sequence_logprobs
from star_loop.trainers.accelerate import Accelerate
from star_loop.trainers.full import Full
from star_loop.trainers.lora import Lora
from tests.small_models import write_llama
from tests.trainers.test_lora import EXAMPLES, FAST


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_llama(tmp_path_factory.mktemp("llama")))


@pytest.mark.parametrize(("quantization", "size"), [("nf4", 0.25), ("int8", 0.5)])
def test_a_round_on_a_quantised_base(path: str, tmp_path: Path, quantization: str, size: float) -> None:
    base = Pretrained(name_or_path=path, quantization=quantization)
    loaded, plain = load_quantised(base), load_model(base)
    layers = [module for name, module in loaded.named_modules() if name.endswith("_proj")]
    numbers = sum(weight.numel() for name, weight in plain.named_parameters() if "_proj" in name)
    assert sum(layer.weight.nbytes for layer in layers) <= 2 * size * numbers
    found = fingerprint(base)
    start = Model(base=base)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        metrics = FAST.train(EXAMPLES, start, tmp_path / name, steps=6, seed=0)
        assert metrics["last_loss"] < metrics["first_loss"]
        assert 0 < metrics["quantization_drift"] < 2
        before, start = start, Model(base=base, adapter=tmp_path / name)
        canary = json.loads((tmp_path / name / "canary.json").read_text())
        for model, expected in ((before, canary["before"]), (start, canary["after"])):
            assert sequence_logprobs(load_merged(model), canary["prompts"]) == pytest.approx(expected, abs=1e-3)
        matrices = load_file(tmp_path / name / "adapter_model.safetensors")
        assert {tensor.dtype for tensor in matrices.values()} == {torch.float32}
    assert fingerprint(base) == found


def test_what_cannot_train_on_so_few_bits_is_refused(path: str) -> None:
    base = Pretrained(name_or_path=path, quantization="nf4")
    Lora().check_base(base)
    for trainer in (Full(), Accelerate()):
        with pytest.raises(ValueError, match=r"model\.quantization=nf4.*: take trainer=lora"):
            trainer.check_base(base)


def test_moments_in_eight_bits_learn_as_well(path: str, tmp_path: Path) -> None:
    trainer = FAST.model_copy(update={"optimizer": "adamw_8bit", "r": 64})  # smaller matrices keep 32 bits
    trainer.check_base(Pretrained(name_or_path=path))
    metrics = trainer.train(EXAMPLES, Model(base=Pretrained(name_or_path=path)), tmp_path, steps=6, seed=0)
    assert metrics["last_loss"] < metrics["first_loss"]


def test_without_the_library_both_are_refused_in_a_sentence(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [path])  # where nothing is installed
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match=r"^model\.quantization=int8 needs bitsandbytes: pip install"):
        Lora().check_base(Pretrained(name_or_path=path, quantization="int8"))
    with pytest.raises(ValueError, match=r"^trainer\.optimizer=adamw_8bit needs bitsandbytes: pip install"):
        Lora(optimizer="adamw_8bit").check_base(Pretrained(name_or_path=path))

"""Settings belong to the model that they were chosen for, whatever way a model is named."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from star_loop.config.build import build
from star_loop.config.hydra import CONF, composed
from star_loop.generators.vllm import Vllm
from star_loop.stages.load import doubts
from star_loop.trainers.lora import Lora

TINY = OmegaConf.load(CONF / "model" / "tiny.yaml")
LORA, VLLM = Lora.model_fields, Vllm.model_fields


def settings(*overrides: str) -> tuple:
    x = build(composed(["task=word_problems", *overrides]))
    assert isinstance(x.trainer, Lora) and isinstance(x.generator, Vllm)
    return x.model.dtype, x.trainer.learning_rate, x.trainer.threads, x.generator.max_tokens


OWN = (TINY.model.dtype, TINY.trainer.learning_rate, TINY.trainer.threads, TINY.generator.max_tokens)
DEFAULTS = ("auto", LORA["learning_rate"].default, LORA["threads"].default, VLLM["max_tokens"].default)


def test_the_default_model_brings_its_own() -> None:
    assert settings() == OWN != DEFAULTS
    assert settings("model.chat_template=true") == OWN


@pytest.mark.parametrize("named", ["model.name_or_path=my/folder", "++model.name_or_path=Qwen/Qwen3-0.6B"])
def test_another_model_gets_the_constructors_defaults(named: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert settings(named) == DEFAULTS
    assert "the defaults hold for model.dtype, trainer.learning_rate" in caplog.text


def test_a_group_s_option_keeps_what_it_brings() -> None:
    assert settings("model=smollm2-135m-instruct")[0] == "bfloat16"
    assert settings("model=smollm2-135m-instruct", "model.name_or_path=my/folder") == ("bfloat16", *DEFAULTS[1:])


def test_what_was_typed_stays_even_where_it_is_the_default_model_s_value() -> None:
    typed = ["trainer.learning_rate=2e-3", "model.dtype=float32"]
    assert settings("model.name_or_path=my/folder", *typed) == ("float32", 2e-3, *DEFAULTS[2:])
    assert settings("model=smollm2-135m-instruct", *typed)[:2] == ("float32", 2e-3)


def test_a_file_may_name_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "experiment" / "mine.yaml"
    mine.parent.mkdir()
    mine.write_text("# @package _global_\nmodel:\n  name_or_path: my/folder\ntrainer:\n  r: 8\n")
    assert settings(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine") == DEFAULTS


def test_known_bad_combinations_are_doubted() -> None:
    (fast,) = doubts(1_200_000_000, "bfloat16", 2e-3)
    assert "learning_rate=0.002" in fast and "1.2B" in fast and "1e-4" in fast
    (large,) = doubts(7_000_000_000, "float32", 1e-4)
    assert "28 GB" in large and "bfloat16" in large
    assert len(doubts(8_000_000_000, "float32", 1e-2)) == 2
    assert not doubts(134_500_000, "float32", 5e-4) and not doubts(340_000, "float32", 2e-3)
    assert not doubts(7_000_000_000, "auto", None)


def test_other_engines_lose_what_was_brought_too() -> None:
    other = build(composed(["generator=transformers", "model.name_or_path=my/folder"]))
    assert other.generator.max_tokens == DEFAULTS[-1]
    build(composed(["model=scripted", "generator=scripted", "trainer=scripted"]))

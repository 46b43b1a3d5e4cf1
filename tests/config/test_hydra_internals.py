"""What is used of Hydra's inside is in one module, and does there what it is used for."""

import ast
from pathlib import Path

import pytest
from hydra.errors import SearchPathException
from hydra.types import RunMode

from star_loop.config import hydra_internals
from star_loop.config.before import options
from star_loop.config.hydra import CONF, register

PACKAGE = Path(__file__).parents[2] / "star_loop"


def test_one_module_imports_it() -> None:
    imported = {
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hydra._internal")
    }
    assert imported == {"hydra_internals.py"}


def test_the_options_are_hydras() -> None:
    assert {"--help", "--multirun", "-m", "--cfg", "--config-dir", "--config-name"} <= set(hydra_internals.options())
    typed = hydra_internals.parser().parse_args(["--config-dir=own", "seed=1", "-m"])
    assert (typed.config_dir, typed.overrides, typed.multirun) == ("own", ["seed=1"], True)


@pytest.mark.parametrize(
    "typed",
    ["--help seed=1 name=x", "seed=1 --help name=x", "--config-dir a=b seed=1 name=x", "seed=1 -c job name=x -p task", "-m seed=1 name=x"],
)  # fmt: skip
def test_options_and_keys_may_be_typed_in_any_order(typed: str) -> None:
    found = options(typed.split())
    assert found.overrides[:2] == ["seed=1", "name=x"]
    assert found.help or found.config_dir == "a=b" or found.package == "task" or found.multirun


def test_the_loader_composes_and_lists(tmp_path: Path) -> None:
    register()
    (tmp_path / "sampler").mkdir()
    (tmp_path / "sampler/own.yaml").write_text("_target_: star_loop.samplers.uniform.Uniform\n")
    loader = hydra_internals.loader(CONF, str(tmp_path))
    config = loader.load_configuration("config", ["sampler=own", "seed=3"], RunMode.RUN)
    assert (config.seed, config.hydra.runtime.choices.sampler) == (3, "own")
    assert "sampler" in loader.list_groups("")
    assert {"own", "adastar"} <= set(loader.repository.get_group_options("sampler"))
    with pytest.raises(SearchPathException, match="nowhere"):
        hydra_internals.loader(CONF, str(tmp_path / "nowhere"))

"""What is used of Hydra's inside is in one module, and does there what it is used for."""

import ast
from pathlib import Path

import pytest
from hydra.errors import SearchPathException
from hydra.types import RunMode

from star_loop.config import hydra_internals
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

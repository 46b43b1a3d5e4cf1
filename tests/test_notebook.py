"""The face for notebooks: docs/python.md runs as it stands, and `import star_loop` costs nothing."""

import ast
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import star_loop
from star_loop.errors import ConfigError
from star_loop.run.directory import RunDirectory
from tests.quiz import QUIZ, configure

ROOT = Path(__file__).parent.parent


def test_the_page_runs_as_it_stands(tmp_path: Path) -> None:
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/python.md").read_text(encoding="utf-8"), flags=re.M | re.S
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [ast.literal_eval(line) for line in done.stdout.splitlines() if line.startswith("{'iteration'")]
    assert [row["iteration"] for row in rows] == [0, 1, 2]
    assert "sampler.powr" in done.stdout


def test_importing_it_imports_nothing_else_and_every_name_leads_to_what_bears_it() -> None:
    code = "import sys, star_loop; print([m for m in ('numpy', 'torch', 'hydra', 'pydantic') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    tree = ast.parse((ROOT / "star_loop/__init__.py").read_text(encoding="utf-8"))
    imported = [name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names]
    typed = {name.asname for name in imported if name.asname}
    assert typed == set(dir(star_loop)) - set(vars(star_loop))
    for name in typed:
        assert getattr(star_loop, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Samplr'"):
        star_loop.Samplr  # noqa: B018


def test_the_table_has_a_row_for_each_iteration_and_null_where_nothing_was_measured(tmp_path: Path) -> None:
    config = configure(*QUIZ, "iterations=1")
    with pytest.raises(star_loop.RunError, match="has no committed iteration"):
        star_loop.open_run(tmp_path / "quiz")
    run = star_loop.improve(config, tmp_path / "quiz")
    table = run.table()
    assert isinstance(run, RunDirectory) and table["iteration"].to_pylist() == [0, 1]
    assert table["train/loss"].to_pylist() == [None, run.iteration(1).metrics()["train/loss"]]
    assert star_loop.improve(config, tmp_path / "quiz").table() == table  # complete: nothing is done again
    with pytest.raises(star_loop.RunError, match=r"there is no .*/iterations/0099"):
        run.iteration(99).rollouts()


@pytest.mark.parametrize(
    "override, said",
    [("a", "'a' cannot be read: write key=value"), ("-m", "'-m' cannot be read"), ("--help", "--help"),
     ("--cfg", "'--cfg' cannot be read"), ("--seed=1", "keys are written without dashes: seed=1"),
     ("samplr=uniform", "samplr: no such key: did you mean sampler?"), ("sampler=nope", "Could not find 'sampler/nope'"),
     ("sampler=[uniform,adastar]", "sampler: one option is wanted, .*: a sweep is -m sampler=uniform,adastar")],
)  # fmt: skip
def test_what_cannot_be_composed_is_a_configuration_error(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        star_loop.compose("experiment=smoke", override)


@pytest.mark.parametrize("override", [["experiment=smoke"], {"seed": 1}, 5, None, b"seed=1"])
def test_an_override_that_is_no_text_is_a_configuration_error(override: Any) -> None:
    with pytest.raises(ConfigError, match=r'as texts, compose\("seed=1", "iterations=2"\), and got'):
        star_loop.compose(override)


@pytest.mark.parametrize(
    "changes, said",
    [({"name": None}, "name=None must be"), ({"name": "attempts"}, "name='attempts': every run has a folder"),
     ({"show": "prompts"}, "show=prompts prints and runs nothing, .*: leave it out, or type"),
     ({"outputs": ""}, "outputs= is empty"), ({"outputs": None}, "outputs= is empty"),
     ({"seed": np.int64(3)}, "seed: Value 'int64' is not a supported .*: give a text without"),
     ({"schedule": {"batch": np.float64(3)}}, r"schedule\.batch: Value 'float64'")],
)  # fmt: skip
def test_what_cannot_run_is_a_configuration_error(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        star_loop.improve({**star_loop.compose("experiment=smoke"), **changes})


@pytest.mark.parametrize("config", [{}, [], None, "experiment=smoke"])
def test_what_is_no_configuration_is_a_configuration_error(config: Any, tmp_path: Path) -> None:
    for directory in (None, tmp_path / "run"):
        with pytest.raises(ConfigError):
            star_loop.improve(config, directory)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("directory", ["", 5, b"run", "n" * 300, "~nobody-of-this-name/run"])
def test_what_is_no_path_is_no_run_directory(directory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = configure(*QUIZ, "iterations=0")
    for attempt in (lambda: star_loop.improve(config, directory), lambda: star_loop.open_run(directory)):
        with pytest.raises(star_loop.RunError, match=r"is no run directory.*: give its path"):
            attempt()
    assert not list(tmp_path.iterdir())


def test_the_directory_is_the_command_lines_and_names_stay_below_it(tmp_path: Path) -> None:
    config = configure(*QUIZ, "iterations=0", f"outputs={tmp_path}", "name=a/b")
    assert star_loop.improve(config).path == tmp_path / "a/b"
    with pytest.raises(ConfigError, match="must be a plain name below outputs/"):
        star_loop.improve({**config, "name": "../out"})
    with pytest.raises(ConfigError):
        star_loop.improve({**config, "sampler": {"_target_": "tests.nothing.Here"}})


def test_an_open_run_stays_the_same_when_the_program_changes_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    improved = star_loop.improve(configure(*QUIZ, "iterations=0", "outputs=runs", "name=own"))
    opened = star_loop.open_run("runs/own")
    monkeypatch.chdir("/")
    assert opened.path == improved.path == tmp_path / "runs/own"
    assert opened.table().num_rows == improved.table().num_rows == 1


def test_a_place_where_no_directory_can_be_made_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    config = configure(*QUIZ, "iterations=0")
    for place, why in (("file", "File exists"), ("file/run", "Not a directory")):
        with pytest.raises(star_loop.RunError, match=f"{place} cannot be a run directory .{why}.: choose another"):
            star_loop.improve(config, tmp_path / place)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("number", ["1", 1.0, None])
def test_an_iteration_that_is_no_whole_number_is_a_run_error(number: Any, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.iteration(np.int64(1)).path == run.iteration(1).path
    with pytest.raises(star_loop.RunError, match="a whole number is wanted, counted from 0"):
        run.iteration(number)


def test_runs_may_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for outputs, place in (("~", "home"), ("~/runs", "home/runs")):
        run = star_loop.improve(configure(*QUIZ, "iterations=0", f"outputs={outputs}", "name=own"))
        assert run.path == tmp_path / place / "own" == star_loop.open_run(f"{outputs}/own").path
    config = configure(*QUIZ, "iterations=0")
    assert star_loop.improve(config, "~/elsewhere").path == tmp_path / "home/elsewhere"
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize(
    "refused", [("model.name_or_path=./nowhere",), ("fork=nowhere/iterations/0001",), ("resume=always",), ("task.n=0",)]
)
def test_a_launch_that_is_refused_leaves_what_was_there(tmp_path: Path, refused: tuple[str, ...]) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/of_others").write_text("")
    before = sorted(tmp_path.rglob("*"))
    for name in ("new/a", "there"):
        with pytest.raises((star_loop.ConfigError, star_loop.RunError)):
            star_loop.improve(configure(*QUIZ, f"outputs={tmp_path}", f"name={name}", *refused))
        assert sorted(tmp_path.rglob("*")) == before


def test_a_launch_that_is_refused_leaves_the_lock_of_a_run_that_began(tmp_path: Path) -> None:
    config = configure(*QUIZ, "iterations=0")
    before = sorted(star_loop.improve(config, tmp_path / "quiz").path.rglob("*"))
    with pytest.raises(star_loop.RunError, match="a run of another configuration"):
        star_loop.improve({**config, "seed": 5}, tmp_path / "quiz")
    assert sorted((tmp_path / "quiz").rglob("*")) == before


HYDRA_PROGRAM = """
import hydra, star_loop
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import getbase

def own():
    return GlobalHydra.instance().hydra, HydraConfig.get().job.name, str(getbase()), hydra.compose("own").seed

@hydra.main(version_base="1.2", config_path=".", config_name="own")
def main(config):
    before = own()
    print(star_loop.compose("experiment=smoke", f"seed={config.seed}")["seed"])
    assert own() == before and before[2] == "1.2"

main()
"""


def test_a_program_that_uses_hydra_by_itself_composes_and_keeps_its_own(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("seed: 7\n")
    (tmp_path / "program.py").write_text(HYDRA_PROGRAM)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr


def test_threads_compose_what_each_was_given() -> None:
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda seed: star_loop.compose("experiment=smoke", f"seed={seed}"), range(8)))
    assert found == [star_loop.compose("experiment=smoke", f"seed={seed}") for seed in range(8)]

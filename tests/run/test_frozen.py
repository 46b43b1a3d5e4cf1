"""Data are frozen at launch: what happens to the file meanwhile changes no row, and what reads the run later notices."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from star_loop.errors import ConfigError
from star_loop.export.files import export
from star_loop.launch import launch
from star_loop.run.disk import RunError
from star_loop.run.guard import differs
from star_loop.tasks.table import read
from tests.quiz import configure, contents

ROWS = [{"q": f"How much is {k} plus 1?", "a": str(k + 1)} for k in range(60)]
WRITE = {
    "jsonl": lambda path, rows: path.write_text("".join(json.dumps(row) + "\n" for row in rows)),
    "csv": lambda path, rows: path.write_text("q,a\n" + "".join(f"{row['q']},{row['a']}\n" for row in rows)),
    "json": lambda path, rows: path.write_text(json.dumps(rows)),
    "parquet": lambda path, rows: parquet.write_table(arrow.Table.from_pylist(rows), path),
}
CHANGES = {
    "cut off": lambda path: os.truncate(path, 0),
    "written over": lambda path: path.write_bytes(b"\xff" * path.stat().st_size),
    "deleted": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", WRITE)
def test_rows_that_were_read_stay_what_they_were(kind: str, change: str, tmp_path: Path) -> None:
    path = tmp_path / f"mine.{kind}"
    WRITE[kind](path, ROWS)
    table = read(path)
    CHANGES[change](path)
    assert [dict(table[k]) for k in range(len(table))] == ROWS


def overrides(path: Path) -> list[str]:
    return ["experiment=smoke", "task=file", f"task.path={path}", "task.question=q", "task.answer=a", "iterations=2",
            "schedule.steps=1", "task.test_size=6", "task.validation_size=6", "~tracker.tensorboard", "~tracker.console"]  # fmt: skip


def test_a_run_is_that_of_the_rows_at_its_launch_and_an_export_refuses_others(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    WRITE["jsonl"](path, ROWS)
    launch(configure(*overrides(path)), tmp_path / "run")
    export(tmp_path / "run", "last", ["data"])
    shutil.rmtree(tmp_path / "run/export")
    before = contents(tmp_path / "run")
    for rows in (ROWS[::-1], ROWS[:40], [*ROWS[:-1], {"q": "PWNED?", "a": "1"}]):
        WRITE["jsonl"](path, rows)
        with pytest.raises(RunError, match="the observations changed since the run began"):
            export(tmp_path / "run", "last", ["data"])
        with pytest.raises(RunError, match="the observations changed since"):
            launch(configure(*overrides(path)), tmp_path / "run")
        with pytest.raises(ConfigError, match="learned from other observations"):
            launch(configure(*overrides(path), f"fork={tmp_path}/run/iterations/0001"), tmp_path / "fork")
    assert contents(tmp_path / "run") == before


def test_worked_examples_of_ones_own_are_data_too(tmp_path: Path) -> None:
    """They stand in every prompt: a run goes on with those of its launch, a fork may take others."""
    rows, worked = tmp_path / "mine.jsonl", tmp_path / "worked.jsonl"
    WRITE["jsonl"](rows, ROWS)
    keys = [*overrides(rows), f"task.exemplars={worked}", "task.bare_shots=1"]

    def write(word: str) -> None:
        worked.write_text(json.dumps({"question": f"{word} 2?", "rationale": "It is 2. #### 2", "answer": "2"}) + "\n")

    write("One")
    launch(configure(*keys), tmp_path / "run")
    write("Another")
    with pytest.raises(RunError, match="the worked examples changed since"):
        launch(configure(*keys, "iterations=3"), tmp_path / "run")
    with pytest.raises(RunError, match="the worked examples changed since the run began"):
        export(tmp_path / "run", "last", ["data"])
    launch(configure(*keys, f"fork={tmp_path}/run/iterations/0001"), tmp_path / "fork")
    write("One")
    launch(configure(*keys, "iterations=3"), tmp_path / "run")


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="no limits of processes")
def test_options_and_tests_of_an_answer_are_data_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [{"q": f"Which is {k}?", "a": "A", "options": [str(k), "none"], "sum": k} for k in range(40)]
    keys = [*overrides(path), "task.choices=options", "task.first_choice=null"]
    WRITE["jsonl"](path, rows)
    launch(configure(*keys), tmp_path / "run")
    known = json.loads((tmp_path / "run/identity.json").read_text())
    WRITE["jsonl"](path, [row | {"options": [row["options"][0], "another"]} for row in rows])
    with pytest.raises(RunError, match="the choices and meta changed since"):
        launch(configure(*keys, "iterations=3"), tmp_path / "run")
    with pytest.raises(RunError, match="the choices and meta changed since the run began"):
        export(tmp_path / "run", "last", ["data"])
    with pytest.raises(ConfigError, match="learned from other choices and meta"):
        launch(configure(*keys, f"fork={tmp_path}/run/iterations/0001"), tmp_path / "fork")
    WRITE["jsonl"](path, rows)
    launch(configure(*keys, "iterations=3"), tmp_path / "run")
    assert json.loads((tmp_path / "run/identity.json").read_text()) == known
    older = {key: value for key, value in known.items() if key != "choices_and_meta"}
    assert not differs(older, known, "choices_and_meta") and differs({}, known, "observations")


def test_a_temporary_folder_without_room_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    WRITE["jsonl"](path, ROWS * 400)
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from pathlib import Path; from star_loop.tasks.table import read; read(Path(sys.argv[1]))"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, path], env=environment, capture_output=True, text=True, check=False
    )
    assert (
        f"the rows cannot be kept in the temporary folder (File too large): TMPDIR= names another: '{tmp_path}'"
        in done.stderr
    )

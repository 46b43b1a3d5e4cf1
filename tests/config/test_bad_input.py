"""What a user gets for a mistake: one clear message, a non-zero exit code, and nothing finished is lost."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pydantic
import pytest

from star_loop.launch import launch
from star_loop.run.disk import Disk
from star_loop.stages.load import load
from star_loop.verifiers.exact import Exact
from tests.quiz import QUIZ, Quiz, configure, contents, play

ROOT = Path(__file__).parent.parent.parent
NO_FILE = ["task=file", "task._target_=star_loop.tasks.file.File", "task.path=no.jsonl"]


def command(*overrides: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "star_loop", *overrides],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "overrides, message, code",
    [
        (["sampler=nope"], "Could not find 'sampler/nope'", 2),
        (["sampler.powr=3"], "sampler.powr: no such key: did you mean power?", 2),
        (["sampler._target_=os.system"], "'os.system' is not a star_loop component and was not called", 2),
        (["name=../../x"], "must be a plain name below outputs/", 2),
        (["iterations="], "iterations", 2),
        (["model.name_or_path=./nowhere"], "./nowhere", 2),
        (["model.name_or_path=empty"], "empty has no config.json", 2),
        (["task.n=0"], "the training set is empty", 2),
        (
            ["task.n=1", "evaluation.patience=2"],
            "evaluation.patience=2 watches the accuracy on validation questions",
            2,
        ),
        (["task.duplicate=true"], "duplicate id 'train/0'", 2),
        (["task.wrong_gold=true"], "rejects the gold answer '1'", 2),
        (["task.leak=true"], "test observation 'test/0' asks the same as train observation 'leaked'", 2),
        (NO_FILE, "there is no file no.jsonl", 2),
        ([*NO_FILE, "show=prompts"], "there is no file no.jsonl", 2),
        (
            ["trainer=lora", "scorer=student"],
            "model=scripted has no weights and no tokenizer for scorer, trainer: take scorer=scripted, "
            "trainer=scripted, or another model=",
            2,
        ),
        (["model.chat_template=true"], "no tokenizer for model.chat_template: take no model.chat_template", 2),
        (["fork=nowhere/iterations/0001"], "fork=nowhere/iterations/0001 is not a committed iteration", 2),
        (["iterations=[1]"], "configuration error: iterations: input should be a valid integer, got [1]", 2),
        (["fork=nowhere://x/iterations/0001"], "fork=nowhere://x/iterations/0001: Protocol not known: nowhere", 2),
        (["fork="], "fork= is empty: give <run>/iterations/<NNNN>, or null", 2),
        (["generator.table=[0.0]"], "nothing to train on", 1),
    ],
)
def test_a_mistake_is_one_message_and_a_failing_exit_code(
    tmp_path: Path, overrides: list[str], message: str, code: int
) -> None:
    (tmp_path / "empty").mkdir()
    quiz = [o for o in QUIZ if "model" not in o]
    model = ["model=scripted", "model._target_=star_loop.models.Pretrained"] if "model.name" in overrides[0] else []
    done = command(*quiz, *model, *overrides, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 14
    assert bool(list(tmp_path.glob("outputs/*"))) is (message == "nothing to train on"), (
        "what was refused left something"
    )


def test_one_failed_job_does_not_stop_the_rest_of_a_sweep(tmp_path: Path) -> None:
    quiz = [*QUIZ, "iterations=1", "name=sweep", f"outputs={tmp_path}"]
    for _ in range(2):
        done = command(*quiz, "-m", "sampler=adastar,uniform", "seed=0,1", "sampler.power=1", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.count("sampler.power: no such key") == 2
    runs = {p.parent.parent.parent.name for p in tmp_path.glob("sweep/*/iterations/0001/state.json")}
    assert runs == {"sampler=adastar,seed=0", "sampler=adastar,seed=1"}
    assert {p.name for p in (tmp_path / "sweep").iterdir()} == runs | {"multirun.yaml"}, (
        "what was refused left something"
    )


def test_a_sweep_of_which_every_job_is_refused_leaves_nothing_and_speaks_of_what_was_typed(tmp_path: Path) -> None:
    done = command(*QUIZ, f"outputs={tmp_path}", "-m", "seed=0,1", "sampler.powr=1", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("sampler.powr: no such key") == 2
    assert " sampler.powr=1\n" in done.stdout and "++" not in done.stdout and "compare" not in done.stdout
    assert list(tmp_path.iterdir()) == []


class FullDisk(Disk):
    """Has room for so many bytes; then every write fails halfway, as ENOSPC does."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, path: Path, data: bytes) -> None:
        self.room -= len(data)
        if self.room < 0:
            path.write_bytes(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        super().write(path, data)


def test_a_full_disk_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    play(tmp_path / "whole")
    size = sum(p.stat().st_size for p in (tmp_path / "whole/iterations").rglob("*") if p.is_file())
    for share in range(1, 10):
        directory = tmp_path / str(share)
        with pytest.raises(OSError, match="No space left on device"):
            launch(configure(*QUIZ), directory, FullDisk(size * share // 10))
        play(directory)
        assert contents(directory) == contents(tmp_path / "whole")


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"{", b'{"iteration": 1}\n', b"[]"])
def test_a_damaged_wave_of_an_unfinished_iteration_is_named(tmp_path: Path, damage: bytes) -> None:
    play(tmp_path, "iterations=1")
    (tmp_path / "iterations/0001/state.json").unlink()
    (tmp_path / "iterations/0001/waves/000.jsonl").write_bytes(damage)
    with pytest.raises(ValueError, match=r"waves/000\.jsonl is damaged") as error:
        play(tmp_path, "iterations=1")
    assert "Iteration 1" in str(error.value)


@pytest.mark.parametrize("name", ["config.yaml", "identity.json"])
def test_a_damaged_guard_file_is_named(tmp_path: Path, name: str) -> None:
    play(tmp_path, "iterations=1")
    (tmp_path / name).write_bytes(b"\x00{:")
    with pytest.raises(ValueError, match=name):
        play(tmp_path, "iterations=1")


def test_a_torn_line_in_the_journal_of_times_costs_a_time_only(tmp_path: Path) -> None:
    play(tmp_path, "iterations=1")
    with (tmp_path / "timings.jsonl").open("ab") as journal:
        journal.write(b'{"iteration": 2, "pha')
    play(tmp_path, "iterations=2")
    assert json.loads((tmp_path / "iterations/0002/metrics.json").read_text())["seconds/total"] > 0


def test_the_shipped_quiz_is_sound() -> None:
    splits = load(Quiz())
    assert {name: len(split) for name, split in splits.items()} == {"train": 12, "validation": 6, "test": 6}
    with pytest.raises(ValueError, match="rejects the gold answer"):
        load(Quiz(verifier=Exact(marker="Answer:")))


def test_what_a_task_found_in_the_data_is_said_once(tmp_path: Path) -> None:
    rows = [{"q": f"What is {k} plus 1?", "a": k + 1} for k in range(40)]
    (tmp_path / "my.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ["task=file", "task.path=my.jsonl", "task.question=q", "task.answer=a"]
    done = command("experiment=smoke", "iterations=0", *columns, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("verifier guessed from the golds: Exact") == 1


def test_where_vllm_is_not_installed_the_default_says_what_to_install_or_take(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    for entry in Path(pydantic.__file__).parent.parent.iterdir():
        if not entry.name.lower().startswith("vllm"):
            (packages / entry.name).symlink_to(entry)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{packages}", "HF_HUB_OFFLINE": "1"}
    default = [sys.executable, "-S", "-m", "star_loop", "name=run", f"outputs={tmp_path}"]
    done = subprocess.run(default, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'pip install "star_loop[vllm]"' in done.stderr
    assert "generator=transformers" in done.stderr
    assert "Traceback" not in done.stderr

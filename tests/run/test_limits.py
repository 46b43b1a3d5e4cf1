"""Limits that others set: the memory of a control group, and what another user may not touch."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from star_loop.launch import launch
from star_loop.run.disk import RunError
from tests.quiz import QUIZ, configure, contents, play

ROOT = Path(__file__).parent.parent.parent
GROUPS = Path("/sys/fs/cgroup/memory") if Path("/sys/fs/cgroup/memory").is_dir() else Path("/sys/fs/cgroup")
LIMIT = "memory.limit_in_bytes" if GROUPS.name == "memory" else "memory.max"


@pytest.fixture
def group() -> Iterator[Path]:
    path = GROUPS / f"star_loop_test_{os.getpid()}"
    path.mkdir()
    yield path
    path.rmdir()


@pytest.mark.reliability
def test_a_limit_on_the_memory_costs_what_a_kill_costs(tmp_path: Path, group: Path) -> None:
    """The kernel kills main; the same command, with the memory that it needs, ends with the same bytes."""
    command = [sys.executable, "-m", "star_loop", *QUIZ, f"outputs={tmp_path}", "task.n=2000", "iterations=12"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}

    def run(name: str, megabytes: int | None) -> int:
        (group / LIMIT).write_text("-1" if megabytes is None and "limit" in LIMIT else str((megabytes or 4096) << 20))
        enter = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh", *command, f"name={name}"]
        return subprocess.run(enter, cwd=tmp_path, env=environment, capture_output=True, check=False).returncode

    assert run("whole", None) == 0
    fates = [run("limited", megabytes) for megabytes in range(90, 130, 4)]
    assert -signal.SIGKILL in fates
    assert run("limited", None) == 0
    assert contents(tmp_path / "limited/iterations") == contents(tmp_path / "whole/iterations")


def test_another_user_is_told_what_may_not_be_touched(tmp_path: Path) -> None:
    """Permissions do not bind root, so a child becomes nobody where the tests run as root."""
    play(tmp_path / "run")
    before, config = contents(tmp_path / "run"), configure(*QUIZ, "iterations=4")
    for path in (tmp_path / "run", *(tmp_path / "run").rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for folder in tmp_path.parents:
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    tmp_path.chmod(0o755)
    other = os.fork()
    if not other:
        try:
            if not os.getuid():
                os.setuid(65534)
            launch(config, tmp_path / "run")
        except (RunError, OSError) as error:
            os._exit(0 if "Permission denied" in str(error) and str(tmp_path / "run") in str(error) else 2)
        finally:
            os._exit(1)
    status = os.waitpid(other, 0)[1]
    for path in ((tmp_path / "run"), *(tmp_path / "run").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert status == 0
    assert contents(tmp_path / "run") == before
    shutil.rmtree(tmp_path / "run")

"""A disk that fails or refuses: one error that names the file, and nothing that was finished is lost."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from filelock import BaseFileLock

from star_loop.launch import launch
from star_loop.run.disk import Disk, RunError
from tests.quiz import QUIZ, configure, contents, play
from tests.run.test_resume import FailingDisk, Interrupted, run_with

RELIABILITY = pytest.mark.reliability


class FaultyDisk(FailingDisk):
    """Its n-th effect fails halfway, as a broken device makes it fail; every other effect works."""

    def __init__(self, at: int, error: int) -> None:
        super().__init__(at)
        self.error = error

    def _effect(self, act, half=None) -> None:
        try:
            super()._effect(act, half)
        except Interrupted:
            raise OSError(self.error, os.strerror(self.error), "of the run") from None


class ReadOnlyDisk(Disk):
    """Nothing can be written. (Permissions do not bind a root user, so they prove nothing here.)"""

    def _refuse(self, path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def write(self, path: Path, data: bytes) -> None:
        self._refuse(path)

    def append(self, path: Path, line: bytes) -> None:
        self._refuse(path)

    def rename(self, source: Path, target: Path) -> None:
        self._refuse(target)


class LocklessDisk(Disk):
    """A network's, whose locks nobody serves."""

    def lock(self, path: Path) -> BaseFileLock:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), str(path))


def test_a_file_system_without_locks_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"run/\.lock cannot be locked \(No locks available\).*choose outputs= on"):
        launch(configure(*QUIZ), tmp_path / "run", LocklessDisk())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("error", "step"),
    [(errno.EIO, 7), (errno.ENOSPC, 11), *(pytest.param(e, 1, marks=RELIABILITY) for e in (errno.EIO, errno.ENOSPC))],
)
def test_a_fault_at_an_effect_loses_nothing_that_was_finished(tmp_path: Path, error: int, step: int) -> None:
    """Every `step`-th effect of a run of two iterations; `make test-reliability`: every one."""
    counting = FailingDisk()
    run_with(counting, tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    for at in range(0, counting.effects, step):
        directory = tmp_path / str(at)
        with pytest.raises(OSError, match=f"{os.strerror(error)}: 'of the run'"):
            run_with(FaultyDisk(at, error), directory)
        finished = {name: data for name, data in contents(directory).items() if "unfinished" not in name}
        growing = {name for name in finished if name.endswith("checksums.txt")}
        assert {name: expected.get(name) for name in finished} == finished | {
            name: expected.get(name) for name in growing
        }, f"a file that is not whole, at effect {at}"
        run_with(Disk(), directory)
        assert contents(directory) == expected, f"fault at effect {at}"
        shutil.rmtree(directory)
    print(f"{len(range(0, counting.effects, step))} faults among {counting.effects} effects")


def test_a_read_only_run_directory_is_named_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"Read-only file system: .*checksums\.txt"):
        launch(configure(*QUIZ), tmp_path / "new", ReadOnlyDisk())
    play(tmp_path / "run", "iterations=1")
    before = contents(tmp_path / "run")
    with pytest.raises(OSError, match=r"Read-only file system: .*timings\.jsonl"):
        launch(configure(*QUIZ, "iterations=2"), tmp_path / "run", ReadOnlyDisk())
    assert contents(tmp_path / "run") == before
    launch(configure(*QUIZ, "iterations=1"), tmp_path / "run", ReadOnlyDisk())  # nothing to do, nothing to write


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_device_is_named() -> None:
    for effect in (Disk().write, Disk().append):
        with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
            effect(Path("/dev/full"), b"x" * 10)


def test_a_device_that_cannot_be_flushed_is_named() -> None:
    with pytest.raises(OSError, match=r"'/dev/null'"):
        Disk().flush(Path("/dev/null"))

"""The mirror of a run: always a run itself, whatever happens between two uploads; and forks that begin with it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from star_loop.config.build import build
from star_loop.config.secrets import guard_secrets
from star_loop.errors import ConfigError
from star_loop.launch import launch
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import RunError
from star_loop.run.fork import fetch
from star_loop.run.mirror import Copying, download, open_store
from star_loop.stages.load import check
from tests.quiz import QUIZ, configure, contents, play


class Interrupted(BaseException):
    """The process would have died here."""


class Store(DirFileSystem):
    """A folder whose n-th change does not come to its end: a file is half there, a move has not begun."""

    cachable = False

    def __init__(self, folder: Path, at: int = -1, error: type[BaseException] = Interrupted, times: int = 1) -> None:
        super().__init__(str(folder), LocalFileSystem())
        self.at, self.error, self.left, self.changes = at, error, times, 0

    def _change(self, act: Callable[[], Any], half: Callable[[], Any]) -> None:
        now, self.changes = self.changes, self.changes + 1
        if now >= self.at >= 0 and self.left:
            self.left -= 1
            half()
            raise self.error("the store is gone")
        act()

    def put_file(self, here: str, there: str, **options: Any) -> None:
        place = Path(self.path) / there
        whole = super().put_file
        self._change(
            lambda: whole(here, there, **options),
            lambda: place.write_bytes(Path(here).read_bytes()[: Path(here).stat().st_size // 2]),
        )

    def mv(self, one: str, other: str, **options: Any) -> None:
        whole = super().mv
        self._change(lambda: whole(one, other, **options), lambda: None)


PREPARED = ("preparation=pilots", "preparation.pilots.rollouts=1", "iterations=2")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    directory = tmp_path_factory.mktemp("outputs") / "run"
    play(directory, *PREPARED)
    return RunDirectory(directory)


def mirrored(folder: Path) -> dict[str, bytes]:
    """All that a mirror promises to hold."""
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    return {name: data for name, data in files.items() if ".unfinished" not in name}


def promised(run: RunDirectory) -> dict[str, bytes]:
    derived = (".", "attempts/", "metrics.jsonl", "report.html")
    return {name: data for name, data in mirrored(run.path).items() if not name.startswith(derived)}


def test_a_mirror_holds_the_run_and_every_state_of_it_is_a_run(run: RunDirectory, tmp_path: Path) -> None:
    """Interrupted at each change; the next launch copies the rest."""
    counting = Store(tmp_path / "whole")
    Copying(run, counting, "run").catch_up()
    assert mirrored(tmp_path / "whole/run") == promised(run)
    assert {"preparation/pilots/columns.npz", "timings.jsonl"} < set(mirrored(tmp_path / "whole/run"))
    assert counting.changes > 40
    for at in range(counting.changes):
        folder = tmp_path / str(at)
        with pytest.raises(Interrupted):
            Copying(run, Store(folder, at), "run").catch_up()
        copy = RunDirectory(folder / "run")
        if (latest := copy.latest()) is not None:
            copy.verify(range(latest.number + 1), latest)
        Copying(run, Store(folder), "run").catch_up()
        assert mirrored(folder / "run") == promised(run), f"interrupted at change {at}"
        shutil.rmtree(folder)


def test_a_store_without_folders_gives_back_what_it_was_given(run: RunDirectory, tmp_path: Path) -> None:
    """fsspec's own, in memory: it copies and removes where it is told to move, as object stores do."""
    files, root = open_store(f"memory://{tmp_path.name}/mirror")
    Copying(run, files, f"{root}/run").catch_up()
    back = download(f"memory://{tmp_path.name}/mirror/run/iterations/0002", tmp_path / "back")
    assert back == tmp_path / "back/iterations/0002"
    missing = {"checksums.txt", "observations.parquet", "timings.jsonl"}  # a fork has its own
    assert mirrored(tmp_path / "back") == {n: data for n, data in promised(run).items() if n not in missing}
    with pytest.raises(ConfigError, match="is not a committed iteration"):
        fetch(RunDirectory(tmp_path / "new"), f"memory://{tmp_path.name}/mirror/run/iterations/0003")


def test_what_is_there_is_not_copied_again(run: RunDirectory, tmp_path: Path) -> None:
    Copying(run, Store(tmp_path), "run").catch_up()
    again = Store(tmp_path)
    Copying(run, again, "run").catch_up()
    assert again.changes == 0


def test_a_store_that_fails_once_is_asked_again_and_one_that_is_gone_does_not_stop_the_run(
    run: RunDirectory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Copying(run, Store(tmp_path / "a", at=7, error=TimeoutError), "run").catch_up_or_warn()
    assert mirrored(tmp_path / "a/run") == promised(run) and not caplog.records
    copying = Copying(run, Store(tmp_path / "b", at=30, error=PermissionError, times=1000), "run")
    copying.catch_up_or_warn()
    assert "is not up to date (PermissionError: the store is gone); the next commit catches up" in caplog.text
    copying.report()
    assert f"lacks iterations {copying.done + 1} to 2: the same command" in caplog.text
    copying.files = Store(tmp_path / "b")
    copying.log(2, {})
    copying.report()
    assert mirrored(tmp_path / "b/run") == promised(run)


def mirror(tmp_path: Path, name: str, *overrides: str) -> Path:
    outputs = tmp_path / "outputs"
    given = (*QUIZ, *PREPARED, f"outputs={outputs}", f"name={name}", f"mirror=file://{tmp_path}/mirror", *overrides)
    launch(configure(*given), outputs / name)
    return tmp_path / "mirror" / name


def test_a_mirror_is_not_where_the_runs_are_themselves(tmp_path: Path) -> None:
    for mirror in (str(tmp_path), f"file://{tmp_path}"):
        with pytest.raises(ValueError, match=r"mirror=.* is where the runs are themselves: name another folder"):
            build(configure(f"outputs={tmp_path}", f"mirror={mirror}")).check()


def test_a_run_is_mirrored_as_it_goes_and_a_fork_begins_in_the_mirror(run: RunDirectory, tmp_path: Path) -> None:
    there = mirror(tmp_path, "sweep/one")
    here = tmp_path / "outputs/sweep/one"
    assert contents(there / "iterations") == contents(here / "iterations") == contents(run.path / "iterations")
    shutil.rmtree(here)
    url = f"fork=file://{there}/iterations/0001"
    forked = mirror(tmp_path, "new", url, "sampler=uniform")
    assert contents(forked / "iterations/0001") == contents(run.path / "iterations/0001")
    assert (forked / "preparation/pilots/inherited").exists()
    assert not (tmp_path / "outputs/new/.fork").exists()
    before = contents(tmp_path / "outputs/new")
    shutil.rmtree(there)
    mirror(tmp_path, "new", url, "sampler=uniform")  # what was to be had is here: the mirror is not asked again
    assert contents(tmp_path / "outputs/new") == before


def test_another_run_of_the_same_name_is_not_overwritten(tmp_path: Path) -> None:
    there = mirror(tmp_path, "run", "iterations=1")
    before = mirrored(there)
    shutil.rmtree(tmp_path / "outputs/run")
    with pytest.raises(RunError, match=r"another run has this name there. Choose another mirror= or name="):
        mirror(tmp_path, "run", "seed=1")
    assert mirrored(there) == before


def test_a_run_that_was_lost_is_made_again_and_may_go_further(tmp_path: Path) -> None:
    there = mirror(tmp_path, "run", "iterations=1")
    shutil.rmtree(tmp_path / "outputs/run")
    mirror(tmp_path, "run", "iterations=2")
    here = tmp_path / "outputs/run"
    assert contents(there / "iterations") == contents(here / "iterations")
    assert all((there / name).read_bytes() == (here / name).read_bytes() for name in ("config.yaml", "checksums.txt"))
    mirror(tmp_path, "fork", f"fork=file://{there}/iterations/0002", "iterations=3")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "examples.jsonl").write_text("{}\n"), "damaged"),
        (lambda folder: (folder / "state.json").unlink(), "is not a committed iteration"),
        (lambda folder: (folder / "examples.jsonl").unlink(), "it is missing"),
    ],
)
def test_a_fork_of_a_damaged_mirror_is_refused(
    run: RunDirectory, tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    Copying(run, Store(tmp_path), "run").catch_up()
    spoil(tmp_path / "run/iterations/0001")
    with pytest.raises((ConfigError, RunError), match=message) as refused:
        play(tmp_path / "new", *PREPARED, f"fork=file://{tmp_path}/run/iterations/0001")
    assert ".fork" not in str(refused.value)
    assert not contents(tmp_path / "new") and not (tmp_path / "new/.fork").exists()


def test_what_cannot_be_reached_is_refused_before_anything_starts() -> None:
    for url, message in (
        ("nowhere://bucket", "mirror=nowhere://bucket: Protocol not known: nowhere"),
        ("sftp://me:secret@host/folder", "mirror: a URL with a password.*: give it in the environment"),
        ("", "mirror= names no folder: give"),
        ("file://", "mirror=file:// names no folder: give"),
        ("/dev/null", "mirror=/dev/null: /dev/null is no folder: name another place"),
        (f"file://{__file__}/runs", rf"mirror=file://\S+: {__file__} is no folder"),
        ("ftp://localhost:1", r"mirror=ftp://localhost:1 cannot be reached \(.*Connection refused\)"),
    ):
        with pytest.raises(ValueError, match=message):
            check(build(configure(*QUIZ, f"mirror={url}")))
    secret = {"STORE_TOKEN": "abcdefgh12345"}
    with pytest.raises(ConfigError, match="mirror holds the value of STORE_TOKEN"):
        guard_secrets(configure(*QUIZ, "mirror=https://abcdefgh12345@host/x"), os.environ | secret)

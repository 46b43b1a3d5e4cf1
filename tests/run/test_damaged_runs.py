"""A run directory in which a file is cut off, flipped or gone: refused by name with a remedy that works, or made again.

The run has a preparation, a search, scores, a second try, two finished iterations and one that only lacks its commit.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from star_loop.config.build import build
from star_loop.export.files import export
from star_loop.judge.__main__ import main as judge
from star_loop.launch import EXPECTED, advance, launch
from star_loop.report import write
from star_loop.report.runs import read
from star_loop.run.checksums import Ledger
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import Disk, RunError
from star_loop.show.__main__ import main as show
from tests.quiz import QUIZ, configure, contents
from tests.run.test_resume import FailingDisk, Interrupted

STAGES = (
    "second_try=rationalize", "scorer=scripted", "search=balance", "search.temperatures=[0.5,1.0]", "search.questions=3",
    "preparation=pilots",
)  # fmt: skip
LAST_FILES = ("state.json", "metrics.json", "statistics.parquet", "sampler.npz")
"""Those of a commit."""
DERIVED = (".lock", "timings.jsonl", "metrics.jsonl", "report.html")
"""Files that nothing rests on."""
DAMAGES = {
    "cut in half": lambda data: data[: len(data) // 2],
    "middle byte flipped": lambda data: flipped(data, len(data) // 2),
    "deleted": None,
    "emptied": lambda data: b"",
    "first byte flipped": lambda data: flipped(data, 0),
    "last byte flipped": lambda data: flipped(data, len(data) - 1),
}
SOME = list(DAMAGES)[:3]
EACH = [*SOME, *(pytest.param(how, marks=pytest.mark.reliability) for how in list(DAMAGES)[3:])]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def damage(path: Path, how: str) -> None:
    change = DAMAGES[how]
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))


@cache
def composed(*overrides: str) -> dict[str, Any]:
    return configure(*QUIZ, *overrides)


def go(directory: Path, disk: Disk | None = None, *overrides: str, **changes: Any) -> None:
    config = deepcopy(composed(*STAGES, *overrides)) | changes
    advance(build(config), RunDirectory(directory, disk), config)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole") / "run"
    launch(composed(*STAGES), directory)
    return directory


def unfinished(whole: Path, into: Path) -> Path:
    """The run before the commit of its third iteration."""
    directory = Path(shutil.copytree(whole, into / "run"))
    for name in LAST_FILES:
        (directory / "iterations/0003" / name).unlink()
    return directory


FILES = (
    "config.yaml", "identity.json", "observations.parquet", "checksums.txt",
    *(f"preparation/pilots/{name}" for name in ("columns.npz", "metrics.json", "solved/000.npz", "checksums.txt")),
    *(
        f"iterations/{t:04d}/{name}"
        for t in range(4)
        for name in (
            "validation.jsonl", "evaluation.jsonl", "checksums.txt", *(LAST_FILES if t < 3 else ()),
            *(("examples.jsonl", "waves/000.jsonl", "scores.jsonl", "pilots/0.5.jsonl", "pilots/1.jsonl",
               "adapter/training.json", "adapter/ability.json") if t else ()),
        )
    ),
)  # fmt: skip


def test_the_list_has_every_kind_of_file(whole: Path, tmp_path: Path) -> None:
    def kind(name: str) -> str:
        return re.sub(r"(waves|solved)/\d+", r"\1/000", name)

    directory = unfinished(whole, tmp_path)
    assert {kind(name) for name in contents(directory)} | {"checksums.txt"} == set(FILES)


@pytest.mark.parametrize("text", ["null\n", "", "[]\n"])
def test_a_configuration_without_keys_is_damaged_for_every_reader(whole: Path, tmp_path: Path, text: str) -> None:
    directory = Path(shutil.copytree(whole, tmp_path / "run"))
    (directory / "config.yaml").write_text(text)
    (directory / "checksums.txt").unlink()
    with pytest.raises(RunError, match=r"config\.yaml is damaged"):
        RunDirectory(directory).config()
    with pytest.raises(RunError, match=r"config\.yaml is damaged"):
        export(directory, "last", ["data"])


READERS: dict[str, Callable[[Path], Any]] = {
    "report": write,
    "export": lambda run: export(run, "last", ["data"]),
    "comparison": lambda run: read(run, run.parent),
    "show": lambda run: show([str(run)]),
    "judge": lambda run: judge([str(run)]),
}


@pytest.mark.parametrize(
    "name", ["observations.parquet", "identity.json", "config.yaml", "iterations/0003/waves/000.jsonl"]
)
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_shows_what_was_changed(
    whole: Path, tmp_path: Path, reader: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = Path(shutil.copytree(whole, tmp_path / "run"))
    before = contents(directory)
    (directory / name).write_bytes((directory / name).read_bytes() + b"\n")
    try:
        READERS[reader](directory)
        said = capsys.readouterr().err
    except RunError as error:
        said = str(error)
    assert re.search(rf"{name} is damaged: its bytes are not those", said)
    (directory / name).write_bytes(before[name])
    (directory / "checksums.txt").unlink()
    READERS[reader](directory)
    assert not (directory / "checksums.txt").exists(), "a reader leaves what it does not write as it is"


@pytest.mark.parametrize("name", ["identity.json", "config.yaml", "iterations/0003/state.json"])
@pytest.mark.parametrize("reader", READERS)
def test_a_folder_in_the_place_of_a_file_is_named(
    whole: Path, tmp_path: Path, reader: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = Path(shutil.copytree(whole, tmp_path / "run"))
    (directory / name).unlink()
    (directory / name).mkdir()
    try:
        READERS[reader](directory)
        said = capsys.readouterr().err
    except RunError as error:
        said = str(error)
    assert f"{name} is a folder where a file belongs" in said


def test_nothing_is_exported_where_nobody_can_tell_whether_the_data_are_the_runs(whole: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(whole, tmp_path / "run"))
    (directory / "identity.json").unlink()
    with pytest.raises(RunError, match=r"identity\.json is damaged: it is missing"):
        export(directory, "last", ["data"])
    assert not (directory / "export/0003").exists()


@pytest.mark.parametrize(
    "name", ["observations.parquet", "config.yaml", "iterations/0003/waves/007.jsonl", "iterations/0003/state.json",
             "iterations/0003/metrics.json", "iterations/0001/state.json"],
)  # fmt: skip
@pytest.mark.parametrize("use", [*READERS.values(), go], ids=[*READERS, "launch"])
def test_a_pipe_in_a_run_is_refused_instead_of_waited_for(
    whole: Path, tmp_path: Path, use: Callable[[Path], Any], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = Path(shutil.copytree(whole, tmp_path / "run"))
    (directory / name).unlink(missing_ok=True)
    os.mkfifo(directory / name)
    try:
        use(directory)
        said = capsys.readouterr().err
    except RunError as error:
        said = str(error)
    assert f"{name} is neither a file nor a folder" in said


MADE_AGAIN = re.compile(
    r"observations\.parquet|preparation/pilots/columns\.npz|iterations/0002/state\.json|(|.*/)checksums\.txt|iterations/0003/(?!adapter/).*"
)
"""What is made again with the same bytes where it is gone: nothing else depends on it, or its iteration is not finished."""
COMMITTED_CHECKSUMS = re.compile(r"iterations/000[012]/checksums\.txt")


@pytest.mark.parametrize("how", EACH)
@pytest.mark.parametrize("name", FILES)
def test_every_file_is_refused_or_made_again(whole: Path, tmp_path: Path, name: str, how: str) -> None:
    directory, expected = unfinished(whole, tmp_path), contents(whole)
    damage(directory / name, how)
    before = contents(directory)
    if how == "deleted" and MADE_AGAIN.fullmatch(name) and not COMMITTED_CHECKSUMS.fullmatch(name):
        go(directory)
        assert {k: v for k, v in contents(directory).items() if "checksums" not in k or "iterations" in k} == {
            k: v for k, v in expected.items() if "checksums" not in k or "iterations" in k
        }
        return
    with pytest.raises(EXPECTED, match=re.escape(name)) as refusal:
        go(directory)
    assert contents(directory) == before, "nothing was deleted or written"
    follow(str(refusal.value), directory)
    after = contents(directory if (directory / "iterations/0003/state.json").exists() else directory.parent / "new")
    # Without the old configuration a fork cannot take over what was prepared: it prepares again, and counts that.
    counted = ("0003/metrics.json", "0003/state.json") if name in ("config.yaml", "checksums.txt") else ()
    made, wanted = (
        {k: v for k, v in files.items() if "iterations" in k and not k.endswith(counted)} for files in (after, expected)
    )
    assert made == wanted


def follow(refusal: str, directory: Path) -> None:
    """Do what the message says: move something away and launch again, or begin a new run, from a good iteration."""
    if moved := re.search(r"move (\S+) away", refusal):
        Path(moved[1]).rename(directory.parent / "away")
        go(directory)
    elif fork := re.search(r"fork=(\S+)", refusal):
        go(directory.parent / "new", fork=fork[1])
    else:
        assert "new run" in refusal or "another run" in refusal
        go(directory.parent / "new")


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_that_nothing_rests_on_changes_nothing(whole: Path, tmp_path: Path, how: str) -> None:
    directory = unfinished(whole, tmp_path)
    (directory / ".lock.holder").write_text("process 1 on a machine")
    for name in (*DERIVED[1:], ".lock.holder"):
        damage(directory / name, how)
    launch(composed(*STAGES), directory)
    assert contents(directory) == contents(whole)


DEEP = b"[" * 200_000
LINES = [
    b"", b"[]", b"3", b"{", b"\xff", b'{"iteration": 3}', b'{"iteration": 3, "phase": 1, "seconds": 1}',
    b'{"iteration": 3, "phase": "collect", "seconds": "1"}', b'{"iteration": 3, "phase": "collect", "seconds": NaN}',
    b'{"iteration": 3, "phase": "collect", "seconds": 1, "cached_tokens": null}', DEEP,
]  # fmt: skip


def test_malformed_lines_in_the_journal_of_times_cost_times_only(whole: Path, tmp_path: Path) -> None:
    directory = unfinished(whole, tmp_path)
    with (directory / "timings.jsonl").open("ab") as journal:
        journal.write(b"".join(line + b"\n" for line in LINES))
    go(directory)
    assert contents(directory) == contents(whole)


@pytest.mark.parametrize("name", ["0001 (copy)", "0001.bak", "backup", "-1", "1e3"])
def test_a_folder_that_is_no_iteration_is_left_alone(whole: Path, tmp_path: Path, name: str) -> None:
    directory = unfinished(whole, tmp_path)
    shutil.copytree(directory / "iterations/0001", directory / "iterations" / name)
    go(directory)
    assert (directory / "iterations" / name / "state.json").exists()


def test_a_run_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match=r"/run cannot be a run directory \(File exists\): choose another"):
        launch(composed(), tmp_path / "run")


def test_checksums_are_those_of_sha256sum(whole: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum")
    for ledger in whole.rglob("checksums.txt"):
        done = subprocess.run(["sha256sum", "-c", "--strict", ledger.name], cwd=ledger.parent, capture_output=True)
        assert done.returncode == 0, done.stderr
    assert len(Ledger(whole / "iterations/0003", Disk(), str).entries()) == 9


# -------------------------------------------------------------------------------------------------------- retention

LONG = ("iterations=6", "generator.table=[0.5,0.4,0.3]")


def adapters(directory: Path) -> list[int]:
    return sorted(int(path.parent.name) for path in directory.glob("iterations/*/adapter"))


def best(directory: Path) -> int:
    curve = [metrics.get("validation/accuracy", 0.0) for metrics in RunDirectory(directory).committed_metrics()[1:]]
    return 1 + curve.index(max(curve))


def test_retention_gives_up_adapters_only_and_says_so_in_the_commit(tmp_path: Path) -> None:
    kept, full = tmp_path / "kept", tmp_path / "full"
    go(full, None, *LONG)
    for iterations in (3, 6):  # a resumed run gives up what an uninterrupted one does
        go(kept, None, *LONG, keep="best", iterations=iterations)
    stay = sorted({1, best(kept), 5, 6})
    assert adapters(kept) == stay != adapters(full)
    latest = RunDirectory(kept).latest()
    assert latest is not None and list(latest.state().kept or ()) == stay
    ours, theirs = contents(kept), contents(full)
    lost = {name for name in theirs if name not in ours}
    assert lost == {
        name for name in theirs if re.match(r"iterations/\d+/adapter/", name) and int(name[11:15]) not in stay
    }
    changed = {name for name in ours if ours[name] != theirs[name]}
    assert {name.rpartition("/")[2] for name in changed} == {"state.json", "config.yaml"}
    assert write(kept).stat().st_size > 10_000
    go(kept, None, *LONG, keep="all", iterations=7)  # what is gone stays gone, what comes stays
    assert adapters(kept) == [*stay, 7]


def test_what_was_given_up_is_not_forked_or_exported_and_what_was_kept_is(tmp_path: Path) -> None:
    run = tmp_path / "run"
    go(run, None, *LONG, keep="best")
    gone = next(t for t in range(1, 7) if t not in adapters(run))
    with pytest.raises(RunError, match=rf"the adapter of iteration {gone} was given up .*: fork from .*0006"):
        go(tmp_path / "no", None, *LONG, fork=f"{run}/iterations/{gone:04d}")
    with pytest.raises(RunError, match=r"was given up \(keep=best\).*--iteration best, last or 1"):
        export(run, str(gone), ["data"])
    assert export(run, "best", ["data"]).name == f"{best(run):04d}"
    go(tmp_path / "fork", None, *LONG, fork=f"{run}/iterations/0005", keep="best", iterations=7)
    assert 7 in adapters(tmp_path / "fork")
    damage(run / "iterations/0006/metrics.json", "middle byte flipped")
    with pytest.raises(RunError, match=r"iterations/0006/metrics\.json.*fork=.*iterations/0005"):
        go(run, None, *LONG, keep="best", iterations=7)


def test_an_interruption_while_an_adapter_is_given_up_changes_no_byte(tmp_path: Path) -> None:
    counting = FailingDisk()
    go(tmp_path / "whole", counting, *LONG, keep="best")
    expected = contents(tmp_path / "whole")
    for at in range(counting.effects - 30, counting.effects, 3):
        with pytest.raises(Interrupted):
            go(tmp_path / str(at), FailingDisk(at), *LONG, keep="best")
        go(tmp_path / str(at), None, *LONG, keep="best")
        assert contents(tmp_path / str(at)) == expected, f"interrupted at effect {at}"
        shutil.rmtree(tmp_path / str(at))

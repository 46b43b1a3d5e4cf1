"""Commits know where they belong: a copied, exchanged or foreign iteration is refused by name, and so is a stranger."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from star_loop.errors import ConfigError
from star_loop.export.files import export
from star_loop.launch import launch
from star_loop.report import write, write_comparison
from star_loop.report.runs import read
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import RunError
from star_loop.run.guard import refuse_places
from tests.quiz import QUIZ, configure, contents, play


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    play(folder / "ours", "iterations=3")
    play(folder / "theirs", "iterations=3", "seed=5")
    return folder


def copied(runs: Path) -> None:
    shutil.copytree(runs / "ours/iterations/0003", runs / "ours/iterations/0004")


def exchanged(runs: Path) -> None:
    one, two = (runs / "ours/iterations" / name for name in ("0001", "0002"))
    one.rename(runs / "away")
    two.rename(one)
    (runs / "away").rename(two)


def foreign(*numbers: int):
    def put(runs: Path) -> None:
        for number in numbers:
            shutil.rmtree(runs / f"ours/iterations/{number:04d}")
            shutil.copytree(runs / f"theirs/iterations/{number:04d}", runs / f"ours/iterations/{number:04d}")

    return put


@pytest.mark.parametrize(
    "act, named",
    [
        (copied, r"iterations/0004 is iteration 3, in the place of iteration 4"),
        (exchanged, r"iterations/0001 is iteration 2, in the place of iteration 1"),
        (
            foreign(2),
            r"iterations/0002 (is of another run|was made after another iteration 1 than the one that is there)",
        ),
        (foreign(0), r"iterations/0000 is of another run|iterations/0001 was made after another iteration 0"),
        (foreign(0, 1, 2, 3), r"iterations/0000 is of another run"),
    ],
)
def test_an_iteration_in_the_wrong_place_is_refused_by_name(runs: Path, tmp_path: Path, act, named: str) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    ours = tmp_path / "runs/ours"
    act(tmp_path / "runs")
    before, last = contents(ours), max((ours / "iterations").iterdir())
    if not named.endswith("0000 is of another run"):  # as a whole they are a run, which may be forked
        with pytest.raises(RunError, match=named):
            play(tmp_path / "fork", "iterations=5", f"fork={last}")
    for use in (
        lambda: play(ours, "iterations=5"),
        lambda: export(ours, "last", ["data"]),
        lambda: write(ours),
        lambda: read(ours, ours.parent),
    ):
        with pytest.raises(RunError, match=named):
            use()
    assert contents(ours) == before


def test_what_is_moved_away_as_the_message_says_costs_no_iteration(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    copied(tmp_path / "runs")
    (tmp_path / "runs/ours/iterations/0004").rename(tmp_path / "away")
    play(tmp_path / "runs/ours", "iterations=4")
    play(tmp_path / "whole", "iterations=4")
    assert contents(tmp_path / "runs/ours/iterations") == contents(tmp_path / "whole/iterations")


def test_a_run_may_be_copied_and_goes_on_under_its_new_name(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "ours", tmp_path / "copy")
    play(tmp_path / "copy", "iterations=4", "name=copy")
    assert RunDirectory(tmp_path / "copy").latest().number == 4  # type: ignore[union-attr]


def test_a_fork_knows_what_it_has_inherited(runs: Path, tmp_path: Path) -> None:
    """Other settings are its right: only its own iterations must be of them."""
    fork = tmp_path / "fork"
    play(fork, "iterations=3", "seed=7", f"fork={runs}/ours/iterations/0002/../0001")
    write(fork)
    shutil.rmtree(fork / "iterations/0003")
    shutil.copytree(runs / "ours/iterations/0003", fork / "iterations/0003")
    with pytest.raises(RunError, match="0003 is of another run"):
        play(fork, "iterations=3", "seed=7", f"fork={runs}/ours/iterations/0002/../0001")


def lost(name: str) -> Callable[[Path], None]:
    return lambda runs: (runs / "ours/iterations" / name).unlink()


def changed(name: str) -> Callable[[Path], None]:
    return lambda runs: (runs / "ours/iterations" / name).write_bytes(b"{}")


def without_adapter(runs: Path) -> None:
    shutil.rmtree(runs / "ours/iterations/0002/adapter")


@pytest.mark.parametrize(
    "spoil, said, good",
    [
        (lost("0000/state.json"), r"iteration 0 has no commit \(state\.json is missing\): restore it, or fork", None),
        (lost("0002/state.json"), r"iteration 2 has no commit .*: fork from .*/0001$", 1),
        (changed("0001/examples.jsonl"), r"0001/examples\.jsonl is damaged.*fork=.*/0000", 0),
        (foreign(2), r"0002 .*put back iteration 2 of this run, or fork from .*/0001$", 1),
        (without_adapter, r"the adapter of iteration 2 was given up .* or is lost: fork from .*/0001$", 1),
    ],
)
def test_whatever_is_wrong_with_what_a_fork_takes_over_it_binds_nothing(
    runs: Path, tmp_path: Path, spoil: Callable[[Path], None], said: str, good: int | None
) -> None:
    for name in ("ours", "theirs"):
        shutil.copytree(runs / name, tmp_path / name)
    spoil(tmp_path)
    source = tmp_path / "ours/iterations"
    with pytest.raises(RunError, match=rf"(?s)^fork={source}/0003 cannot be begun with: .*{said}"):
        play(tmp_path / "fork", "iterations=4", f"fork={source}/0003")
    assert not contents(tmp_path / "fork")
    if good is not None:
        play(tmp_path / "fork", "iterations=4", f"fork={source}/{good:04d}")


def test_a_strange_file_is_named_and_moving_it_away_costs_nothing(runs: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs / "ours", tmp_path / "run"))
    before = contents(run)
    stranger = run / "iterations/0001/notes.txt"
    stranger.write_text("hi")
    for use in (lambda: play(run, "iterations=3"), lambda: export(run, "last", ["data"]), lambda: write(run)):
        with pytest.raises(
            RunError, match=r"0001/notes\.txt is not of this run: move it away, and the same command goes on"
        ):
            use()
    assert stranger.read_text() == "hi"
    stranger.unlink()
    play(run, "iterations=3")
    assert contents(run) == before


@pytest.mark.parametrize("name", ["²", "00003", "٥", "3"])
def test_a_folder_of_an_odd_name_is_no_iteration_and_is_named(
    runs: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = Path(shutil.copytree(runs / "ours", tmp_path / "run"))
    (run / "iterations/0003").rename(run / "iterations" / name)
    play(run, "iterations=3")
    assert f"iterations/{name} is no iteration (0000, 0001, …) and is left alone" in caplog.text
    assert (run / "iterations" / name / "state.json").read_bytes() == (run / "iterations/0003/state.json").read_bytes()
    with pytest.raises(ConfigError, match="is not a committed iteration"):
        play(tmp_path / "fork", f"fork={run}/iterations/{name}")
    with pytest.raises(RunError, match="give best, last or a number"):
        export(run, f"{name}x")


def test_what_may_not_be_read_is_not_called_missing(runs: Path, tmp_path: Path) -> None:
    """As another user than root, whom permissions do not bind."""
    run = Path(shutil.copytree(runs / "ours", tmp_path / "run"))
    (run / "iterations/0002").chmod(0)
    for folder in (run, *run.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    reader = os.fork()
    if not reader:
        try:
            if not os.getuid():
                os.setuid(65534)
            RunDirectory(run).latest()
        except PermissionError as error:
            os._exit(0 if "0002" in str(error) else 2)
        os._exit(1)
    assert os.waitpid(reader, 0)[1] == 0


@pytest.mark.parametrize(
    "link",
    ["iterations", "iterations/0004", "iterations/0002/waves", "timings.jsonl", "preparation", "attempts", "wandb",
     "profile.prof", "profile.txt", ".engine", ".config.yaml.unfinished", "iterations/0002/.x.unfinished"],
)  # fmt: skip
def test_a_planted_link_leads_nothing_elsewhere(runs: Path, tmp_path: Path, link: str) -> None:
    run, elsewhere = Path(shutil.copytree(runs / "ours", tmp_path / "run")), tmp_path / "elsewhere"
    if (run / link).exists():
        (run / link).rename(elsewhere)
    else:
        elsewhere.mkdir()
    before = contents(tmp_path)
    (run / link).symlink_to(elsewhere)
    (tmp_path / "precious").write_text("mine")
    (run / ".lock.holder").unlink(missing_ok=True)
    (run / ".lock.holder").symlink_to(tmp_path / "precious")
    with pytest.raises(RunError, match=rf"run/{link} is a link to .*elsewhere, so the run would be written elsewhere"):
        play(run, "iterations=5")
    (run / link).unlink()
    assert (tmp_path / "precious").read_text() == "mine"
    (tmp_path / "precious").unlink()
    assert contents(tmp_path).keys() - {"run/.lock", "run/.lock.holder"} == before.keys() - {
        "run/.lock",
        "run/.lock.holder",
    }


@pytest.mark.parametrize("link", ["export", "export/0003"])
def test_an_export_is_written_through_no_link(runs: Path, tmp_path: Path, link: str) -> None:
    run, elsewhere = Path(shutil.copytree(runs / "ours", tmp_path / "run")), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (run / link).parent.mkdir(exist_ok=True)
    (run / link).symlink_to(elsewhere)
    with pytest.raises(RunError, match=rf"run/{link} is a link to .*elsewhere"):
        export(run, "last", ["data"])
    assert not list(elsewhere.iterdir())


def test_an_export_waits_for_no_pipe(runs: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs / "ours", tmp_path / "run"))
    (run / "export").mkdir()
    os.mkfifo(run / "export/.0003.unfinished")
    assert (export(run, "last", ["data"]) / "data/rationales.parquet").exists()
    os.mkfifo(run / "export/0002")
    with pytest.raises(RunError, match=r"export/0002 is no folder: move it away"):
        export(run, "2", ["data"])


@pytest.mark.parametrize(
    ("name", "found"),
    [(".lock", "a folder where a file"), ("timings.jsonl", "a folder where a file"), ("export", "no folder, where one"),
     ("attempts", "no folder, where one"), ("iterations/0004", "no folder, where one")],
)  # fmt: skip
def test_a_file_in_the_place_of_a_folder_is_named_and_the_reverse(
    runs: Path, tmp_path: Path, name: str, found: str
) -> None:
    run = Path(shutil.copytree(runs / "ours", tmp_path / "run"))
    if "folder where" in found:
        (run / name).unlink()
        (run / name).mkdir()
    else:
        (run / name).touch()
    with pytest.raises(RunError, match=rf"run/{name} is {found} belongs: move it away, or restore what was there"):
        refuse_places(RunDirectory(run))


@pytest.mark.parametrize(
    "name", ["iterations/0004/.state.json.unfinished", "iterations/0003/waves/.000.jsonl.unfinished", "arrived.jsonl",
             ".metrics.jsonl.unfinished", "report.html"],
)  # fmt: skip
def test_no_pipe_is_waited_for(runs: Path, tmp_path: Path, name: str) -> None:
    run = Path(shutil.copytree(runs / "ours", tmp_path / "run"))
    (run / name).parent.mkdir(exist_ok=True)
    os.mkfifo(run / name)
    with pytest.raises(RunError, match=rf"run/{name} is neither a file nor a folder: move it away"):
        play(run, "iterations=4")


def test_a_page_is_written_through_no_link_and_no_pipe(runs: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs / "ours", tmp_path / "run"))
    (tmp_path / "precious").write_text("mine")
    (run / ".report.html.unfinished").symlink_to(tmp_path / "precious")
    (tmp_path / ".comparison.csv.unfinished").symlink_to(tmp_path / "precious")
    os.mkfifo(tmp_path / ".comparison.html.unfinished")
    assert write(run).stat().st_size and write_comparison([run], tmp_path)[0].stat().st_size
    assert (tmp_path / "precious").read_text() == "mine"


def test_figures_that_are_no_numbers_are_named(runs: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs / "ours", tmp_path / "run"))
    (run / "iterations/0001/metrics.json").write_text('{"evaluation/accuracy": NaN}')
    for use in (lambda: play(run, "iterations=4"), lambda: export(run, "last", ["data"]), lambda: write(run)):
        with pytest.raises(RunError, match=r"0001/metrics\.json is damaged"):
            use()


def test_everything_that_a_launch_writes_is_looked_at_for_links(tmp_path: Path) -> None:
    """Also what only some trackers write: a name that is not guarded would lead the writing elsewhere."""
    keys = [key for key in QUIZ if key != "~tracker.tensorboard"]
    trackers = [f"+tracker@tracker.{name}={name}" for name in ("wandb", "profile")]
    launch(configure(*keys, "iterations=1", *trackers), tmp_path / "run")
    export(tmp_path / "run", "last", ["data"])
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"wandb", "profile.prof", "tensorboard", "report.html", "export"} <= written
    for name in written:
        (tmp_path / name).mkdir()
        (tmp_path / name / name).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(RunError, match=rf"{name} is a link to .*elsewhere"):
            refuse_places(RunDirectory(tmp_path / name))


@pytest.mark.parametrize("sweep", [False, True])
def test_hydra_writes_through_no_link_either(tmp_path: Path, sweep: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    run = tmp_path / ("x/seed=1" if sweep else "x")
    run.mkdir(parents=True)
    (run / "attempts").symlink_to(tmp_path / "elsewhere")
    line = ["-m", "seed=1,2"] if sweep else []
    done = subprocess.run(
        [sys.executable, "-m", "star_loop", *line, "experiment=smoke", "name=x", f"outputs={tmp_path}", "iterations=0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert re.match(r"star_loop: \S*attempts is a link to \S*elsewhere, so the run would be written", done.stderr)
    assert not list((tmp_path / "elsewhere").iterdir()) and [path.name for path in run.iterdir()] == ["attempts"]


def test_a_run_and_its_snapshot_by_hard_links_are_locked_apart(runs: Path, tmp_path: Path) -> None:
    run = RunDirectory(Path(shutil.copytree(runs / "ours", tmp_path / "run")))
    with run.locked():
        shutil.copytree(run.path, tmp_path / "early", copy_function=os.link)
        with (
            pytest.raises(RunError, match=r"early is in use by process \d+ on .*then remove the one here"),
            RunDirectory(tmp_path / "early").locked(),
        ):
            pass
        (tmp_path / "early/.lock").unlink()
        with RunDirectory(tmp_path / "early").locked(), pytest.raises(RunError, match="run is in use"), run.locked():
            pass
    snapshot = RunDirectory(Path(shutil.copytree(run.path, tmp_path / "snapshot", copy_function=os.link)))
    with snapshot.locked(), run.locked():
        for held in (snapshot, run):
            with pytest.raises(RunError, match=r"is in use by process \d+ on [^(]*: wait"), held.locked():
                pass


def test_a_snapshot_by_hard_links_stays_what_it_was(runs: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs / "ours", tmp_path / "run"))
    shutil.copytree(run, tmp_path / "snapshot", copy_function=os.link)
    before = {path: path.read_bytes() for path in (tmp_path / "snapshot").rglob("*.*") if path.is_file()}
    launch(configure(*QUIZ, "iterations=5"), run)
    assert {path: path.read_bytes() for path in before} == before

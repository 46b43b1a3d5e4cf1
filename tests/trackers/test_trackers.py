"""Trackers are fed from committed metrics, show every iteration once, and never stop a run."""

import json
import logging
import os
import pty
import re
import sqlite3
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from star_loop.config.build import build
from star_loop.config.hydra import CONF
from star_loop.protocols import Session, Tracker
from star_loop.records import Metrics
from star_loop.run.directory import FREE_KEYS
from star_loop.schedule import Schedule
from star_loop.stages.load import unreachable
from star_loop.trackers import Console, JsonLines, MLflow, TensorBoard, WandB, fan_out
from star_loop.trackers.remarks import Remarks
from star_loop.trackers.run_progress import RunProgress, seconds_left
from tests.quiz import QUIZ, configure


def metrics_of(iteration: int) -> Metrics:
    accuracy = 0.31 + 0.05 * iteration
    metrics = {
        "evaluation/accuracy": accuracy,
        "evaluation/accuracy_low": accuracy - 0.02,
        "evaluation/accuracy_high": accuracy + 0.02,
        "flops/cumulative": 3.4e12 * iteration,
        "seconds/total": 61.0,
    }
    if iteration:
        metrics |= {
            "collect/observations": 1200.0,
            "collect/rollouts": 2400.0,
            "collect/correct": 600.0,
            "collect/accepted": 400.0,
            "collect/quota": 400.0,
            "train/loss": 0.25,
            "tokens/generated": 5e5,
        }
    return metrics


def launch(tracker: Tracker, directory: Path, first: int, last: int) -> None:
    """One launch that finds `first` committed iterations and commits up to `last`."""
    with tracker.session(directory, [metrics_of(t) for t in range(first)]) as session:
        for iteration in range(first, last + 1):
            session.phase(iteration, "collect", 100)
            session.advance(100)
            session.log(iteration, metrics_of(iteration))


class Memory(Tracker):
    """Keeps what it is told in the list it is given."""

    told: list[str]

    @contextmanager
    def session(self, directory: Path, committed: Sequence[Metrics]) -> Iterator[Session]:
        told = self.told

        class Remember(Session):
            def phase(self, iteration: int, name: str, total: int | None) -> None:
                told.append(f"phase {iteration} {name} {total}")

            def advance(self, units: int, tokens: int = 0, asked: int = 0) -> None:
                told.append(f"advance {units} {tokens} {asked}")

            def log(self, iteration: int, metrics: Metrics) -> None:
                told.append(f"log {iteration}")

        told.append(f"open {len(committed)}")
        try:
            yield Remember()
        finally:
            told.append("close")


class Broken(Tracker):
    """Fails in `log` and `close`, and would swallow the run's exception."""

    class Session(Session):
        def log(self, iteration: int, metrics: Metrics) -> None:
            raise OSError("disk full")

    @contextmanager
    def session(self, directory: Path, committed: Sequence[Metrics]) -> Iterator[Session]:
        try:
            yield Broken.Session()
        except ValueError:
            return
        raise OSError("disk full")


class Unopenable(Tracker):
    """Cannot be opened."""

    mistake: bool = False

    @contextmanager
    def session(self, directory: Path, committed: Sequence[Metrics]) -> Iterator[Session]:
        raise ValueError("no key of mine") if self.mistake else OSError("no such place")
        yield


# ------------------------------------------------------------------------------------------------------ fan_out


def test_fan_out_forwards_every_event_to_every_tracker(tmp_path: Path) -> None:
    one, two = Memory(told=[]), Memory(told=[])
    # Component copies its arguments, so look at the components' own lists.
    with fan_out({"one": one, "two": two}, tmp_path, [metrics_of(0)]) as session:
        session.phase(1, "collect", 7)
        session.advance(7, 40)
        session.log(1, metrics_of(1))
    assert one.told == ["open 1", "phase 1 collect 7", "advance 7 40 0", "log 1", "close"]
    assert two.told == one.told


def test_a_failing_tracker_is_reported_once_and_disturbs_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    memory = Memory(told=[])
    with (
        caplog.at_level(logging.WARNING),
        fan_out({"broken": Broken(), "memory": memory}, tmp_path, []) as session,
    ):
        for iteration in range(3):
            session.log(iteration, metrics_of(iteration))
    assert memory.told == ["open 0", "log 0", "log 1", "log 2", "close"]
    assert len(caplog.records) == 1
    assert "'broken' failed in log: OSError: disk full" in caplog.text


def test_a_tracker_that_cannot_be_opened_raises_and_closes_the_others(tmp_path: Path) -> None:
    memory = Memory(told=[])
    with (
        pytest.raises(OSError, match="no such place"),
        fan_out({"memory": memory, "unopenable": Unopenable()}, tmp_path, []),
    ):
        pytest.fail("the session must not begin")
    assert memory.told == ["open 0", "close"]


def test_a_run_that_is_continued_goes_on_without_a_tracker_that_cannot_be_opened(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    memory = Memory(told=[])
    with fan_out({"unopenable": Unopenable(), "memory": memory}, tmp_path, [metrics_of(0)]) as session:
        session.log(1, metrics_of(1))
    assert memory.told == ["open 1", "log 1", "close"]
    assert [record.message for record in caplog.records] == [
        "Tracker 'unopenable' failed in open: OSError: no such place. The run goes on; further failures of it are not "
        "reported."
    ]
    with (
        pytest.raises(ValueError, match="no key of mine"),
        fan_out({"unopenable": Unopenable(mistake=True)}, tmp_path, [metrics_of(0)]),
    ):
        pytest.fail("a mistake is for whoever launches it")


@pytest.mark.parametrize("error", [ValueError("the run's own"), KeyboardInterrupt()])
def test_the_runs_exception_is_not_swallowed(tmp_path: Path, error: BaseException) -> None:
    memory = Memory(told=[])
    with pytest.raises(type(error)), fan_out({"memory": memory, "broken": Broken()}, tmp_path, []):
        raise error
    assert memory.told == ["open 0", "close"]


@pytest.mark.parametrize("option", sorted(path.stem for path in (CONF / "tracker").glob("*.yaml")))
def test_every_option_builds_without_what_it_needs(option: str) -> None:
    assert isinstance(build(configure(*QUIZ, f"+tracker@tracker.another={option}")).tracker["another"], Tracker)


# ------------------------------------------------------------------------------------------------- metrics.jsonl


def test_json_lines_after_a_kill_equal_those_of_an_uninterrupted_run(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    launch(JsonLines(), whole, 0, 4)
    launch(JsonLines(), killed, 0, 2)
    with (killed / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 3, "evalu')  # torn by the kill, after iteration 3 was committed
    launch(JsonLines(), killed, 4, 4)
    assert (killed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [row.pop("iteration") for row in rows] == [0, 1, 2, 3, 4]
    assert rows == [metrics_of(t) for t in range(5)]


# -------------------------------------------------------------------------------------------------- TensorBoard


def scalars(folder: Path) -> list[tuple[int, float]]:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return [(event.step, round(event.value, 4)) for event in accumulator.Scalars("evaluation/accuracy")]


def test_tensorboard_shows_every_iteration_once_after_each_resume(tmp_path: Path) -> None:
    for first, last in ((0, 2), (2, 4), (5, 5)):  # the second launch lost the former one's last commit
        launch(TensorBoard(tags=LABELS["tags"], notes=LABELS["notes"]), tmp_path, first, last)
        assert scalars(tmp_path / "tensorboard") == [(t, round(0.31 + 0.05 * t, 4)) for t in range(last + 1)]
    accumulator = EventAccumulator(str(tmp_path / "tensorboard"))
    accumulator.Reload()
    texts = {
        tag: accumulator.Tensors(tag)[-1].tensor_proto.string_val[0].decode() for tag in accumulator.Tags()["tensors"]
    }
    assert texts == {"tags": "baseline, 7b", "notes": LABELS["notes"]}


def test_a_tensorboard_that_is_looking_on_sees_no_repeats_after_a_resume(tmp_path: Path) -> None:
    launch(TensorBoard(), tmp_path, 0, 3)
    watching = EventAccumulator(str(tmp_path / "tensorboard"))
    watching.Reload()
    launch(TensorBoard(), tmp_path, 3, 5)
    watching.Reload()
    assert [event.step for event in watching.Scalars("evaluation/accuracy")] == [0, 1, 2, 3, 4, 5]


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are Unix's")
def test_a_disk_that_takes_no_more_of_tensorboard_is_named(tmp_path: Path) -> None:
    import resource

    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, usual[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*/tensorboard/\.events\.unfinished'"):
            launch(TensorBoard(), tmp_path, 0, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_tensorboard_touches_nothing_that_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "precious").write_text("mine")
    for name in (".events.unfinished", "events.out.tfevents.0000000001.star_loop"):
        (tmp_path / "tensorboard" / name).symlink_to(tmp_path / "precious")
    launch(TensorBoard(), tmp_path, 0, 1)
    assert (tmp_path / "precious").read_text() == "mine" and len(scalars(tmp_path / "tensorboard")) == 2


def test_tensorboard_records_are_on_disk_as_soon_as_they_are_logged(tmp_path: Path) -> None:
    with TensorBoard().session(tmp_path, []) as session:
        session.log(0, metrics_of(0))
        assert scalars(tmp_path / "tensorboard") == [(0, 0.31)]


# ------------------------------------------------------------------------------------------- Weights & Biases

LABELS: dict[str, Any] = {"tags": ("baseline", "7b"), "notes": "what it is for"}
CONFIG = "seed: 3\nsampler:\n  _target_: star_loop.samplers.adastar.AdaStar\n  power: 2.0\n"


def logged(file: Path) -> list[bytes]:
    """The records of a file of W&B's: LevelDB's log format after a header of seven bytes."""
    data, records, position = file.read_bytes(), [b""], 7
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        length, kind = int.from_bytes(data[position + 4 : position + 6], "little"), data[position + 6]
        records[-1] += data[position + 7 : position + 7 + length]
        if kind in (1, 4):  # whole, or the last of several parts
            records.append(b"")
        position += 7 + length
    return records[:-1]


def wandb_history(folder: Path) -> list[tuple[int, float]]:
    """Step and accuracy of every row of the one run that is there, which has its labels."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    found = []
    for data in logged(file):
        record = Record.FromString(data)
        if record.HasField("run"):
            assert {"tags": tuple(record.run.tags), "notes": record.run.notes} == LABELS
        if record.HasField("history"):
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            found.append((record.history.step.num, round(row["evaluation/accuracy"], 4)))
    return found


def test_wandb_offline_shows_every_iteration_once_after_each_resume(tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb", reason='needs the extra "star_loop[wandb]"')
    (tmp_path / "config.yaml").write_text(CONFIG)
    identifiers = set()
    for first, last in ((0, 2), (2, 4), (5, 5)):  # the second launch lost the former one's last commit
        launch(WandB(**LABELS), tmp_path, first, last)
        wandb.teardown()  # as at the end of the process: waits until everything is written
        assert wandb_history(tmp_path) == [(t, round(0.31 + 0.05 * t, 4)) for t in range(last + 1)]
        identifiers |= {path.name for path in tmp_path.glob("wandb/offline-run-*/run-*.wandb")}
    assert len(identifiers) == 1  # the server takes them for one run


# ------------------------------------------------------------------------------------------------------ MLflow


def test_mlflow_shows_every_iteration_once_after_each_resume(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason='needs the extra "star_loop[mlflow]"')
    pytest.importorskip("sqlalchemy", reason='the local store needs the extra "star_loop[mlflow]"')
    from mlflow import MlflowClient

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(CONFIG)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    launch(MLflow(), tmp_path / "two", 0, 1)
    for first, last in ((0, 2), (2, 4), (5, 5)):
        launch(MLflow(**LABELS), tmp_path / "one", first, last)
        (experiment,) = [e for e in client.search_experiments() if e.name == "star_loop"]
        one, two = sorted(client.search_runs([experiment.experiment_id]), key=lambda run: str(run.info.run_name))
        history = client.get_metric_history(one.info.run_id, "evaluation/accuracy")
        shown = sorted((point.step, round(point.value, 4)) for point in history)
        assert shown == [(t, round(0.31 + 0.05 * t, 4)) for t in range(last + 1)]
    assert (one.info.run_name, one.info.status, one.data.params["sampler.power"]) == ("one", "FINISHED", "2.0")
    tags = {name: value for name, value in one.data.tags.items() if name in ("baseline", "7b", "mlflow.note.content")}
    assert tags == {"baseline": "true", "7b": "true", "mlflow.note.content": LABELS["notes"]}
    assert two.data.metrics["evaluation/accuracy"] == pytest.approx(0.36)


# ----------------------------------------------------------------------------------------------------- trackio

TRACKIO = """
import json, sys
from pathlib import Path
from star_loop.trackers import Trackio
from tests.trackers.test_trackers import LABELS, launch

for name, first, last in json.loads(sys.argv[1]):
    launch(Trackio(**LABELS), Path(name), first, last)
print("nothing of trackio's")
"""


def test_trackio_shows_every_iteration_once_after_each_resume(tmp_path: Path) -> None:
    pytest.importorskip("trackio", reason='needs the extra "star_loop[trackio]"')
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(CONFIG)
    launches = [["two", 0, 1], ["one", 0, 2], ["one", 2, 4], ["one", 5, 5]]  # the third lost the second's last commit
    arguments = [[str(tmp_path / name), first, last] for name, first, last in launches]
    # trackio reads at import where its store is, so it is imported in a process of its own.
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path / "store"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", TRACKIO, json.dumps(arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("nothing of trackio's\n", 0), done.stderr
    with sqlite3.connect(tmp_path / "store" / "star_loop.db") as store:
        rows = store.execute("SELECT run_name, step, metrics FROM metrics ORDER BY run_name, step").fetchall()
        settings = dict(store.execute("SELECT run_name, config FROM configs").fetchall())
    found = [(name, step, round(json.loads(metrics)["evaluation/accuracy"], 4)) for name, step, metrics in rows]
    whole = [("one", t) for t in range(6)] + [("two", t) for t in range(2)]
    assert found == [(name, t, round(0.31 + 0.05 * t, 4)) for name, t in whole]
    one = json.loads(settings["one"])
    assert (one["sampler.power"], one["tags"], one["notes"]) == (2.0, list(LABELS["tags"]), LABELS["notes"])


def test_tags_and_notes_of_the_run_reach_its_trackers_and_may_change(tmp_path: Path) -> None:
    names = ("wandb", "mlflow", "trackio", "tensorboard")
    keys = [f"+tracker@tracker.{name}={name}" for name in names[:3]]
    config = configure("experiment=smoke", "tags=baseline,7b", "notes=what it is for", *keys)
    experiment = build(config)
    for name in names:
        tracker: Any = experiment.tracker[name]
        assert {"tags": tracker.tags, "notes": tracker.notes} == LABELS
    assert experiment.tags == LABELS["tags"] and {"tags", "notes"} <= set(FREE_KEYS)


# ------------------------------------------------------------------------------------------------------ console


def test_without_a_terminal_the_console_prints_lines_for_grep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    launch(Console(iterations=5), tmp_path, 2, 3)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert [" ".join(line.split()[:2]) for line in out.splitlines()[1:]] == [
        "resumed iteration=0",
        "resumed iteration=1",
        "phase iteration=2",
        "committed iteration=2",
        "phase iteration=3",
        "committed iteration=3",
    ]
    assert (
        "committed iteration=3 accuracy=0.4600 low=0.4400 high=0.4800 observations=1200 rollouts=2400 correct=600 "
        "accepted=400 quota=400 loss=0.2500 generated=500000 flops=1.020e+13 seconds=61.0 change=+0.0500 seconds_left=122\n"
    ) in out


@pytest.mark.parametrize(
    "settings, asked",
    [
        ("seed: 0", "zero-shot"),
        ("task: {bare_shots: 1}", "after 1 worked example"),
        ("task: {bare_shots: 3}\nmodel: {chat_template: true}", "after 3 worked examples, in the chat template"),
    ],
)
def test_the_console_says_how_questions_are_put(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: str, asked: str
) -> None:
    (tmp_path / "config.yaml").write_text(settings)
    for live in (False, True):
        with Console(live=live).session(tmp_path, []):
            pass
    lines, table = (part.replace("\n", "") for part in capsys.readouterr().out.split("iter  ")[0].split("\n", 1))
    assert lines == f"run directory={tmp_path} asked={asked!r}"
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", table)  # a line ends where the terminal does, in the place of a space
    assert f"{tmp_path} · asked {asked}".replace(" ", "") in said.replace(" ", "")


def test_without_a_terminal_the_console_tells_how_a_phase_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    for every in (0.0, 3600.0):
        with Console(progress_every=every).session(tmp_path, []) as session:
            session.phase(1, "collect", 80)
            session.advance(0, 0, 32)
            session.advance(1)  # while the engine started, as it may be
            session.advance(19, 400)
            session.phase(1, "train", None)
            session.advance(3)
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("progress")]
    assert [line.split(" rate=")[0] for line in told] == [
        "progress iteration=1 name=collect done=0 total=80 asked=32",
        "progress iteration=1 name=collect done=1 total=80 asked=32",
        "progress iteration=1 name=collect done=20 total=80 asked=32",
        "progress iteration=1 name=train done=3",
    ]
    assert [" seconds_left=" in line for line in told] == [False, False, True, False]


def test_while_a_wave_is_out_the_bar_moves_by_what_the_iteration_before_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = metrics_of(1) | {"collect/observations": 40.0, "collect/accepted": 20.0}
    with Console(live=True, iterations=9).session(tmp_path, [metrics_of(0), metrics]) as session:
        bar = session._progress.tasks[0]
        session.phase(2, "collect", 80)
        session.advance(0, 0, 32)
        assert (bar.completed, bar.fields["done"]) == (16, 0)
        session.advance(0, 700)
        session.advance(0)  # the wave was judged, and nothing was right
        assert (bar.completed, bar.fields["done"]) == (0, 0)
        session.advance(0, 0, 8)
        session.advance(4)
        assert (bar.completed, bar.fields["done"]) == (4, 4)
    capsys.readouterr()


SCRIPT = """
import logging, sys
from pathlib import Path
from star_loop.trackers import Console
from tests.trackers.test_trackers import metrics_of

logging.basicConfig(stream=sys.stdout, format="[log] %(message)s", level="INFO")
complete = sys.argv[1:] == ["complete"]
with Console(iterations=0 if complete else 4).session(Path("outputs/demo"), [metrics_of(0)]) as session:
    for iteration in () if complete else (1, 2):
        session.phase(iteration, "collect", 1200)
        session.advance(600, 12_000)
        logging.info("half way")
        session.phase(iteration, "test", None)
        session.log(iteration, metrics_of(iteration))
    if not complete:
        session.phase(3, "train", 400)
    if sys.argv[1:] == ["crash"]:
        raise RuntimeError("a crash in training")
"""


def in_terminal(*arguments: str, columns: int, **environment: str) -> str:
    """All bytes that the script sends to a terminal of that width."""
    terminal, process_side = pty.openpty()
    termios.tcsetwinsize(process_side, (30, columns))
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        stdout=process_side,
        stderr=process_side,
        env={**inherited, "TERM": "xterm-256color", **environment},
    )
    os.close(process_side)
    sent = b""
    with os.fdopen(terminal, "rb", buffering=0) as reader:
        while True:
            try:
                chunk = reader.read(65536)
            except OSError:  # how Linux says that the other side was closed
                break
            if not chunk:
                break
            sent += chunk
    process.wait()
    return sent.decode()


def screen(sent: str) -> list[str]:
    """What the terminal shows at the end: line feeds, carriage returns, cursor up and line erasing are obeyed."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", sent):
        if token == "\r":
            column = 0
        elif token == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif token == "\x1b[2K":
            lines[row] = ""
        elif token.startswith("\x1b[") and token.endswith("A"):
            row -= int(token[2:-1] or 1)
        elif not token.startswith("\x1b"):
            lines[row] = lines[row].ljust(column)[:column] + token + lines[row][column + len(token) :]
            column += len(token)
    return lines


@pytest.mark.parametrize("columns", [34, 60, 120])
def test_in_a_terminal_rows_fit_and_only_the_table_is_left(columns: int) -> None:
    sent = in_terminal(columns=columns)
    assert "iteration 1/4 collect" in sent
    frames = re.findall(r"(?:iteration \d/4|accuracy) [^\r\n]*", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent))
    assert max(map(len, frames)) <= columns - len("^C")  # an echoed ^C must not wrap
    shown = screen(sent)
    assert all(len(line) <= columns for line in shown)
    # The log line came while the bar was there, and neither cut through the other.
    assert [line.split()[0] for line in shown if line.strip()] == [
        "outputs/demo",
        "iter",
        "0",
        "[log]",
        "1",
        "[log]",
        "2",
    ]
    assert [line.split()[1:3] for line in shown if line.strip()[:1].isdigit()] == [
        ["31.0", "%"],
        ["36.0", "%"],
        ["41.0", "%"],
    ]


def test_after_a_crash_the_bar_is_gone_and_the_cursor_is_there() -> None:
    sent = in_terminal("crash", columns=80)
    assert "iteration 3/4 train" in sent
    shown = "\n".join(screen(sent))
    assert "RuntimeError: a crash in training" in shown
    assert "iteration 3/4 train" not in shown
    assert sent.rfind("\x1b[?25h") > sent.rfind("\x1b[?25l")


def test_a_run_that_was_complete_before_shows_no_bar() -> None:
    sent = in_terminal("complete", columns=80)
    assert "31.0 %" in sent
    assert not re.search("starting|ends about", sent)


def test_the_line_below_the_bar_says_how_the_run_stands_as_far_as_it_fits() -> None:
    below = {columns: re.findall(r"accuracy \d[^\r\n\x1b]*", in_terminal(columns=columns)) for columns in (34, 60)}
    assert all(len(line) <= 34 - len("^C") and "ends about" not in line for line in below[34])
    assert any("accuracy 36.0 % (+5.0)" in line for line in below[34])
    whole = r"accuracy 36\.0 % \(\+5\.0\)  [\d.,]+[kMG]? tokens/s  ends about \d\d:\d\d"
    assert any(re.match(whole, line) for line in below[60]), below[60]


def test_what_was_asked_is_told_while_a_wave_is_under_way() -> None:
    so_far = RunProgress(last=4)
    so_far.generated(0, 3)
    so_far.generated(700, 4)
    assert so_far.text(80).plain.startswith("7 asked  ")
    so_far.phase(1)
    assert "asked" not in so_far.text(80).plain


def test_the_time_left_goes_on_as_the_iterations_did() -> None:
    assert seconds_left([60.0], 3) == 180.0
    assert seconds_left([50.0, 50.0, 50.0], 2) == 100.0
    assert seconds_left([100.0, 120.0], 2) == pytest.approx(144.0 + 172.8)
    assert seconds_left([90.0, 30.0], 2) == 60.0  # becoming shorter is not counted on
    assert seconds_left([1.0, 60.0], 1) == 90.0  # nor is a leap


def test_a_model_that_solves_more_is_expected_to_fill_its_quota_the_sooner() -> None:
    so_far, first = (
        RunProgress(last=3),
        {"collect/quota": 96.0, "collect/accepted": 96.0, "collect/observations": 900.0},
    )
    so_far.committed(0, {"evaluation/accuracy": 0.02, "evaluation_shots/accuracy": 0.1})
    so_far.committed(1, first | {"evaluation/accuracy": 0.4, "seconds/total": 900.0, "seconds/collect": 800.0})
    assert so_far.left(2) == 2 * (100 + 200)
    so_far.committed(2, first | {"evaluation/accuracy": 0.5, "seconds/total": 350.0, "seconds/collect": 250.0})
    assert so_far.left(3) == 350, "afterwards iterations tell it themselves"


@given(
    st.lists(st.floats(0.01, 1e4), min_size=1, max_size=5),
    st.integers(1, 60) | st.integers(10**6, 10**30),
)
def test_the_time_left_is_a_geometric_series_of_any_length(durations: list[float], iterations: int) -> None:
    growth = (durations[-1] / durations[0]) ** (1 / (len(durations) - 1)) if len(durations) > 1 else 1.0
    growth = min(max(growth, 1.0), 1.5)
    found = seconds_left(durations, iterations)
    if iterations <= 60:
        naive = sum(durations[-1] * growth ** (k + (len(durations) > 1)) for k in range(iterations))
        assert found == pytest.approx(naive, rel=1e-6, abs=0.1)
    else:
        assert found >= durations[-1] * 10**6 * 0.999


def test_an_end_that_nobody_will_see_is_not_foretold() -> None:
    so_far = RunProgress(last=10**9)
    for iteration in range(3):
        so_far.committed(iteration, metrics_of(iteration))
    assert so_far.left(3) is None and "ends about" not in so_far.text(200).plain
    near = RunProgress(last=4)
    near.committed(1, metrics_of(1))
    assert "ends about" in near.text(200, phase=86400.0 * 400).plain


def test_advice_is_given_once_and_only_where_it_fits() -> None:
    said, fine = Remarks(Path("outputs/my run")), metrics_of(1) | {"train/epochs": 3.0, "train/examples": 400.0}
    assert said.new(1, fine) == []
    by_heart = fine | {
        "train/epochs": 64.0,
        "train/examples": 5.0,
        "collect/truncated": 0.5,
        "evaluation/unparsed": 0.4,
    }
    unread, cut, epochs = said.new(1, by_heart)
    assert (
        "40.0 % of the answers could not be read" in unread
        and "judge 'outputs/my run' --iteration 1 --only unread shows" in unread
    )
    assert "50.0 % of the rationales were cut off: raise generator.max_tokens" in cut
    assert "each of the 5 examples was trained on 64 times" in epochs and "trainer.max_epochs" in epochs
    assert said.new(1, by_heart) == []


@pytest.mark.parametrize(
    "shown, advice",
    [
        (None, "Try task.exemplars=<worked examples>"),
        (0.2, "of which worked examples make 20.0 %: iterations will teach it"),
        (0.0, "worked examples do not help it. Try other ones"),
    ],
)
def test_only_a_form_that_examples_can_show_is_said_to_be_taught(shown: float | None, advice: str) -> None:
    base = metrics_of(0) | {"evaluation/accuracy": 0.0, "evaluation/unparsed": 0.9}
    asked = {} if shown is None else {"evaluation_shots/accuracy": shown}
    (said,) = Remarks(Path("outputs/mine")).new(0, base | asked)
    assert "0.0 % right, and 90.0 % of the answers could not be read" in said and advice in said


@pytest.mark.parametrize(
    "keys, observations, said",
    [
        ({}, 384, None),
        ({}, 56, "wants 320 correct rationales, and each of 56 questions counts once"),
        ({}, 56, "schedule.steps=3 for fewer"),
        ({"steps": 1}, 3, "Set schedule.quota=null to say so"),
        ({"per_observation": 4}, 56, "counts 4 times"),
        ({"per_observation": 7}, 56, None),
        ({"quota": 100}, 56, "Set schedule.quota=null to say so"),
        ({"quota": None}, 56, None),
        ({"growth": 1.2, "steps": 5}, 41, "iteration 2 wants 48 correct rationales"),
    ],
)
def test_a_quota_that_the_data_cannot_fill_is_said(keys: dict[str, Any], observations: int, said: str | None) -> None:
    found = unreachable(Schedule(**keys), observations, iterations=2)
    assert found is None if said is None else said in str(found)
    assert found is None or "steps=1 for fewer" not in found
    assert "iteration 5 wants" in str(unreachable(Schedule(), 600, iterations=10**20)), "however many there are to be"


def test_no_color_is_honoured() -> None:
    coloured = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])[;m]")
    assert coloured.search(in_terminal(columns=80))
    assert not coloured.search(in_terminal(columns=80, NO_COLOR="1"))

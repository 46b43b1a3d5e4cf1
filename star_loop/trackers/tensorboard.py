"""Curves in TensorBoard: every metric of every committed iteration as a scalar, the iteration as its step."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from star_loop.config.component import Words
from star_loop.protocols import Session, Tracker
from star_loop.records import Metrics
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import clear, naming

_PREFIX, _SUFFIX = "events.out.tfevents.", ".star_loop"


class TensorBoard(Tracker):
    """Writes `tensorboard/` into the run directory; look at it with `tensorboard --logdir outputs`.

    Each launch writes one event file anew from the committed iterations and empties the former launch's, so a resumed
    run shows every iteration once. After `log` has returned, its records are in the file.
    """

    tags: Words = ()
    """The run's; `tags=` gives them. They stand under TEXT, as the notes do."""
    notes: str | None = None
    """The run's; `notes=` gives them."""

    @contextmanager
    def session(self, directory: Path, committed: Sequence[Metrics]) -> Iterator[Session]:
        """Rewrite the events, then append to them.

        Raises:
            OSError: the folder cannot be written.
        """
        folder = directory / "tensorboard"
        folder.mkdir(parents=True, exist_ok=True)
        named = folder.glob(_PREFIX + 10 * "[0-9]" + _SUFFIX)
        former = [path for path in named if path.is_file() and not path.is_symlink()]
        launch = 1 + max((int(path.name[len(_PREFIX) : -len(_SUFFIX)]) for path in former), default=0)
        unfinished = folder / ".events.unfinished"
        clear(unfinished)
        with unfinished.open("wb", buffering=0) as file:  # what a full disk did not take is not tried again at the end
            with naming(unfinished):
                events = _Events(file, folder)
                events.say({"tags": ", ".join(self.tags), "notes": self.notes or ""})
                for iteration, metrics in enumerate(committed):
                    events.write(committed_at(directory, iteration), iteration, metrics)
            unfinished.replace(folder / f"{_PREFIX}{launch:010d}{_SUFFIX}")
            for path in former:
                # Emptied, not removed: a TensorBoard that is reading it can then move on to the new one.
                path.write_bytes(b"")
            yield events


def committed_at(directory: Path, iteration: int) -> float:
    """Tell when an iteration was committed, in seconds since the epoch; now, where its directory is not there."""
    commit = RunDirectory(directory).iteration(iteration).path / "state.json"
    return commit.stat().st_mtime if commit.exists() else time.time()


class _Events(Session):
    """An event file: protocol buffers in TensorFlow's framing of lengths and checksums."""

    def __init__(self, file: Any, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        now, self._folder = time.time(), folder
        self._records = RecordWriter(file)
        self._records.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
        # A TensorBoard that has read the former launch's file forgets its steps from 0 on.
        start = SessionLog(status=SessionLog.START)
        self._records.write(Event(wall_time=now, step=0, session_log=start).SerializeToString())
        self._records.flush()

    def log(self, iteration: int, metrics: Metrics) -> None:
        with naming(self._folder):
            self.write(time.time(), iteration, metrics)

    def say(self, texts: Mapping[str, str]) -> None:
        """Write an event with those of the texts that say something."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.text.metadata import create_summary_metadata
        from tensorboard.util.tensor_util import make_tensor_proto

        for name, text in texts.items():
            if text:
                kind, said = create_summary_metadata(name, ""), make_tensor_proto([text.encode()])
                summary = Summary(value=[Summary.Value(tag=name, metadata=kind, tensor=said)])
                self._records.write(Event(wall_time=time.time(), summary=summary).SerializeToString())
        self._records.flush()

    def write(self, wall_time: float, iteration: int, metrics: Metrics) -> None:
        """Write one event with a scalar per metric."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(tag=name, simple_value=x) for name, x in sorted(metrics.items())])
        self._records.write(Event(wall_time=wall_time, step=iteration, summary=summary).SerializeToString())
        self._records.flush()

"""`metrics.jsonl`: one line per committed iteration, for programs and for `tail -f`."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from star_loop.protocols import Session, Tracker
from star_loop.records import Metrics
from star_loop.run.disk import Disk


class JsonLines(Tracker):
    """Writes `metrics.jsonl` into the run directory: `{"iteration": 3, "collect/accepted": 412, …}` per line.

    The file is made anew from the committed iterations at each launch, so a kill between commit and line leaves
    neither a gap nor a repeat. Names are sorted, so equal runs have equal lines.
    """

    @contextmanager
    def session(self, directory: Path, committed: Sequence[Metrics]) -> Iterator[Session]:
        """Rebuild the file, then append to it.

        Raises:
            OSError: the file cannot be written.
            ValueError: a metric is not a finite number.
        """
        path = directory / "metrics.jsonl"
        Disk().publish(path, b"".join(_line(t, metrics) for t, metrics in enumerate(committed)))
        yield _Lines(path)


class _Lines(Session):
    def __init__(self, path: Path) -> None:
        self._path = path

    def log(self, iteration: int, metrics: Metrics) -> None:
        Disk().append(self._path, _line(iteration, metrics))


def _line(iteration: int, metrics: Metrics) -> bytes:
    row = {"iteration": iteration, **dict(sorted(metrics.items()))}
    return (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode()

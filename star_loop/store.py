"""The run directory: one method per path, atomic publishing, the commit, and what refuses to continue.

A file is written beside its place, flushed to disk and renamed into it, so a path either does not exist or is whole.
`state.json` is published last: its presence is the commit of an iteration, and it carries the checksums of the others.
Nothing that is finished is ever deleted or written twice.
"""

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from star_loop.disk import Disk, RunError, json_bytes, npz_bytes, parquet_bytes, read_json
from star_loop.protocols import Positions, State
from star_loop.records import Example, IterationState, Metrics, Observation, Record, RecordError, Rollout, Score
from star_loop.statistics import Statistics
from star_loop.tasks.splitting import surveyed
from star_loop.tasks.survey import write_parquet

FORMAT = 1
"""Version of the run-directory format."""

R = TypeVar("R", bound=Record)


class IterationDirectory:
    """One iteration's files. A method that is given `compute` calls it only if its file is not there yet."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path, self.disk = path, disk

    @property
    def number(self) -> int:
        """The iteration, from the directory's name."""
        return int(self.path.name)

    def wave(self, number: int, positions: Positions, compute: Callable[[], Sequence[Rollout]]) -> list[Rollout]:
        """The judged rollouts of one wave, which asked these positions."""
        name = f"waves/{number:03d}.jsonl"
        rollouts = self._rows(name, Rollout, compute)
        if strangers := {r.position for r in rollouts} - set(positions.tolist()):
            raise self._damaged(self.path / name, f"it has rollouts of {sorted(strangers)}, which were not asked")
        return rollouts

    def scores(self, name: str, compute: Callable[[], Sequence[Score]]) -> list[Score]:
        """`scores.jsonl`: what the student thinks of the rationales before the round; `scores_after.jsonl`: after."""
        return self._rows(f"{name}.jsonl", Score, compute)

    def rollouts(self) -> list[Rollout]:
        """Those of all finished waves, in order."""
        return [r for path in sorted(self.path.glob("waves/*.jsonl")) for r in self._read(path, Rollout)]

    def examples(self, compute: Callable[[], Sequence[Example]]) -> list[Example]:
        """Exactly what is trained on."""
        return self._rows("examples.jsonl", Example, compute)

    def evaluation(self, split: str, compute: Callable[[], Sequence[Rollout]]) -> list[Rollout]:
        """Judged rollouts never trained on: `validation.jsonl`, `evaluation.jsonl` (test), `pilots/<T>.jsonl`."""
        name = "evaluation" if split == "test" else split
        return self._rows(f"{name}.jsonl", Rollout, compute)

    def adapter(self, compute: Callable[[Path], Metrics]) -> tuple[Path, Metrics]:
        """The trained adapter and the metrics of its round, which `training.json` keeps beside the weights."""
        path = self.path / "adapter"
        if not path.exists():

            def fill(into: Path) -> None:
                metrics = compute(into)
                self.disk.write(into / "training.json", json_bytes(metrics))

            self.disk.publish_directory(path, fill)
        return path, read_json(path / "training.json")

    def commit(
        self, *, adapter: str | None, metrics: Metrics, statistics: Statistics, beliefs: State
    ) -> IterationState:
        """Publish what the iteration learned, then `state.json` with the checksum of every file."""
        self.disk.publish(self.path / "statistics.parquet", parquet_bytes(statistics.columns()))
        self.disk.publish(self.path / "sampler.npz", npz_bytes(beliefs))
        self.disk.publish(self.path / "metrics.json", json_bytes(metrics))
        state = IterationState(format=FORMAT, iteration=self.number, adapter=adapter, files=self._checksums()).sealed()
        self.disk.publish(self.path / "state.json", (state.to_json() + "\n").encode())
        return state

    @property
    def committed(self) -> bool:
        """Whether the iteration is complete."""
        return (self.path / "state.json").exists()

    def state(self) -> IterationState:
        """The commit.

        Raises:
            RunError: it cannot be read, or is of another format version.
        """
        path = self.path / "state.json"
        try:
            state = IterationState.from_json(path.read_text(encoding="utf-8"))
        except (RecordError, UnicodeDecodeError) as error:
            raise self._damaged(path, str(error)) from error
        if state.sealed() != state:
            raise self._damaged(path, "its bytes are not those that were committed")
        if state.format != FORMAT:
            raise RunError(
                f"{path} has format {state.format}, this version reads {FORMAT}: use the star_loop that wrote it"
            )
        return state

    def verify(self) -> IterationState:
        """The commit, after comparing every file with its checksum.

        Raises:
            RunError: names the first file that is missing, changed or unknown.
        """
        state = self.state()
        found = self._checksums()
        for name in sorted({*state.files, *found}):
            if name not in found:
                raise self._damaged(self.path / name, "it is missing")
            if name not in state.files:
                raise self._damaged(self.path / name, "the commit does not know it")
            if state.files[name] != found[name]:
                raise self._damaged(self.path / name, "its bytes are not those that were committed")
        return state

    def metrics(self) -> Metrics:
        """The committed metrics."""
        return read_json(self.path / "metrics.json")

    def statistics(self) -> Statistics:
        """The committed observation statistics."""
        import pyarrow.parquet as parquet

        table = parquet.read_table(self.path / "statistics.parquet")
        return Statistics(**{name: table[name].to_numpy().copy() for name in table.column_names})

    def beliefs(self) -> State:
        """The committed sampler state."""
        with np.load(self.path / "sampler.npz", allow_pickle=False) as arrays:
            return dict(arrays)

    def _rows(self, name: str, kind: type[R], compute: Callable[[], Sequence[R]]) -> list[R]:
        path = self.path / name
        if not path.exists():
            rows = list(compute())
            self.disk.publish(path, "".join(row.to_json() + "\n" for row in rows).encode("utf-8", "surrogatepass"))
            return rows
        return list(self._read(path, kind))

    def _read(self, path: Path, kind: type[R]) -> Iterator[R]:
        *lines, end = path.read_bytes().split(b"\n")
        if end or not lines:
            raise self._damaged(path, "its last line is cut off" if end else "it is empty")
        for number, line in enumerate(lines, start=1):
            try:
                yield kind.from_json(line.decode("utf-8", "surrogatepass"))
            except (RecordError, UnicodeDecodeError) as error:
                raise self._damaged(path, f"line {number} is {error}") from error

    def _checksums(self) -> dict[str, str]:
        names = (p.relative_to(self.path) for p in sorted(self.path.rglob("*")) if p.is_file())
        kept = [name for name in names if not any(part.startswith(".") for part in name.parts)]
        return {name.as_posix(): self._checksum(name) for name in kept if name.as_posix() != "state.json"}

    def _checksum(self, name: Path) -> str:
        if name.as_posix() != "metrics.json":
            with (self.path / name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        # Times differ between identical runs: their commits must not.
        try:
            metrics = read_json(self.path / name)
        except RunError:
            return "unreadable"
        same = {key: value for key, value in metrics.items() if not key.startswith(("seconds/", "machine/"))}
        return hashlib.sha256(json_bytes(same)).hexdigest()

    def _damaged(self, path: Path, what: str) -> RunError:
        good = f" fork={self.path.parent / f'{self.number - 1:04d}'}" if self.number else ""
        remedy = f"{'continue from the last good one in' if good else 'start'} a new run: name=<new>{good}"
        return RunError(f"{path} is damaged: {what}. Iteration {self.number} cannot be used; {remedy}")


class RunDirectory:
    """`outputs/<name>`: everything that one run leaves behind.

    Example:
        >>> run = RunDirectory(Path("outputs/adastar"))  # doctest: +SKIP
        >>> run.latest().number  # doctest: +SKIP
        7
    """

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        self.path = path
        self.disk = disk or Disk()

    def iteration(self, number: int) -> IterationDirectory:
        """The directory of one iteration, which need not exist."""
        return IterationDirectory(self.path / "iterations" / f"{number:04d}", self.disk)

    def latest(self) -> IterationDirectory | None:
        """The last committed iteration; discovered, never stored.

        Raises:
            RunError: a gap between committed iterations.
        """
        commits = self.path.glob("iterations/*/state.json")
        numbers = sorted(int(path.parent.name) for path in commits if path.parent.name.isdecimal())
        for expected, number in enumerate(numbers):
            if expected != number:
                raise RunError(
                    f"{self.iteration(expected).path}/state.json is missing although iteration {number} is committed: "
                    f"restore it, or fork from {self.iteration(expected - 1).path if expected else 'another run'}"
                )
        return self.iteration(numbers[-1]) if numbers else None

    def committed_metrics(self) -> list[Metrics]:
        """The metrics of every committed iteration, from 0."""
        latest = self.latest()
        return [self.iteration(t).metrics() for t in range(latest.number + 1)] if latest else []

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for one launch. The lock dies with its process.

        Raises:
            RunError: another launch holds it; names its process and host.
        """
        from filelock import FileLock, Timeout

        self.path.mkdir(parents=True, exist_ok=True)
        holder = self.path / ".lock.holder"
        try:
            with FileLock(self.path / ".lock", timeout=0):
                holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
                yield
        except Timeout as error:
            who = holder.read_text() if holder.exists() else "another process"
            raise RunError(f"{self.path} is in use by {who}: wait for it, stop it, or choose another name=") from error

    def publish_observations(self, splits: Mapping[str, Sequence[Observation]]) -> None:
        """`observations.parquet`: ids and texts, written once, so that positions can be joined to ids."""
        path = self.path / "observations.parquet"
        if not path.exists():
            rows = {split: surveyed(observations).rows for split, observations in splits.items()}
            self.disk.publish_file(path, partial(write_parquet, rows))

    @contextmanager
    def timed(self, iteration: int, phase: str) -> Iterator[dict[str, float]]:
        """Journal in `timings.jsonl` how long a phase's work took, and what else is put into the yielded entry.

        What may differ between identical runs is kept apart from what may not; a resumed run adds up its launches.
        """
        entry: dict[str, float] = {}
        began = perf_counter()
        yield entry
        line = json.dumps({"iteration": iteration, "phase": phase, "seconds": perf_counter() - began, **entry})
        self.disk.append(self.path / "timings.jsonl", line.encode() + b"\n")

    def timings(self, iteration: int) -> list[dict[str, Any]]:
        """The journal's lines about one iteration, of all launches; a torn last line is ignored."""
        path = self.path / "timings.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        entries = []
        for line in lines:
            try:
                entries.append(json.loads(line))
            except (ValueError, RecursionError):
                continue  # torn by a kill: a time is lost, nothing else
        return [e for e in entries if isinstance(e, dict) and e.get("iteration") == iteration]

    def adopt(self, source: Path) -> None:
        """Begin with the iterations of another run, up to and including the directory `source`; keeps what is here.

        Raises:
            RunError: `source` is not a committed iteration of a run, or is damaged.
        """
        origin, last = RunDirectory(source.parent.parent, self.disk), source.name
        if not (source / "state.json").exists() or not last.isdigit():
            raise RunError(f"fork={source} is not a committed iteration: expected <run>/iterations/<NNNN>")
        theirs_made_of, ours_made_of = (read_json(run.path / "identity.json") for run in (origin, self))
        for key in ("observations", "base_weights"):
            if theirs_made_of.get(key) != ours_made_of.get(key):
                raise RunError(
                    f"fork={source} learned from other {key.replace('_', ' ')}: a fork continues on the same ones. To "
                    "start from its model on others, export it and give model.name_or_path"
                )
        for number in range(int(last) + 1):
            theirs, ours = origin.iteration(number), self.iteration(number)
            if not ours.committed:
                theirs.verify()
                self.disk.publish_directory(ours.path, lambda into, t=theirs: _copy(t.path, into))  # type: ignore[misc]


def _copy(source: Path, into: Path) -> None:
    shutil.copytree(source, into, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))

"""One iteration of a run directory: a method per file, and the commit.

A file is written beside its place, flushed to disk and renamed into it, so a path either does not exist or is whole.
`checksums.txt` knows it before it is there. `state.json` is published last: its presence is the commit, and it carries
the checksums of the others.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from star_loop.accounting.statistics import Statistics
from star_loop.records import Example, Metrics, Positions, Record, RecordError, Rollout, Score, State
from star_loop.run.checksums import Ledger, checksums
from star_loop.run.commit import IterationState
from star_loop.run.disk import Disk, RunError, json_bytes, npz_bytes, parquet_bytes, read_json, refuse_endless

FORMAT = 4
"""Version of the run-directory format, the only one that is read."""
_NUMBER = re.compile("[0-9]{4}|[1-9][0-9]{4,}")

R = TypeVar("R", bound=Record)


def iteration_number(name: str) -> int | None:
    """Return the iteration that a directory of this name holds; None: it holds none.

    Example:
        >>> [iteration_number(name) for name in ("0003", "12345", "00003", "3", "²", "0001 (copy)")]
        [3, 12345, None, None, None, None]
    """
    return int(name) if _NUMBER.fullmatch(name) else None


class IterationDirectory:
    """One iteration's files. A method that is given `compute` calls it only if its file is not there yet."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path, self.disk = path, disk
        self.ledger = Ledger(path, disk, self._remedy)

    @property
    def number(self) -> int:
        """The iteration, from the directory's name."""
        return int(self.path.name)

    def wave(self, number: int, positions: Positions, compute: Callable[[], Sequence[Rollout]]) -> list[Rollout]:
        """Return the judged rollouts of one wave, which asked these positions."""
        name = f"waves/{number:03d}.jsonl"
        rollouts = self._rows(name, Rollout, compute)
        if strangers := {r.position for r in rollouts} - set(positions.tolist()):
            raise self.ledger.damaged(self.path / name, f"it has rollouts of {sorted(strangers)}, which were not asked")
        return rollouts

    def scores(self, name: str, compute: Callable[[], Sequence[Score]]) -> list[Score]:
        """`scores.jsonl`: what the student thinks of the rationales before the round; `scores_after.jsonl`: after."""
        return self._rows(f"{name}.jsonl", Score, compute)

    @property
    def waves(self) -> list[str]:
        """The names of all finished waves, in order, as `judged` takes them."""
        return sorted(f"waves/{path.stem}" for path in self.path.glob("waves/*.jsonl"))

    def judged(self, name: str) -> Iterator[Rollout]:
        """Read `<name>.jsonl`: a wave, `validation`, `evaluation` (test) or `pilots/…`; nothing, where it is not there.

        Raises:
            RunError: names the line that is damaged.
        """
        return self._read(f"{name}.jsonl", Rollout) if (self.path / f"{name}.jsonl").exists() else iter(())

    def rollouts(self) -> list[Rollout]:
        """Return the rollouts of all finished waves, in order.

        Raises:
            RunError: there is no such iteration.
        """
        if not self.path.is_dir():
            raise RunError(f"there is no {self.path}: iterations are counted from 0, and the run may be shorter")
        return [rollout for wave in self.waves for rollout in self.judged(wave)]

    def examples(self, compute: Callable[[], Sequence[Example]]) -> list[Example]:
        """Exactly what is trained on."""
        return self._rows("examples.jsonl", Example, compute)

    def evaluation(self, split: str, compute: Callable[[], Sequence[Rollout]]) -> list[Rollout]:
        """Judged rollouts never trained on: `validation.jsonl`, `evaluation.jsonl` (test), `pilots/<T>.jsonl`."""
        name = "evaluation" if split == "test" else split
        return self._rows(f"{name}.jsonl", Rollout, compute)

    def external(self, compute: Callable[[], Metrics]) -> Metrics:
        """`external.json`: the figures of benchmarks that are not the run's own."""
        path = self.path / "external.json"
        if not path.exists():
            self.ledger.publish(path.name, json_bytes(compute()))
        elif not self.committed:
            self.ledger.check(path.name)
        return read_json(path)

    def adapter(self, compute: Callable[[Path], Metrics]) -> tuple[Path, Metrics]:
        """Return the trained adapter and the metrics of its round, which `training.json` keeps beside the weights."""
        path = self.path / "adapter"
        if not path.exists():

            def fill(into: Path) -> None:
                metrics = compute(into)
                self.disk.write(into / "training.json", json_bytes(metrics))

            self.ledger.publish_directory("adapter", fill)
        elif not self.committed:
            self.ledger.check("adapter")
        return path, read_json(path / "training.json")

    def commit(
        self,
        *,
        adapter: str | None,
        metrics: Metrics,
        statistics: Statistics,
        beliefs: State,
        kept: Sequence[int] | None = None,
        made_of: Mapping[str, Any] | None = None,
    ) -> IterationState:
        """Publish what the iteration learned, then `state.json` with the checksum of every file.

        `kept` are the iterations whose adapters stay (None: all), `made_of` what a run must share to fork from here.
        """
        self.disk.publish(self.path / "statistics.parquet", parquet_bytes(statistics.columns()))
        self.disk.publish(self.path / "sampler.npz", npz_bytes(beliefs))
        self.disk.publish(self.path / "metrics.json", json_bytes(metrics))
        earlier = IterationDirectory(self.path.with_name(f"{self.number - 1:04d}"), self.disk)
        state = IterationState(
            format=FORMAT, iteration=self.number, predecessor=earlier.state().digest if self.number else None,
            adapter=adapter, files=self._checksums(), kept=None if kept is None else tuple(kept),
            made_of=dict(made_of or {}),
        ).sealed()  # fmt: skip
        self.disk.publish(self.path / "state.json", (state.to_json() + "\n").encode())
        return state

    @property
    def committed(self) -> bool:
        """Tell whether the iteration is complete."""
        return (self.path / "state.json").exists()

    def state(self) -> IterationState:
        """Read the commit.

        Raises:
            RunError: it is not there, cannot be read, or is of another format version.
        """
        path = self.path / "state.json"
        if not path.exists():
            raise self.ledger.damaged(path, "it is missing")
        try:
            state = IterationState.unsealed(refuse_endless(path).read_text(encoding="utf-8"))
        except (RecordError, UnicodeDecodeError) as error:
            raise self.ledger.damaged(path, str(error)) from error
        if state.format != FORMAT:
            raise RunError(
                f"{path} has format {state.format}, this version reads {FORMAT}: use the star_loop that wrote it"
            )
        return state

    def verify(self, *, retention: bool = False, weights: bool = True) -> IterationState:
        """Return the commit, after comparing every file with its checksum.

        `retention`: the adapter may have been given up, as a whole; `weights`: it is compared as well.

        Raises:
            RunError: names the first file that is missing, changed or unknown.
        """
        state = self.state()
        found = self._checksums(weights)
        given_up = "adapter/" if not weights or (retention and not (self.path / "adapter").exists()) else None
        for name in sorted({*state.files, *found}):
            if given_up and name.startswith(given_up):
                continue
            if name not in found:
                raise self.ledger.damaged(self.path / name, "it is missing")
            if name not in state.files:
                raise RunError(f"{self.path / name} is not of this run: move it away, and the same command goes on")
            if state.files[name] != found[name]:
                raise self.ledger.damaged(self.path / name, "its bytes are not those that were committed")
        return state

    def metrics(self) -> Metrics:
        """Read the committed metrics."""
        return read_json(self.path / "metrics.json")

    def statistics(self) -> Statistics:
        """Read the committed observation statistics."""
        import pyarrow.parquet as parquet

        table = parquet.read_table(self.path / "statistics.parquet")
        return Statistics(**{name: table[name].to_numpy().copy() for name in table.column_names})

    def beliefs(self) -> State:
        """Read the committed sampler state."""
        with np.load(self.path / "sampler.npz", allow_pickle=False) as arrays:
            return dict(arrays)

    def _rows(self, name: str, kind: type[R], compute: Callable[[], Sequence[R]]) -> list[R]:
        path = self.path / name
        if not path.exists():
            rows = list(compute())
            self.ledger.publish(name, "".join(row.to_json() + "\n" for row in rows).encode("utf-8", "surrogatepass"))
            return rows
        return list(self._read(name, kind))

    def _read(self, name: str, kind: type[R]) -> Iterator[R]:
        path = self.path / name
        *lines, end = (path.read_bytes() if self.committed else self.ledger.read(name)).split(b"\n")
        if end or not lines:
            raise self.ledger.damaged(path, "its last line is cut off" if end else "it is empty")
        for number, line in enumerate(lines, start=1):
            try:
                yield kind.from_json(line.decode("utf-8", "surrogatepass"))
            except (RecordError, UnicodeDecodeError) as error:
                raise self.ledger.damaged(path, f"line {number} is {error}") from error

    def _checksums(self, weights: bool = True) -> dict[str, str]:
        found = checksums(self.path, () if weights else ("adapter",))
        found.pop("state.json", None)
        if "metrics.json" in found:
            found["metrics.json"] = self._checksum_of_metrics()
        return found

    def _checksum_of_metrics(self) -> str:
        # Times differ between identical runs: their commits must not.
        try:
            metrics = self.metrics()
            same = {key: value for key, value in metrics.items() if not key.startswith(("seconds/", "machine/"))}
            return hashlib.sha256(json_bytes(same)).hexdigest()
        except ValueError:  # no JSON object, or with numbers that are none
            return "unreadable"

    def _remedy(self) -> str:
        """Say what to do about a damaged file: go on from the last iteration before this one that has its model."""
        earlier = (self.path.with_name(f"{t:04d}") for t in range(self.number - 1, -1, -1))
        good = next((e for e in earlier if e.name == "0000" or (e / "adapter").exists()), None)
        fork = f" fork={good}" if good else ""
        if self.committed:
            remedy = f"{'continue from the last good one in' if good else 'start'} a new run: name=<new>{fork}"
            return f"Iteration {self.number} cannot be used; {remedy}"
        return (
            f"Iteration {self.number} is not finished: move {self.path} away, and the same command makes it again"
            + (f"; the last good one stays (in a new run: name=<new>{fork})" if good else "")
        )

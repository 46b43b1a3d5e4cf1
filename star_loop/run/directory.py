"""The run directory: what all its iterations share, which of them is the last, and who holds it.

Nothing that is finished is ever written twice, and nothing is deleted but adapters that a retention gives up (`keep`),
and the journal of what has arrived of a wave once the wave is finished.
"""

import errno
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from star_loop.accounting.metrics import best_on_validation
from star_loop.records import Metrics, Observation
from star_loop.run.arrived import Arrivals
from star_loop.run.checksums import Ledger
from star_loop.run.configuration import read_configuration
from star_loop.run.disk import Disk, RunError, naming, read_json, refuse_endless
from star_loop.run.iteration import IterationDirectory as IterationDirectory
from star_loop.run.iteration import iteration_number
from star_loop.servers import TERMS
from star_loop.tasks.splitting import surveyed
from star_loop.tasks.survey import write_parquet

if TYPE_CHECKING:
    import pyarrow

FREE_KEYS = (
    "name", "iterations", "outputs", "resume", "show", "tracker", "keep", "generator.gpu_memory_utilization",
    "generator.timeout", "generator.restarts", "trainer.timeout", "mirror", "generator.engines", "generator.address",
    "generator.num_cpus", "generator.num_gpus", "generator.wait", "evaluation.patience", "tags", "notes",
    "evaluation.external",
    "task.python",
    *(f"{user}.{term}" for user in ("generator", "reward.server", "task.verifier.server") for term in TERMS),
)  # fmt: skip
"""Dotted keys (or their parents) that may differ between the launches of one run: how far, how shown, where."""
_LOCKLESS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""How a file system says that it has no locks, or none left."""
OWN_FOLDERS = ("iterations", "attempts", "preparation", "export", "tensorboard", "wandb")
"""Folders in a run directory, which no run is called after."""
FILES_BESIDE = ("comparison.html", "comparison.md", "comparison.csv", "mlflow.db")
"""Files beside run directories, which none is called after either."""
HARD = ("observations", "choices_and_meta", "base_weights")
"""Fingerprints in `identity.json` that never change in a run; with `settings`, they tell it from others."""


class MisplacedError(RunError):
    """An iteration that stands where another one belongs."""

    def __init__(self, here: IterationDirectory, what: str) -> None:
        self.here, self.what = here, what
        super().__init__(
            f"{here.path} {what}: put back iteration {here.number} of this run. Without it: move {here.path} and all "
            "after it away, and the same command goes on from the iteration before"
        )


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
        self.ledger = Ledger(path, self.disk, self._remedy)
        self.arrivals = Arrivals(path / "arrived.jsonl", self.disk)

    def iteration(self, number: int) -> IterationDirectory:
        """Return the directory of one iteration, which need not exist.

        Raises:
            RunError: its number is none.
        """
        try:
            name = f"{number:04d}"
        except (TypeError, ValueError) as error:
            raise RunError(f"iteration {number!r}: a whole number is wanted, counted from 0, such as 1") from error
        return IterationDirectory(self.path / "iterations" / name, self.disk)

    def latest(self) -> IterationDirectory | None:
        """Find the last committed iteration; discovered, never stored.

        Raises:
            RunError: a gap between committed iterations.
            OSError: a directory that may not be read.
        """
        folder = self.path / "iterations"
        found = {iteration_number(path.name): path for path in (folder.iterdir() if folder.is_dir() else ())}
        numbers = sorted(t for t, path in found.items() if t is not None and (path / "state.json").exists())
        for expected, number in enumerate(numbers):
            if expected != number:
                good = f" fork={self.iteration(expected - 1).path}" if expected else ""
                raise RunError(
                    f"{self.iteration(expected).path}/state.json is missing although iteration {number} is committed: "
                    f"restore it, or continue in a new run: name=<new>{good}"
                )
        return self.iteration(numbers[-1]) if numbers else None

    @property
    def workspace(self) -> Path:
        """The folder of engines' scratch, logs and journals, which is none of the run's results."""
        return self.path / ".engine"

    def verify(self, numbers: Iterable[int], last: IterationDirectory, *, weights: bool = True) -> None:
        """Compare every file of committed iterations, up to a last one, with its checksum, and each with its place.

        A run that gives up adapters may lack any but that of the last. `weights`: adapters are compared as well.

        Raises:
            RunError: see `IterationDirectory.verify`; an iteration of another number, or of another run.
        """
        retention = last.state().kept is not None
        for number in numbers:
            here = self.iteration(number)
            state = here.verify(retention=retention and number != last.number, weights=weights)
            if state.iteration != number:
                raise MisplacedError(here, f"is iteration {state.iteration}, in the place of iteration {number}")
            if state.predecessor != (self.iteration(number - 1).state().digest if number else None):
                raise MisplacedError(here, f"was made after another iteration {number - 1} than the one that is there")

    def refuse_foreign(self) -> None:
        """Compare what the committed iterations were made of with what the run is made of.

        Raises:
            RunError: one is of another run, and was not taken over by a fork.
        """
        last, ours = self.latest(), self.made_of()
        for number in range(self.inherited() + 1, last.number + 1 if last else 0):
            theirs = self.iteration(number).state().made_of
            if any(theirs.get(key, ours.get(key)) != ours.get(key, theirs.get(key)) for key in ("settings", *HARD)):
                raise MisplacedError(self.iteration(number), "is of another run: other settings, data or weights")

    def inherited(self) -> int:
        """Return the last iteration that a fork has taken over from another run; -1: none."""
        number = iteration_number(str(self.config().get("fork")).rstrip("/").rpartition("/")[2])
        return -1 if number is None else number

    def check_committed(self, numbers: Iterable[int] | None = None) -> None:
        """Compare all that a reader may read of the run and its committed iterations; the adapters are left out.

        `numbers`: of these iterations; None: of all.

        Raises:
            RunError: see `verify`; the configuration, or what the run is made of, is not what was published.
        """
        if last := self.latest():
            for name in ("config.yaml", "identity.json", "observations.parquet"):
                self.ledger.check(name, enter=False)
            self.refuse_foreign()
            self.verify(range(last.number + 1) if numbers is None else numbers, last, weights=False)

    def give_up_adapters(self, last: IterationDirectory) -> None:
        """Remove the adapters that the last commit no longer keeps."""
        if last.number and (kept := last.state().kept) is not None:
            before = self.iteration(last.number - 1).state().kept
            for number in set(range(1, last.number) if before is None else before) - set(kept):
                self.disk.remove(self.iteration(number).path / "adapter")

    def kept(self, number: int, metrics: Metrics, *, keep: str) -> list[int] | None:
        """Return the iterations whose adapters stay once this one is committed; None: all.

        With `best`: the first, the best on validation, the last and the one before it, which is the last good one
        where the last is found damaged. What was given up once is not asked for again.
        """
        before = self.iteration(number - 1).state().kept if number else None
        if keep == "all":
            return None if before is None else [*before, number]
        earlier = [t for t in (range(1, number) if before is None else before) if self._has_adapter(t)]
        curve = {t: self.iteration(t).metrics() for t in earlier} | {number: metrics}
        return sorted({*curve} & {1, best_on_validation(curve), number - 1, number})

    def _has_adapter(self, number: int) -> bool:
        return (self.iteration(number).path / "adapter").exists()

    def config(self) -> dict[str, Any]:
        """Return the resolved configuration, as `config.yaml` has it; empty where there is none.

        Raises:
            RunError: it is damaged.
        """
        return read_configuration(self.path / "config.yaml")

    def made_of(self) -> dict[str, Any]:
        """Return `identity.json`; empty where there is none."""
        path = self.path / "identity.json"
        return read_json(path) if path.exists() else {}

    def committed_metrics(self) -> list[Metrics]:
        """Return the metrics of every committed iteration, from 0."""
        latest = self.latest()
        return [self.iteration(t).metrics() for t in range(latest.number + 1)] if latest else []

    def table(self) -> "pyarrow.Table":
        """Return the committed metrics with a row for each iteration: `iteration` and a column for each metric.

        A metric that an iteration lacks is null there. `to_pandas()` and `polars.from_arrow` take the table on.
        """
        import pyarrow

        metrics = self.committed_metrics()
        names = dict.fromkeys(name for figures in metrics for name in figures)
        columns = {name: [figures.get(name) for figures in metrics] for name in names}
        return pyarrow.table({"iteration": list(range(len(metrics))), **columns})

    def best(self, first: int = 0) -> int | None:
        """Return the committed iteration, from `first` on, with the highest validation accuracy.

        None: none was measured.
        """
        metrics = dict(enumerate(self.committed_metrics()))
        return best_on_validation({number: metrics[number] for number in metrics if number >= first})

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for one launch. The lock dies with its process.

        Raises:
            RunError: another launch holds it; names its process and host. Or it cannot be made, or not be locked.
        """
        from filelock import Timeout

        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{error.filename} cannot be a run directory ({error.strerror}): choose another") from error
        holder = self.path / ".lock.holder"
        try:
            lock = self.disk.lock(self.path / ".lock")
        except Timeout as error:
            who = holder.read_text() if holder.exists() else "another process"
            shared = " (or another folder is, which shares its .lock by a hard link: then remove the one here)"
            or_other = shared if (self.path / ".lock").stat().st_nlink > 1 else ""
            raise RunError(
                f"{self.path} is in use by {who}{or_other}: wait for it, stop it, or choose another name="
            ) from error
        except OSError as error:
            if error.errno not in _LOCKLESS:
                raise
            raise RunError(
                f"{error.filename} cannot be locked ({error.strerror}), so two launches might write into one run: "
                "choose outputs= on a file system with locks (of NFS: mounted without nolock, its lockd running)"
            ) from error
        try:
            with naming(holder):
                holder.unlink(missing_ok=True)  # a link would lead the writing elsewhere
                holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
            yield
        finally:
            lock.release()

    def publish_observations(self, splits: Mapping[str, Sequence[Observation]]) -> None:
        """Write `observations.parquet`: ids and texts, once, so that positions can be joined to ids."""
        if not self.ledger.check("observations.parquet").exists():
            rows = {split: surveyed(observations).rows for split, observations in splits.items()}
            self.ledger.publish_file("observations.parquet", partial(write_parquet, rows))

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
        """Return the journal's lines about one iteration, of all launches; a torn line is ignored."""
        path = refuse_endless(self.path / "timings.jsonl")
        lines = _last_lines(path, f'{{"iteration": {iteration}, '.encode()) if path.exists() else []
        entries = []
        for line in lines:
            try:
                entries.append(json.loads(line))
            except (ValueError, RecursionError):
                continue  # torn by a kill: a time is lost, nothing else
        return [e for e in entries if isinstance(e, dict) and e.get("iteration") == iteration]

    def _remedy(self) -> str:
        commits = sorted(self.path.glob("iterations/*/state.json"))
        return f"Restore it, or continue in a new run: name=<new>{f' fork={commits[-1].parent}' if commits else ''}"


def _last_lines(path: Path, start: bytes, block: int = 1 << 12) -> list[bytes]:
    """Return the whole lines at the end of a file, from before the first one of them that begins with `start`.

    The iteration that is under way has the journal's last lines: how long the run is already costs nothing.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        while True:
            file.seek(max(0, size - block))
            lines = file.read().split(b"\n")[:-1]
            if block >= size:
                return lines
            if len(lines) > 1 and not lines[1].startswith(start):
                return lines[1:]
            block *= 2

"""Runs in trackio: every metric of every committed iteration, the iteration as its step."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from star_loop.config.component import Words
from star_loop.protocols import Session, Tracker
from star_loop.records import Metrics
from star_loop.run.configuration import flatten
from star_loop.run.directory import RunDirectory

_KEY = "star_loop"
"""The key of a trackio run's configuration that says which run directory it shows."""


class Trackio(Tracker):
    """One trackio run for each run directory, on this machine; look at it with `trackio show --project <project>`.

    Each launch writes its trackio run anew from the committed iterations and removes that of the former launch, so a
    resumed run shows every iteration once. They are kept where trackio keeps its projects (`$TRACKIO_DIR`). Needs the
    extra `star_loop[trackio]`.
    """

    project: str = "star_loop"
    """The project's name in trackio."""
    tags: Words = ()
    """The run's; `tags=` gives them."""
    notes: str | None = None
    """The run's; `notes=` gives them."""

    @contextmanager
    def session(self, directory: Path, committed: Sequence[Metrics]) -> Iterator[Session]:
        """Replace the former launch's run by one that is up to date.

        Raises:
            ValueError: trackio is not installed, or the project's name is none for it.
            sqlite3.Error: its store cannot be used.
        """
        try:
            import trackio
        except ModuleNotFoundError as error:
            raise ValueError(f'tracker=trackio needs trackio ({error}): pip install "star_loop[trackio]"') from error
        digest = hashlib.sha256(str(directory.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
        former = _former(trackio, self.project, digest)
        settings = {key: value for key, value in flatten(RunDirectory(directory).config()).items() if key}
        settings |= {"tags": list(self.tags), "notes": self.notes, _KEY: digest}
        with redirect_stdout(io.StringIO()):  # it greets on the screen, which is the console's
            run = trackio.init(
                project=self.project, name=directory.name, config=settings,
                embed=False, auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip
        try:
            for t, metrics in enumerate(committed):
                run.log(dict(metrics), step=t)
            for other in former:
                other.delete()
            yield _Run(run)
        finally:
            with redirect_stdout(io.StringIO()):
                trackio.finish()


class _Run(Session):
    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, iteration: int, metrics: Metrics) -> None:
        self._run.log(dict(metrics), step=iteration)


def _former(trackio: Any, project: str, digest: str) -> list[Any]:
    """Return the former launches' runs of the same directory: all that they hold is in the current one."""
    try:
        runs = trackio.Api().runs(project)
    except ValueError:  # how trackio says that there is no such project yet
        return []
    return [run for run in runs if (run.config or {}).get(_KEY) == digest]

"""Runs in Weights & Biases: every metric of every committed iteration, the iteration as its step."""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from star_loop.config.component import Words
from star_loop.protocols import Session, Tracker
from star_loop.records import Metrics
from star_loop.run.directory import RunDirectory


class WandB(Tracker):
    """One W&B run for each run directory. Needs the extra `star_loop[wandb]`.

    Offline, which is the default, each launch writes `<run>/wandb/offline-run-…` anew from the committed iterations and
    removes that of the former launch, so a resumed run shows every iteration once; `wandb sync <run>/wandb/offline-*`
    uploads it. Online, a launch that resumes continues the same W&B run after the last step that the server has.
    """

    project: str = "star_loop"
    """The project's name in W&B."""
    entity: str | None = None
    """The user or team; None: W&B's own default."""
    mode: Literal["offline", "online"] = "offline"
    """`offline`: files that `wandb sync` uploads; `online`: logs at once."""
    tags: Words = ()
    """The run's; `tags=` gives them."""
    notes: str | None = None
    """The run's; `notes=` gives them."""

    @contextmanager
    def session(self, directory: Path, committed: Sequence[Metrics]) -> Iterator[Session]:
        """Open the run, and bring it up to date.

        Raises:
            ValueError: W&B is not installed.
            wandb.errors.Error: it cannot be opened; online, for instance, without a login.
        """
        run, failed = self._open(directory), True
        try:
            for t, metrics in enumerate(committed):
                if t >= run.starting_step:
                    run.log(metrics, step=t)
            if self.mode == "offline":
                _remove_former(directory / "wandb", run)
            yield _Run(run)
            failed = False
        finally:
            run.finish(exit_code=int(failed))

    def _open(self, directory: Path) -> Any:
        try:
            import wandb
        except ModuleNotFoundError as error:
            raise ValueError(f'tracker=wandb needs W&B ({error}): pip install "star_loop[wandb]"') from error
        digest = hashlib.sha256(str(directory.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
        quiet = wandb.Settings(console="off", silent=True, disable_code=True, disable_git=True, x_disable_stats=True)
        return wandb.init(
            project=self.project, entity=self.entity, name=directory.name, id=digest[:16], dir=str(directory),
            mode=self.mode, resume="allow" if self.mode == "online" else None, settings=quiet,
            tags=self.tags, notes=self.notes,
            config=dict(RunDirectory(directory).config()),
        )  # fmt: skip


class _Run(Session):
    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, iteration: int, metrics: Metrics) -> None:
        self._run.log(metrics, step=iteration)


def _remove_former(folder: Path, run: Any) -> None:
    """Remove the former launches' files: all that they hold is in the current one."""
    current = Path(run.dir).resolve().parent
    for file in folder.glob(f"offline-run-*/run-{run.id}.wandb"):
        if file.resolve().parent != current:
            shutil.rmtree(file.parent)

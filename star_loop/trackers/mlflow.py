"""Runs in an MLflow store: every metric of every committed iteration, the iteration as its step."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from star_loop.config.component import Words
from star_loop.protocols import Session, Tracker
from star_loop.records import Metrics
from star_loop.run.configuration import flatten
from star_loop.run.directory import RunDirectory
from star_loop.trackers.tensorboard import committed_at

_LONGEST_VALUE = 500
"""Characters of a parameter, which every version of MLflow takes."""
_BATCH = 100
"""Parameters, or metrics, in one request: no version's limit is lower."""


class MLflow(Tracker):
    """One MLflow run for each run directory; look at it with `mlflow ui --backend-store-uri <uri>`.

    A launch that resumes continues the same MLflow run: it adds what the store does not have of the committed
    iterations, so there are neither gaps nor repeats. The configuration's keys are its parameters. Needs the extra
    `star_loop[mlflow]`.
    """

    uri: str | None = None
    """Where the runs are kept; None: `mlflow.db` (SQLite) beside the run directory, one for all of a folder."""
    experiment: str = "star_loop"
    """The experiment's name in MLflow."""
    tags: Words = ()
    """The run's; `tags=` gives them."""
    notes: str | None = None
    """The run's; `notes=` gives them."""

    @contextmanager
    def session(self, directory: Path, committed: Sequence[Metrics]) -> Iterator[Session]:
        """Find or create the run, and bring it up to date.

        Raises:
            ValueError: MLflow is not installed.
            mlflow.exceptions.MlflowException: the store cannot be used.
        """
        try:
            from mlflow import MlflowClient
        except ModuleNotFoundError as error:
            raise ValueError(f'tracker=mlflow needs MLflow ({error}): pip install "star_loop[mlflow]"') from error
        parent = directory.resolve().parent
        client = MlflowClient(tracking_uri=self.uri or f"sqlite:///{parent / 'mlflow.db'}")
        identifier = self._run(client, directory)
        session, status = _Run(client, identifier, directory), "FAILED"
        try:
            _log_parameters(client, identifier, directory)
            self._label(client, identifier)
            for t, metrics in enumerate(committed):
                session.log(t, metrics)
            yield session
            status = "FINISHED"
        finally:
            client.set_terminated(identifier, status)

    def _label(self, client: Any, identifier: str) -> None:
        """Set each tag to true, and the notes where MLflow's pages show them."""
        for tag in self.tags:
            client.set_tag(identifier, _plain(tag), "true")
        if self.notes is not None:
            client.set_tag(identifier, "mlflow.note.content", self.notes)

    def _run(self, client: Any, directory: Path) -> str:
        """Return the identifier of this directory's run, which is set to running."""
        known = client.get_experiment_by_name(self.experiment)
        place = directory.resolve().parent / "mlartifacts"
        experiment = known.experiment_id if known else client.create_experiment(self.experiment, place.as_uri())
        digest = hashlib.sha256(str(directory.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
        former = client.search_runs([experiment], filter_string=f"tags.star_loop = '{digest}'")
        if former:
            identifier = str(former[0].info.run_id)
            client.update_run(identifier, status="RUNNING")
            return identifier
        return str(client.create_run(experiment, run_name=directory.name, tags={"star_loop": digest}).info.run_id)


class _Run(Session):
    def __init__(self, client: Any, identifier: str, directory: Path) -> None:
        self._client, self._identifier, self._directory = client, identifier, directory
        names = client.get_run(identifier).data.metrics
        self._there = {(name, point.step) for name in names for point in client.get_metric_history(identifier, name)}

    def log(self, iteration: int, metrics: Metrics) -> None:
        """Add what the store lacks of this iteration."""
        from mlflow.entities import Metric

        time = round(1000 * committed_at(self._directory, iteration))
        named = {_plain(name): value for name, value in sorted(metrics.items())}
        lacking = [(name, value) for name, value in named.items() if (name, iteration) not in self._there]
        for batch in _batches([Metric(name, value, time, iteration) for name, value in lacking]):
            self._client.log_batch(self._identifier, metrics=batch)


def _log_parameters(client: Any, identifier: str, directory: Path) -> None:
    from mlflow.entities import Param

    settings = flatten(RunDirectory(directory).config())
    parameters = [Param(_plain(key), str(value)[:_LONGEST_VALUE]) for key, value in settings.items() if key]
    for batch in _batches(parameters):
        client.log_batch(identifier, params=batch)


def _batches(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))


def _plain(name: str) -> str:
    """Return a name that MLflow takes: a skill may be called anything."""
    return re.sub(r"[^\w\-./ ]", "_", name)

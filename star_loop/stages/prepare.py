"""Before the first iteration: what a run's preparations learn about the observations, once."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from star_loop.accounting.cost import Spent
from star_loop.experiment import Experiment
from star_loop.models import Model
from star_loop.preparations import Bench, Preparation
from star_loop.records import Columns, Example, Metrics, Rollout, Try
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import RunError, json_bytes, read_json
from star_loop.run.preparation import Arrays, Folder
from star_loop.seeding import seed_for
from star_loop.stages import load
from star_loop.stages.evaluate import examine
from star_loop.stages.live import LiveRun
from star_loop.stages.load import Splits
from star_loop.stages.rollouts import draw, serve

logger = logging.getLogger(__name__)

INHERITED = "inherited"
"""An empty file beside those that a fork took over: they were paid for by the run that it began with."""


def prepare(live: LiveRun) -> tuple[Columns, Metrics]:
    """Give samplers the task's columns, and what the preparations add, each after the one before it.

    A fork takes over what was prepared in the same way for the run that it begins with.

    Returns:
        The columns, and `prepare/<name>/…` of each preparation that this run has paid for itself, with the sums
        `flops/prepare` and `flops_exact/prepare`.
    """
    experiment, figures = live.experiment, Metrics()
    if experiment.fork is not None:
        _inherit(live, RunDirectory(Path(experiment.fork).parent.parent))
    columns = load.columns(live.splits["train"])
    for name, preparation in experiment.preparation.items():
        bench = _bench(live, folder(live.run, name))
        columns = {**columns, **bench.folder.arrays("columns", partial(_prepare, live, preparation, columns, bench))}
        if not (bench.folder.path / INHERITED).exists():
            found = bench.folder.metrics()
            figures |= {f"prepare/{name}/{key}": value for key, value in found.items()}
            for kind in ("flops", "flops_exact"):
                figures[f"{kind}/prepare"] = figures.get(f"{kind}/prepare", 0.0) + found[kind]
    return columns, figures


def finished(experiment: Experiment, run: RunDirectory, splits: Splits) -> Columns | None:
    """Return all columns, from the files; None: something is still to be prepared."""
    columns: dict[str, NDArray[np.generic]] = dict(load.columns(splits["train"]))
    for name in experiment.preparation:
        there = folder(run, name)
        if not there.has("columns"):
            return None
        columns |= there.arrays("columns", dict)
    return columns


def folder(run: RunDirectory, name: str) -> Folder:
    """Return the folder in which the preparation of this name keeps its files."""
    return Folder(run.path / "preparation" / name, run.disk)


def _inherit(live: LiveRun, origin: RunDirectory) -> None:
    """Copy what the forked run has prepared, up to the first that is configured otherwise; what is here is kept."""
    try:
        ours, theirs = _configured(live.run), _configured(origin)
    except RunError as error:  # its iterations are sound all the same
        logger.warning("what %s has prepared is prepared again: %s", origin.path, error)
        return
    for name in takewhile(lambda name: ours[name] == theirs.get(name), live.experiment.preparation):
        there, here = folder(origin, name), folder(live.run, name)

        def fill(into: Path, source: Path = there.path) -> None:
            shutil.copytree(source, into, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
            (into / INHERITED).touch()

        if there.has("columns") and not here.path.exists():
            there.ledger.check_all(complete=True)
            live.run.disk.publish_directory(here.path, fill)


def _prepare(live: LiveRun, preparation: Preparation, columns: Columns, bench: Bench) -> Arrays:
    live.session.phase(0, "prepare", None)
    with live.run.timed(0, "prepare"):
        prepared = preparation.prepare(columns, bench)
    spent = dict(zip(("tokens", "flops", "flops_exact"), prepared.spent.tolist(), strict=True))
    bench.folder.metrics(prepared.metrics | spent)
    return prepared.columns


def _bench(live: LiveRun, into: Folder) -> Bench:
    experiment = live.experiment
    return Bench(
        task=experiment.task, observations=live.splits["train"], validation=live.splits["validation"],
        base=experiment.model, seed=experiment.seed, chunk=experiment.schedule.wave,
        folder=into, ask=partial(_survey, live, into.path.name), train=partial(_train, live, into),
        examine=lambda model: examine(live, 0, "validation", model, {}), release=live.engine.release, cost=live.cost,
    )  # fmt: skip


def _survey(live: LiveRun, preparation: str, name: str, draws: Mapping[int, int]) -> list[Rollout]:
    """Rollouts of the base model; the names seed them."""
    purpose = f"survey {preparation} {name}"
    serve(live, Model(base=live.experiment.model), purpose)
    return draw(live, 0, purpose, Try.FIRST, draws, {})


def _train(live: LiveRun, into: Folder, name: str, examples: Sequence[Example], steps: int) -> tuple[Model, Spent]:
    base = Model(base=live.experiment.model)

    def fill(path: Path) -> None:
        live.run.arrivals.discard()
        live.engine.release()
        seed = seed_for(live.experiment.seed, "preparation", into.path.name, name)
        metrics = live.experiment.trainer.train(examples, base, path, steps=steps, seed=seed)
        live.run.disk.write(path / "training.json", json_bytes(metrics))

    adapter = into.directory(f"adapters/{name.replace(' ', '_')}", fill)
    return replace(base, adapter=adapter), live.cost.training(read_json(adapter / "training.json"))


def _configured(run: RunDirectory) -> Mapping[str, Any]:
    """Return the preparations as `config.yaml` has them."""
    run.ledger.check("config.yaml")
    return run.config().get("preparation") or {}

"""The stage before the first iteration: what a run's preparations learn about the observations, once."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from star_loop.accounting.cost import Spent
from star_loop.experiment import Experiment
from star_loop.models import Model
from star_loop.preparations import Bench, Preparation
from star_loop.protocols import Session
from star_loop.records import Columns, Example, Metrics, Rollout
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import RunError, json_bytes, read_json
from star_loop.run.preparation import Arrays, Folder
from star_loop.seeding import seed_for
from star_loop.stages import load
from star_loop.stages.load import Splits
from star_loop.stages.rollouts import Generation

logger = logging.getLogger(__name__)

INHERITED = "inherited"
"""An empty file beside those that a fork took over: they were paid for by the run that it began with."""


class Preparing:
    """Columns of the training observations. Without preparations there are the task's own, and no files."""

    def __init__(
        self, x: Experiment, run: RunDirectory, splits: Splits, generation: Generation, session: Session
    ) -> None:
        self.x, self.run, self.splits, self.generation, self.session = x, run, splits, generation, session
        self.cost = x.generator.cost(x.model)

    def __call__(self) -> Columns:
        """The task's columns, and what the preparations add, each after the one before it.

        A fork takes over what was prepared in the same way for the run that it begins with.
        """
        if self.x.fork is not None:
            self._inherit(RunDirectory(Path(self.x.fork).parent.parent))
        columns = load.columns(self.splits["train"])
        for name, preparation in self.x.preparation.items():
            bench = self._bench(folder(self.run, name))
            columns = {**columns, **bench.folder.arrays("columns", partial(self._prepare, preparation, columns, bench))}
        return columns

    def metrics(self, iteration: int) -> Metrics:
        """`prepare/<name>/…` of each preparation, and what they cost: `flops/prepare` and `flops_exact/prepare`.

        Of iteration 0; what a fork had to prepare itself, of its first own iteration.
        """
        begins = iteration == 0 or (self.x.fork is not None and iteration == int(Path(self.x.fork).name) + 1)
        figures: Metrics = {}
        for name in self.x.preparation if begins else ():
            there = folder(self.run, name)
            if (there.path / INHERITED).exists():
                continue
            found = there.metrics()
            figures |= {f"prepare/{name}/{key}": value for key, value in found.items()}
            for kind in ("flops", "flops_exact"):
                figures[f"{kind}/prepare"] = figures.get(f"{kind}/prepare", 0.0) + found[kind]
        return figures

    def _inherit(self, origin: RunDirectory) -> None:
        """Copy what the forked run has prepared, up to the first that is configured otherwise; what is here is kept."""
        try:
            ours, theirs = _configured(self.run), _configured(origin)
        except RunError as error:  # its iterations are sound all the same
            logger.warning("what %s has prepared is prepared again: %s", origin.path, error)
            return
        for name in takewhile(lambda name: ours[name] == theirs.get(name), self.x.preparation):
            there, here = folder(origin, name), folder(self.run, name)

            def fill(into: Path, source: Path = there.path) -> None:
                shutil.copytree(source, into, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
                (into / INHERITED).touch()

            if there.has("columns") and not here.path.exists():
                there.ledger.check_all(complete=True)
                self.run.disk.publish_directory(here.path, fill)

    def _prepare(self, preparation: Preparation, columns: Columns, bench: Bench) -> Arrays:
        self.session.phase(0, "prepare", None)
        with self.run.timed(0, "prepare"):
            prepared = preparation.prepare(columns, bench)
        spent = dict(zip(("tokens", "flops", "flops_exact"), prepared.spent.tolist(), strict=True))
        bench.folder.metrics(prepared.metrics | spent)
        return prepared.columns

    def _bench(self, into: Folder) -> Bench:
        return Bench(
            task=self.x.task, observations=self.splits["train"], validation=self.splits["validation"],
            base=self.x.model, seed=self.x.seed, chunk=self.x.schedule.wave,
            folder=into, ask=partial(self._ask, into.path.name), train=partial(self._train, into),
            examine=partial(self.generation.examine, 0, "validation"), release=self.generation.engine.release,
            cost=self.cost,
        )  # fmt: skip

    def _ask(self, preparation: str, name: str, draws: Mapping[int, int]) -> list[Rollout]:
        return self.generation.survey(f"{preparation} {name}", draws)

    def _train(self, into: Folder, name: str, examples: Sequence[Example], steps: int) -> tuple[Model, Spent]:
        def fill(path: Path) -> None:
            self.run.arrivals.discard()
            self.generation.engine.release()
            seed = seed_for(self.x.seed, "preparation", into.path.name, name)
            metrics = self.x.trainer.train(examples, Model(base=self.x.model), path, steps=steps, seed=seed)
            self.run.disk.write(path / "training.json", json_bytes(metrics))

        adapter = into.directory(f"adapters/{name.replace(' ', '_')}", fill)
        return Model(base=self.x.model, adapter=adapter), self.cost.training(read_json(adapter / "training.json"))


def _configured(run: RunDirectory) -> Mapping[str, Any]:
    """The preparations as `config.yaml` has them."""
    path = run.ledger.check("config.yaml")
    if not path.exists():
        return {}
    config = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(config, dict)
    return config.get("preparation") or {}


def folder(run: RunDirectory, name: str) -> Folder:
    """Where the preparation of this name keeps its files."""
    return Folder(run.path / "preparation" / name, run.disk)


def finished(x: Experiment, run: RunDirectory, splits: Splits) -> Columns | None:
    """All columns, from the files; None: something is still to be prepared."""
    columns: dict[str, NDArray[np.generic]] = dict(load.columns(splits["train"]))
    for name in x.preparation:
        there = folder(run, name)
        if not there.has("columns"):
            return None
        columns |= there.arrays("columns", dict)
    return columns

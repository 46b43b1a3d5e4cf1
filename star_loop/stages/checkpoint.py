"""Where a run stands after an iteration, read from its last commit or made before its first."""

import logging
from dataclasses import dataclass

from star_loop.accounting.statistics import Statistics
from star_loop.experiment import Experiment
from star_loop.models import Model
from star_loop.records import Columns, State
from star_loop.run.directory import RunDirectory
from star_loop.seeding import rng
from star_loop.stages import laws

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a run after an iteration: all that the next one needs."""

    iteration: int
    model: Model
    statistics: Statistics
    """The facts about every training observation."""
    beliefs: State
    """The sampler's."""


def first_checkpoint(experiment: Experiment, observations: int, columns: Columns) -> Checkpoint:
    """Return the base model, with nothing known of so many training observations but their columns."""
    return Checkpoint(
        iteration=0,
        model=Model(base=experiment.model),
        statistics=Statistics.empty(observations),
        beliefs=_first_beliefs(experiment, columns),
    )


def last_checkpoint(experiment: Experiment, run: RunDirectory, columns: Columns) -> Checkpoint | None:
    """Return where the last commit left the run; None: nothing is committed yet."""
    if (latest := run.latest()) is None:
        return None
    state = latest.state()
    beliefs, fresh = latest.beliefs(), _first_beliefs(experiment, columns)
    if set(beliefs) != set(fresh):
        logger.warning("the forked run had another sampler: %s starts afresh", type(experiment.sampler).__name__)
        beliefs = fresh
    return Checkpoint(
        iteration=latest.number,
        model=Model(base=experiment.model, adapter=run.path / state.adapter if state.adapter else None),
        statistics=latest.statistics(),
        beliefs=beliefs,
    )


def _first_beliefs(experiment: Experiment, columns: Columns) -> State:
    sampler = experiment.sampler
    return laws.state(sampler, "init", sampler.init(columns, rng(experiment.seed, "sampler", 0)))

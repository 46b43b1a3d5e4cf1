"""1 collect: rationales in the sampler's order, until the quota of correct ones is filled."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from star_loop.accounting.metrics import collect_metrics
from star_loop.accounting.statistics import accepted, concatenate, filling_prefix, first, tally
from star_loop.protocols import BootstrapError
from star_loop.records import Metrics, Outcome, Rollout, Score, State
from star_loop.run.directory import IterationDirectory
from star_loop.searches.balance import Setting
from star_loop.stages.checkpoint import Checkpoint
from star_loop.stages.drawing import Pass, drawing
from star_loop.stages.judge import warn_too_long
from star_loop.stages.labels import agreement, judge_agreement
from star_loop.stages.live import LiveRun
from star_loop.stages.waves import Waves


@dataclass(frozen=True, kw_only=True)
class Collected:
    """Every rollout of the iteration, and the outcome of the observations that count."""

    rollouts: Sequence[Rollout]
    outcome: Outcome
    """What happened to the shortest prefix of visited observations that fills the quota; to all, where nothing does."""
    beliefs: State
    """The sampler's, after what it observed."""
    scores: Sequence[Score] = ()
    """What the scorer thinks of the rollouts that count."""

    @cached_property
    def counted(self) -> Sequence[Rollout]:
        """The rollouts of the observations that count."""
        visited = set(self.outcome.positions.tolist())
        return [rollout for rollout in self.rollouts if rollout.position in visited]


def collect(
    live: LiveRun, iteration: IterationDirectory, before: Checkpoint, beliefs: State, setting: Setting | None
) -> tuple[Collected, Metrics]:
    """Generate and judge up to the first prefix of observations that fills the quota.

    Args:
        before: whose model generates, and whose statistics the allocator may look at.
        beliefs: what the sampler believes now.
        setting: with what to sample; None: as the generator is configured.

    Returns:
        What came of it, and `collect/…`: the yield and why rollouts were lost.

    Raises:
        BootstrapError: the sampler proposed nothing.
    """
    schedule, quota = live.experiment.schedule, live.experiment.schedule.quota_at(iteration.number)
    live.session.phase(iteration.number, "collect", _units(quota, len(live.splits["train"]), schedule.per_observation))
    independent = live.experiment.generator.independent
    together = not (independent and live.experiment.allocator.apart)
    waves = Waves(live.experiment, iteration.number, before.statistics, beliefs, together=together)
    this = Pass(
        live=live, iteration=iteration.number, model=before.model, quota=quota,
        temperature=setting.temperature if setting else None,
    )  # fmt: skip
    outcomes: list[Outcome] = []
    rollouts: list[Rollout] = []
    with drawing(this, waves) as source:
        stored, visited, found = len(iteration.waves), 0, 0
        while (wave := waves.at(len(outcomes))) is not None:
            judged = iteration.wave(wave.number, wave.positions, partial(source.finish, wave, visited, found))
            rollouts += judged
            outcomes.append(tally(iteration.number, wave.positions, judged))
            waves.observe(outcomes[-1])
            visited, new = visited + len(wave.order), accepted(outcomes[-1], schedule.per_observation)
            found += new
            if wave.number < stored:
                live.session.advance(new if quota else len(wave.order))
            if quota and found >= quota:
                break
    if not outcomes:
        sampler = type(live.experiment.sampler).__name__
        raise BootstrapError(f"nothing to train on: {sampler} proposed no observation at all")
    warn_too_long(iteration.number, rollouts, live.experiment.generator)
    outcome = _counted(concatenate(outcomes), quota, schedule.per_observation)
    figures = collect_metrics(outcome, rollouts, quota, accepted(outcome, schedule.per_observation))
    collected = Collected(rollouts=rollouts, outcome=outcome, beliefs=waves.beliefs)
    if live.experiment.task.labels == "majority":
        figures |= agreement(live.experiment.task, live.splits["train"], collected.counted)
    figures |= judge_agreement(live.experiment.task, live.splits["train"], collected.counted)
    return collected, figures


def _units(quota: int | None, observations: int, per_observation: int) -> int:
    """Count what collecting shows the way to: accepted rationales, no more than the data can give; else questions."""
    return min(quota, observations * per_observation) if quota else observations


def _counted(outcome: Outcome, quota: int | None, per_observation: int) -> Outcome:
    length = filling_prefix(outcome, quota, per_observation) if quota else None
    return outcome if length is None else first(outcome, length)

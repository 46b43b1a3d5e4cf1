"""1 collect: waves of rationales in the sampler's order, until the quota of correct ones is filled."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import count

from star_loop.accounting.metrics import collect_metrics
from star_loop.accounting.statistics import accepted, concatenate, filling_prefix, first, tally
from star_loop.models import Model
from star_loop.protocols import BootstrapError
from star_loop.records import How, Metrics, Outcome, Positions, Proposal, Rollout, Score, State, Try
from star_loop.run.directory import IterationDirectory
from star_loop.searches.balance import Setting
from star_loop.seeding import rng
from star_loop.stages.checkpoint import Checkpoint
from star_loop.stages.labels import agreement
from star_loop.stages.live import LiveRun
from star_loop.stages.rollouts import draw, serve


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
    """Generate and judge waves up to the first prefix of observations that fills the quota.

    Args:
        before: whose model generates, and whose statistics the allocator may look at.
        beliefs: what the sampler believes now.
        setting: with what to sample; None: as the generator is configured.

    Returns:
        What came of it, and `collect/…`: the yield and why rollouts were lost.

    Raises:
        BootstrapError: the sampler proposed nothing.
    """
    schedule, sampler = live.experiment.schedule, live.experiment.sampler
    quota, temperature = schedule.quota_at(iteration.number), setting.temperature if setting else None
    live.session.phase(iteration.number, "collect", _units(quota, len(live.splits["train"]), schedule.per_observation))
    outcomes: list[Outcome] = []
    rollouts: list[Rollout] = []
    for wave in count():
        proposal, beliefs = sampler.propose(
            beliefs, schedule.wave, rng(live.experiment.seed, "sampler", iteration.number)
        )
        if not len(proposal.positions):
            break
        known = {**before.statistics.columns(), **beliefs}
        compute = partial(_draw_wave, live, iteration.number, wave, proposal, known, before.model, temperature)
        judged = iteration.wave(wave, proposal.positions, compute)
        outcomes.append(tally(iteration.number, proposal.positions, judged))
        rollouts += judged
        beliefs = sampler.observe(beliefs, outcomes[-1])
        live.session.advance(accepted(outcomes[-1], schedule.per_observation) if quota else len(proposal.positions))
        if quota and filling_prefix(concatenate(outcomes), quota, schedule.per_observation) is not None:
            break
    if not outcomes:
        raise BootstrapError(f"nothing to train on: {type(sampler).__name__} proposed no observation at all")
    outcome = _counted(concatenate(outcomes), quota, schedule.per_observation)
    figures = collect_metrics(outcome, rollouts, quota, accepted(outcome, schedule.per_observation))
    collected = Collected(rollouts=rollouts, outcome=outcome, beliefs=beliefs)
    if live.experiment.task.labels == "majority":
        figures |= agreement(live.experiment.task, live.splits["train"], collected.counted)
    return collected, figures


def _units(quota: int | None, observations: int, per_observation: int) -> int:
    """Count what collecting shows the way to: accepted rationales, no more than the data can give; else questions."""
    return min(quota, observations * per_observation) if quota else observations


def _counted(outcome: Outcome, quota: int | None, per_observation: int) -> Outcome:
    length = filling_prefix(outcome, quota, per_observation) if quota else None
    return outcome if length is None else first(outcome, length)


def _draw_wave(
    live: LiveRun, iteration: int, wave: int, proposal: Proposal, known: State, model: Model, temperature: float | None
) -> list[Rollout]:
    """Draw all tries of one wave, the atom of generation: seeded by itself, whatever was generated before.

    `known` is what the allocator may look at: the facts so far and the sampler's beliefs.
    """
    experiment, rollouts = live.experiment, proposal.rollouts
    if rollouts is None:
        rollouts = experiment.allocator.allocate(proposal, known, rng(experiment.seed, "allocator", iteration, wave))
    draws = dict(zip(proposal.positions.tolist(), rollouts.tolist(), strict=True))
    with live.run.timed(iteration, "collect") as journal:
        serve(live, model, f"iteration {iteration}, wave {wave}")
        judged = draw(live, iteration, wave, Try.FIRST, draws, journal, temperature=temperature)
        for number in count(1):
            further = _further(live, iteration, proposal.positions, judged, number)
            if not further:
                break
            judged += draw(
                live, iteration, wave, Try.SECOND + number, further, journal, temperature=temperature, before=judged
            )
        if experiment.second_try != "none":
            hint = experiment.second_try == "rationalize"
            again = _failed(judged)
            judged += draw(
                live, iteration, wave, Try.SECOND, again, journal, temperature=temperature, hint=hint, before=judged
            )
    return judged


def _further(
    live: LiveRun, iteration: int, positions: Positions, judged: Sequence[Rollout], number: int
) -> dict[int, int]:
    """Ask the allocator what to draw after this round; nothing more of what the context has no room for."""
    known, full = tally(iteration, positions, judged), {r.position for r in judged if r.how == How.TOO_LONG}
    draws = live.experiment.allocator.again(known.attempts, known.wins, number)
    return {p: n for p, n in zip(positions.tolist(), draws.tolist(), strict=True) if n and p not in full}


def _failed(judged: Sequence[Rollout]) -> dict[int, int]:
    """Give one more draw to each observation that no first try has solved, except where the prompt left no room."""
    solved = {rollout.position for rollout in judged if rollout.correct}
    return {r.position: 1 for r in judged if r.position not in solved and r.how != How.TOO_LONG}

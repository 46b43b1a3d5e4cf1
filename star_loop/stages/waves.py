"""The waves of a pass: what the sampler proposes, what the allocator gives, and which tries follow from what came."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from star_loop.accounting.statistics import Statistics, tally
from star_loop.experiment import Experiment
from star_loop.protocols import Allocator
from star_loop.records import How, Outcome, Positions, Proposal, Rollout, State, Try
from star_loop.seeding import rng
from star_loop.stages import laws

Ask = tuple[int, int, int]
"""(position, attempt, draws)"""


DOUBT = 32
"""Observations that are imagined, beside those that were tried, to have brought all that may count: while the yield is
hardly known, it is overrated, and too little is asked rather than too much."""


@dataclass(slots=True)
class Yields:
    """How far the observations of a pass are, and what they brought that counts towards a quota.

    First tries and what follows them are counted apart: what succeeds at once is settled first, and would be taken for
    all.
    """

    begun: int = 0
    """Observations that were asked."""
    tried: int = 0
    """Observations whose first tries came."""
    first: int = 0
    """Correct rationales among those tries that count."""
    again: int = 0
    """Observations that were asked again."""
    ended: int = 0
    """Of these, those that are settled."""
    gained: int = 0
    """What the settled ones brought beyond their first tries."""

    def expected(self, most: int) -> float:
        """Return how many correct rationales are to be expected of all that was begun.

        Args:
            most: how many of an observation count.
        """
        first = (self.first + DOUBT * most) / (self.tried + DOUBT)
        gain = (self.gained + DOUBT * first) / (self.ended + DOUBT)
        each = min(first + gain * self.again / (self.tried + DOUBT), most)
        return self.first + self.gained + (self.begun - self.tried) * each + (self.again - self.ended) * gain


class Wave:
    """Observations that are proposed and allocated together and written into one file, and what was drawn for them.

    An observation is settled when no more is drawn for it: it had its rounds, and its second try where it needs one.

    Args:
        number: of the wave, in its iteration.
        positions: the observations, in the sampler's order.
        allocate: returns the draws of the first round.
        together: whether further tries are decided when the whole wave has had the ones before.
        yields: of the pass, which are counted here.
    """

    def __init__(
        self, number: int, positions: Positions, allocate: Callable[[], NDArray[np.int64]], experiment: Experiment,
        *, iteration: int, together: bool, yields: Yields,
    ) -> None:  # fmt: skip
        self.number, self.positions, self.together, self._yields = number, positions, together, yields
        self.order: list[int] = positions.tolist()
        self._allocate, self._iteration = allocate, iteration
        self._allocator: Allocator = experiment.allocator
        self._second_try, self._most = experiment.second_try, experiment.schedule.per_observation
        self._drawn: defaultdict[int, dict[int, Sequence[Rollout]]] = defaultdict(dict)
        self._open: set[int] = set()
        self._settled: set[int] = set()
        self._first: dict[int, int] = {}
        """Of each observation that was tried: what its first tries brought that counts."""
        self._again: set[int] = set()
        self.begun = self.front = self.accepted = 0
        """Observations that were begun; those that are settled without a gap (`fills`); and the correct rationales of
        settled ones that count towards a quota."""
        self._found = 0

    @cached_property
    def draws(self) -> list[int]:
        """Return the draws of each observation in the first round."""
        drawn: list[int] = self._allocate().tolist()
        return drawn

    @property
    def settled(self) -> int:
        """Count the observations for which no more is drawn."""
        return len(self._settled)

    def begin(self) -> list[Ask]:
        """Begin the next observation, or where they go together, all of them; return what is to be asked."""
        first, last = self.begun, len(self.order) if self.together else self.begun + 1
        self.begun, self._yields.begun = last, self._yields.begun + last - first
        asks = [(self.order[k], int(Try.FIRST), self.draws[k]) for k in range(first, last) if self.draws[k]]
        self._open.update(position for position, *_ in asks)
        return asks or self._follow(self.order[first:last])

    def take(self, position: int, attempt: int, rollouts: Sequence[Rollout]) -> list[Ask]:
        """Note what came of an ask; return what is to be asked because of it."""
        self._drawn[position][attempt] = rollouts
        self._open.discard(position)
        if self.together:
            return [] if self._open else self._follow(self.order)
        return self._follow([position])

    def rollouts(self, count: int | None = None) -> list[Rollout]:
        """Return what was drawn for the first `count` observations (None: all): try by try, in the sampler's order."""
        within = self.order[:count]
        attempts = sorted({a for p in within for a in self._drawn[p]}, key=lambda a: (a == Try.SECOND, a))
        return [r for a in attempts for p in within for r in self._drawn[p].get(a, ())]

    def fills(self, quota: int | None) -> bool:
        """Look how far from the first on all are settled, and no further than where they fill a quota.

        Returns:
            Whether they do; `front` counts them.
        """
        while self.front < len(self.order) and self.order[self.front] in self._settled:
            if quota is not None and self._found >= quota:
                break
            self._found += self._counted(self.order[self.front])
            self.front += 1
        return quota is not None and self._found >= quota

    def _follow(self, positions: Sequence[int]) -> list[Ask]:
        """Decide what follows for observations that have all had the same tries; settle them where it is nothing."""
        for position in positions:
            self._try(position)
        tried = {attempt for position in positions for attempt in self._drawn[position]}
        asks = [] if Try.SECOND in tried else self._further(positions, max([1, *tried])) or self._second(positions)
        if asks:
            self._open.update(position for position, *_ in asks)
            new = {position for position, *_ in asks} - self._again
            self._again, self._yields.again = self._again | new, self._yields.again + len(new)
        else:
            self._settle(positions)
        return asks

    def _try(self, position: int) -> None:
        """Note what the first tries of an observation brought, once."""
        if position not in self._first:
            self._first[position] = self._counted(position)
            self._yields.tried, self._yields.first = self._yields.tried + 1, self._yields.first + self._first[position]

    def _settle(self, positions: Sequence[int]) -> None:
        self._settled.update(positions)
        self.accepted += sum(map(self._counted, positions))
        for position in self._again.intersection(positions):
            self._yields.ended += 1
            self._yields.gained += self._counted(position) - self._first[position]

    def _further(self, positions: Sequence[int], number: int) -> list[Ask]:
        """Ask the allocator what to draw after this round; nothing more of what the context has no room for."""
        known = tally(self._iteration, np.array(positions), [r for p in positions for r in self.of(p)])
        given = self._allocator.again(known.attempts, known.wins, number)
        draws: list[int] = laws.draws(self._allocator, "again", given, len(positions)).tolist()
        return [
            (p, Try.SECOND + number, n) for p, n in zip(positions, draws, strict=True) if n and not self._too_long(p)
        ]

    def _second(self, positions: Sequence[int]) -> list[Ask]:
        """Give one more draw to each that no first try has solved, except where the prompt left no room."""
        if self._second_try == "none":
            return []
        failed = [p for p in positions if self.of(p) and not any(r.correct for r in self.of(p))]
        return [(p, int(Try.SECOND), 1) for p in failed if not self._too_long(p)]

    def of(self, position: int) -> list[Rollout]:
        """Return what was drawn for an observation so far."""
        return [rollout for rollouts in self._drawn[position].values() for rollout in rollouts]

    def _too_long(self, position: int) -> bool:
        return any(rollout.how == How.TOO_LONG for rollout in self.of(position))

    def _counted(self, position: int) -> int:
        return min(sum(rollout.correct for rollout in self.of(position)), self._most)


class Waves:
    """The waves of one pass, each proposed once and in order, as far as the sampler's lookahead allows.

    Args:
        statistics: the facts that the allocator may look at, beside the sampler's beliefs.
        beliefs: the sampler's, before the pass.
        together: see `Wave`.
    """

    def __init__(
        self, experiment: Experiment, iteration: int, statistics: Statistics, beliefs: State, *, together: bool
    ) -> None:
        self._experiment, self._iteration, self._statistics = experiment, iteration, statistics
        self._together, self._state, self._over = together, beliefs, False
        self._proposed: dict[int, tuple[Wave, State]] = {}
        self._asked = np.zeros(len(statistics.attempts), np.bool_)
        self._number, self._observed = 0, 0
        self.beliefs = beliefs
        """The sampler's, after what it has observed, whatever was proposed ahead of that."""
        self.yields = Yields()

    def at(self, number: int) -> Wave | None:
        """Return the wave of this number; None: there is none, or it depends on one that is not observed yet."""
        while not self._over and self._number <= number and self._may_propose():
            self._propose()
        return self._proposed[number][0] if number in self._proposed else None

    def observe(self, outcome: Outcome) -> None:
        """Tell the sampler what came of the first wave that it was not told of."""
        sampler, (_, beliefs) = self._experiment.sampler, self._proposed.pop(self._observed)
        if sampler.lookahead is None:
            self.beliefs = beliefs
        else:
            self.at(self._observed + sampler.lookahead)  # whatever was needed so far: the order of calls is one
            self.beliefs = self._state = laws.mapping(sampler, "observe", sampler.observe(self._state, outcome))
        self._observed += 1

    def _may_propose(self) -> bool:
        lookahead = self._experiment.sampler.lookahead
        return lookahead is None or self._number <= self._observed + lookahead

    def _propose(self) -> None:
        experiment, number = self._experiment, self._number
        luck = rng(experiment.seed, "sampler", self._iteration)
        given = experiment.sampler.propose(self._state, experiment.schedule.wave, luck)
        proposal, self._state = laws.proposed(experiment.sampler, given)
        positions = laws.positions(experiment.sampler, proposal.positions, self._asked, experiment.schedule.wave)
        if not len(positions):
            self._over = True
            return
        known = {**self._statistics.columns(), **self._state}
        wave = Wave(
            number, positions, partial(self._allocate, number, proposal, known), experiment,
            iteration=self._iteration, together=self._together, yields=self.yields,
        )  # fmt: skip
        self._proposed[number], self._number = (wave, self._state), number + 1

    def _allocate(self, number: int, proposal: Proposal, known: Mapping[str, NDArray[np.generic]]) -> NDArray[np.int64]:
        experiment, length = self._experiment, len(proposal.positions)
        if proposal.rollouts is not None:
            return laws.draws(experiment.sampler, "propose", proposal.rollouts, length)
        luck = rng(experiment.seed, "allocator", self._iteration, number)
        given = experiment.allocator.allocate(proposal, known, luck)
        return laws.draws(experiment.allocator, "allocate", given, length)

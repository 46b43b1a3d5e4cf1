"""Pools of questions that studies need and no task offers."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from star_loop.records import Observation
from star_loop.tasks.arithmetic import Arithmetic
from star_loop.tasks.word_problems import WordProblems


class Repeated(Arithmetic):
    """Arithmetic whose training questions each come several times, under other ids: the extreme of near-duplicates."""

    repeats: int = Field(10, ge=1)
    """How often each of them comes."""

    def train(self) -> Sequence[Observation]:
        """All of them once, then all of them again."""
        return [replace(o, id=f"{o.id}/{k}") for k in range(self.repeats) for o in super(Repeated, self).train()]


class Rare(WordProblems):
    """Word problems of which each further step has fewer training questions."""

    train_decay: float = Field(default=0.4, gt=0, le=1)
    """Training questions of a number of steps over those of one step less."""

    def train(self) -> Sequence[Observation]:
        """The first of each plot and number of steps, as many as are due."""
        due = {
            level: round(self.train_per_level * self.train_decay**rank)
            for rank, level in enumerate(sorted(self.levels))
        }
        seen: defaultdict[tuple[str | None, int | None], int] = defaultdict(int)
        kept = []
        for observation in super().train():
            kind = observation.skill, observation.level
            seen[kind] += 1
            if seen[kind] <= due[observation.level or 0]:
                kept.append(observation)
        return kept

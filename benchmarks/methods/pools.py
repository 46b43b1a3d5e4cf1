"""Pools of questions that studies need and no task offers."""

from collections.abc import Sequence
from dataclasses import replace

from pydantic import Field

from star_loop.records import Observation
from star_loop.tasks.arithmetic import Arithmetic


class Repeated(Arithmetic):
    """Arithmetic whose training questions each come several times, under other ids: the extreme of near-duplicates."""

    repeats: int = Field(10, ge=1)
    """How often each of them comes."""

    def train(self) -> Sequence[Observation]:
        """All of them once, then all of them again."""
        return [replace(o, id=f"{o.id}/{k}") for k in range(self.repeats) for o in super(Repeated, self).train()]

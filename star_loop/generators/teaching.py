"""An engine of a teacher's beside the student's own: who answers what."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from star_loop.generators.told import placed
from star_loop.models import Model
from star_loop.protocols import Arrived, Engine, Progress
from star_loop.records import Completion, Request


@runtime_checkable
class PaidEngine(Engine, Protocol):
    """An engine that is paid for."""

    def paid(self) -> Mapping[str, float]:
        """Return what its requests have cost since the run began: `requests`, tokens, `money`."""


class Taught:
    """The teacher answers what is collected, up to an iteration; the student what is measured, and all after it.

    Args:
        teacher: it serves no model of the run's.
        student: the engine of the model that learns.
        until: the last iteration that the teacher collects for; None: there is none.
    """

    def __init__(self, teacher: PaidEngine, student: Engine, until: int | None) -> None:
        self.teacher, self.student, self.until = teacher, student, until
        self.release, self.paid = student.release, teacher.paid
        self._teaching = True

    def serve(self, model: Model) -> None:
        """Have the student serve it; by what it has learned so far, see who collects next."""
        self._teaching = self.until is None or model.iteration < self.until
        self.student.serve(model)

    def generate(
        self, requests: Sequence[Request], *, seed: int,
        progress: Progress | None = None, arrived: Arrived | None = None,
    ) -> list[list[Completion]]:  # fmt: skip
        """Ask each of them for what is theirs."""
        own = [k for k, request in enumerate(requests) if request.measures or not self._teaching]
        taught = sorted(set(range(len(requests))) - set(own))
        completions: dict[int, list[Completion]] = {}
        for engine, places in ((self.student, own), (self.teacher, taught)):
            if places:
                asked = [requests[place] for place in places]
                told = arrived and placed(arrived, places)
                completions |= zip(
                    places, engine.generate(asked, seed=seed, progress=progress, arrived=told), strict=True
                )
        return [completions[k] for k in range(len(requests))]

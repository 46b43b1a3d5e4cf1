"""Several processes that compare mathematics, each of which can be killed alone."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from star_loop.processes.kept import KeptPool, Stopped, as_many
from star_loop.verifiers.math_process import COMMAND, MathProcess

Question = tuple[str, tuple[str, ...]]
"""The gold answer, and what must equal it."""


class MathPool(KeptPool[MathProcess]):
    """Remembers what was compared, since a model gives the same answers again and again."""

    def __init__(self, size: int | None = None, command: Sequence[str] = COMMAND) -> None:
        self.size = as_many(size)
        super().__init__([MathProcess(command) for _ in range(self.size)])
        self._known = lru_cache(maxsize=1 << 16)(self._ask)

    def ask(self, seconds: float, question: Question) -> bool | Stopped | None:
        """See `MathProcess.ask`; that it was stopped is returned, not raised, and not remembered."""
        try:
            return self._known(seconds, question)
        except Stopped as stopped:
            return stopped

    def ask_all(self, seconds: float, questions: Sequence[Question]) -> list[bool | Stopped | None]:
        """Ask each of the questions, as many at once as there are processes."""
        distinct = list(dict.fromkeys(questions))
        if not distinct:
            return []
        with ThreadPoolExecutor(min(self.size, len(distinct))) as threads:
            found = dict(
                zip(distinct, threads.map(lambda question: self.ask(seconds, question), distinct), strict=True)
            )
        return [found[question] for question in questions]

    def _ask(self, seconds: float, question: Question) -> bool | None:
        gold, answers = question
        with self.lent() as process:
            return process.ask(seconds, gold, answers)

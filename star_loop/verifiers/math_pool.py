"""Several processes that compare mathematics, each of which can be killed alone."""

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from queue import LifoQueue

from star_loop.processes.kept import Stopped
from star_loop.verifiers.math_process import MathProcess

MOST = 16
"""Processes of a pool that is as large as the machine."""
COMMAND = (sys.executable, "-m", "star_loop.verifiers.math_process")
Question = tuple[str, tuple[str, ...]]
"""The gold answer, and what must equal it."""


class MathPool:
    """Asks the process that has been idle for the shortest time, so that one alone is started where one is enough.

    What was compared is remembered, since a model gives the same answers again and again.
    """

    def __init__(self, size: int | None = None, command: Sequence[str] = COMMAND) -> None:
        self.size = size or min(os.cpu_count() or 1, MOST)
        self._processes = [MathProcess(command) for _ in range(self.size)]
        self._idle: LifoQueue[MathProcess] = LifoQueue()
        for process in self._processes:
            self._idle.put(process)
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
        process = self._idle.get()
        try:
            gold, answers = question
            return process.ask(seconds, gold, answers)
        finally:
            self._idle.put(process)

    def stop(self) -> None:
        """Kill the processes; the next question starts new ones."""
        for process in self._processes:
            process.stop()

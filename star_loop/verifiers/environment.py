"""The rewards of an environment of the package `verifiers`, which runs in a process that can be killed."""

import sys
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from star_loop.processes.killable import EndedError, KillableProcess, SilentError
from star_loop.protocols import Verifier
from star_loop.records import Observation, Verdict
from star_loop.verifiers import environment_process
from star_loop.verifiers.reply import reply

START = 600.0
"""Seconds for a process to import `verifiers` and to load its tasks, which may have to come from the Hub."""
_ANSWER = "{answer}"


class Origin(NamedTuple):
    """Where tasks come from; the same origin, the same tasks."""

    taskset: str
    config: str
    """As JSON."""
    number: int
    """Of tasks."""


class EnvironmentReward(Verifier):
    """Correct: the environment's own reward of the reply reaches `threshold`. The answer is the whole reply.

    A reply that takes too long, or breaks the reward, is wrong, and the verdict says so.
    """

    threshold: float = 1.0
    """The sum of the weighted rewards from which a reply is right."""
    gold: str = _ANSWER
    """The reply that must be right, with `{answer}` where the gold answer stands: `\\boxed{{answer}}`."""
    thinking: bool = False
    """Whether the environment sees finished thinking (`<think>…</think>`) too."""
    timeout: float = Field(default=30.0, gt=0)
    """Seconds for one reply; then the process is killed, and the verdict is wrong."""
    python: Path | None = None
    """The Python that has `verifiers` installed; the task gives its own (`task.python`)."""

    @property
    def takes_labels(self) -> bool:
        """Judge by the environment's own reward."""
        return False

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Ask for the reward."""
        counted = reply(text, thinking=self.thinking)
        taskset, config, number, index = observation.meta["source"]
        found = process_of(Origin(taskset, config, number), self.python).reward(self.timeout, index, counted)
        if isinstance(found, str):
            return Verdict(answer=None, correct=False, how=f"no reward: {found}", reading={"reply": counted})
        how = f"reward {found:g}, {'enough' if found >= self.threshold else f'of {self.threshold:g}'}"
        return Verdict(
            answer=counted.strip() or None, correct=found >= self.threshold, how=how, reading={"reply": counted}
        )

    def statement(self, observation: Observation) -> str:
        """Return the reply that must be right."""
        return self.gold.replace(_ANSWER, observation.answer)


class EnvironmentProcess:
    """Keeps one process; starts it at the first question, and again after each end."""

    def __init__(self, origin: Origin, python: str) -> None:
        self.origin, self.python, self._lock = origin, python, threading.Lock()
        self._process: KillableProcess | None = None
        self._tasks: Sequence[Mapping[str, Any]] = ()

    def tasks(self) -> Sequence[Mapping[str, Any]]:
        """Return the data of each task, with its prompt's `turns`.

        Raises:
            ValueError: it cannot be loaded, or is not of one turn.
        """
        with self._lock:
            self._running()
        return self._tasks

    def reward(self, seconds: float, index: int, text: str) -> float | str:
        """Return the reward of a reply to the task of this index; a text: why there is none."""
        with self._lock:
            try:
                process = self._running()
                process.send([index, text], seconds)
                said = process.receive(seconds)
            except SilentError:
                self._stop()
                return "it took too long"
            except (OSError, EndedError) as error:
                self._stop()
                return f"its process died ({error})"
        return str(said["failed"]) if "failed" in said else float(said["reward"])

    def _running(self) -> KillableProcess:
        if self._process is not None:
            return self._process
        origin, script = self.origin, str(Path(environment_process.__file__))
        command = (self.python, "-P", script, origin.taskset, origin.config, str(origin.number))
        try:
            self._process = KillableProcess(command, log=None, environment={})
            said = self._process.receive(START)
        except (OSError, SilentError, EndedError) as error:
            self._stop()
            raise ValueError(f"task.taskset={origin.taskset}: {self.python} cannot run it: {error}") from error
        if "refused" in said:
            self._stop()
            raise ValueError(f"task.taskset={origin.taskset} {said['refused']}{_remedy(said['refused'])}")
        self._tasks = said["tasks"]
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None


@lru_cache(maxsize=8)
def process_of(origin: Origin, python: Path | None) -> EnvironmentProcess:
    """Return the process of an origin, which loads its tasks once; `python` None: by the one that runs."""
    return EnvironmentProcess(origin, str(python or sys.executable))


def _remedy(refused: str) -> str:
    if "No module named 'verifiers" in refused:
        return (
            ": install the package verifiers into an environment of its own (its dependencies are not vLLM's) and give "
            "task.python=<that environment>/bin/python"
        )
    return ""

"""A process that is kept for questions asked one after another, and replaced when one of them took too long."""

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import LifoQueue
from typing import Any, Generic, TypeVar

from star_loop.processes.killable import EndedError, KillableProcess, SilentError

_START = 120.0
"""Seconds for the imports of a process, which is long only on a busy machine."""


MOST = 16
"""Processes of a pool that is as large as the machine."""
P = TypeVar("P", bound="KeptProcess")


class Stopped(RuntimeError):
    """The process took too long, or died; it is gone, and the next question starts a new one."""


class KeptProcess:
    """Starts a command at the first question, and again after each end.

    The command writes one JSON line when it is ready, its greeting, and then one for each line that it reads.

    Args:
        command: the program and its arguments.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command, self._lock = command, threading.Lock()
        self._process: KillableProcess | None = None
        self._greeting = b""

    def reply(self, seconds: float, question: Any) -> Any:
        """Return what it says to this question.

        Raises:
            Stopped: it read nothing or said nothing for `seconds`, or the process died.
        """
        with self._lock:
            try:
                process = self._running()
                process.send(question, seconds)
                return process.receive(seconds)
            except (OSError, ValueError, SilentError, EndedError) as error:
                self.stop()
                raise Stopped("too long" if isinstance(error, SilentError) else "died") from error

    def greeting(self) -> Any:
        """Return what it says when it is ready.

        Raises:
            Stopped: it ended instead.
        """
        with self._lock:
            try:
                self._running()
                return json.loads(self._greeting)
            except (OSError, ValueError, SilentError, EndedError) as error:
                self.stop()
                raise Stopped(str(error)) from error

    def stop(self) -> None:
        """Kill the process, whatever it does."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _running(self) -> KillableProcess:
        if self._process is None:
            self._process = KillableProcess(self.command, log=None, environment={"OMP_NUM_THREADS": "1"})
            self._greeting = self._process.line(_START)
        return self._process


def as_many(wanted: int | None) -> int:
    """Return how many processes a pool has; `wanted` None: one for each core, at most `MOST`."""
    return wanted or min(os.cpu_count() or 1, MOST)


class KeptPool(Generic[P]):
    """Lends the process that has been idle for the shortest time, so that one alone is started where one is enough.

    Args:
        processes: all that there are.
    """

    def __init__(self, processes: Sequence[P]) -> None:
        self._processes = processes
        self._idle: LifoQueue[P] = LifoQueue()
        for process in processes:
            self._idle.put(process)

    @contextmanager
    def lent(self) -> Iterator[P]:
        """Yield a process that nobody else has meanwhile; wait until there is one."""
        process = self._idle.get()
        try:
            yield process
        finally:
            self._idle.put(process)

    def stop(self) -> None:
        """Kill the processes; the next question starts new ones."""
        for process in self._processes:
            process.stop()

"""A process that is kept for questions asked one after another, and replaced when one of them took too long."""

import json
import threading
from collections.abc import Sequence
from typing import Any

from star_loop.processes.killable import EndedError, KillableProcess, SilentError

_START = 120.0
"""Seconds for the imports of a process, which is long only on a busy machine."""


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
            Stopped: nothing within `seconds`, or the process died.
        """
        with self._lock:
            try:
                process = self._running()
                process.send(question)
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

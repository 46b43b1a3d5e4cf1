"""A child process that is asked and answers in lines of JSON, and that can be killed whatever it does."""

import json
import os
import selectors
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from math import ceil
from typing import IO, Any

PIECES, LONGEST = 10, 1.0
"""In how many pieces a time is waited for, at least, and how many seconds a piece has, at most."""

AGES = 1e9
"""Seconds that nobody waits longer than."""


class SilentError(RuntimeError):
    """The process has written no line in time, or read none; it still runs."""


class EndedError(RuntimeError):
    """The process has ended; `code` is its exit code, negative for a signal."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}")
        self.code = code


def pieces(seconds: float) -> Iterator[float]:
    """Cut a time to wait into short ones: a stop of this process itself (SIGSTOP) uses up one of them, not all."""
    return repeat(min(seconds / PIECES, LONGEST), max(PIECES, ceil(min(seconds, AGES) / LONGEST)))


class KillableProcess:
    """Starts a command in a process group of its own: Ctrl-C is the parent's to decide about.

    Args:
        command: the program and its arguments.
        log: where its standard error goes; None: nowhere.
        environment: variables added to the parent's.
    """

    def __init__(self, command: Sequence[str], *, log: IO[bytes] | None, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if log is None else log,
            bufsize=0, process_group=0, env={**os.environ, **environment},
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._commands, self._replies = self._process.stdin, self._process.stdout
        os.set_blocking(self._commands.fileno(), False)  # a write never waits longer than whoever sends
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._replies, selectors.EVENT_READ)
        self._received = b""
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit code; None: the process runs."""
        return self._process.poll()

    def send(self, message: Any, seconds: float) -> None:
        """Write one line, piece by piece as the process reads it.

        Raises:
            SilentError: for so many seconds it read nothing. The line is torn: the process is of no use any more.
            OSError: the process has ended.
        """
        left = memoryview(json.dumps(message).encode() + b"\n")
        with selectors.DefaultSelector() as room:
            room.register(self._commands, selectors.EVENT_WRITE)
            while left:
                if not any(room.select(piece) for piece in pieces(seconds)):
                    raise SilentError(f"nothing was read in {seconds:g} s")
                left = left[os.write(self._commands.fileno(), left) :]

    def receive(self, seconds: float) -> Any:
        """Wait for one line and return what it says.

        Raises:
            SilentError, EndedError: see `line`.
            ValueError: the line is no JSON.
        """
        return json.loads(self.line(seconds))

    def has_line(self) -> bool:
        """Tell whether a line can be had without waiting."""
        while b"\n" not in self._received and self._selector.select(0):
            if not (read := os.read(self._replies.fileno(), 1 << 20)):
                return False  # it has ended, as whoever waits is told
            self._received += read
        return b"\n" in self._received

    def line(self, seconds: float) -> bytes:
        """Wait for one line, whatever it says.

        Raises:
            SilentError: for so many seconds nothing came.
            EndedError: the process ended instead.
        """
        while b"\n" not in self._received:
            if not any(self._selector.select(piece) for piece in pieces(seconds)):
                raise SilentError(f"no reply in {seconds:g} s")
            read = os.read(self._replies.fileno(), 1 << 20)
            if not read:
                raise EndedError(self._process.wait())
            self._received += read
        line, _, self._received = self._received.partition(b"\n")
        return line

    def kill(self) -> None:
        """End the process and all that it started, so that what waits for it fails; it is still to be closed."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # everybody had left

    def close(self, grace: float = 0.0) -> None:
        """End the process and all that it started; after `grace` seconds, in which it may leave by itself.

        It has no effect the second time.
        """
        for pipe in (self._commands, self._replies):
            pipe.close()
        self._selector.close()
        try:
            if grace:
                self._process.wait(grace)
        except subprocess.TimeoutExpired:
            pass  # it had its time
        finally:
            self.kill()
            self._process.wait()


def said_by(command: Sequence[str], told: bytes, seconds: float) -> bytes | None:
    """Return what a command writes that is told something; None: it failed, or had not ended after so many seconds."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        try:
            for piece in pieces(seconds):
                try:
                    said, _ = process.communicate(told, timeout=piece)
                    return said if process.returncode == 0 else None
                except subprocess.TimeoutExpired:
                    told = b""  # the rest of it is kept there, and refused a second time
            return None
        finally:
            process.kill()

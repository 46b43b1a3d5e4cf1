"""A child process that answers JSON lines: one request line in, any number of items and one result out.

The child keeps running between calls, has its own process group (Ctrl-C is the parent's to decide about) and its own
temporary directory, and leaves nothing behind. It ends within a second of its parent: at the end of its standard input,
or (Linux) by a signal when the thread that started it is gone.

Messages to the child: `{"id", "operation", …arguments}`. From the child: `{"id", "item"}`, then `{"id", "result"}` or
`{"id", "error"}`; an item of null is a sign of life.
"""

import ctypes
import hashlib
import json
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from star_loop.processes.killable import EndedError, KillableProcess, SilentError
from star_loop.protocols import EngineError

GRACE = 5.0
"""Seconds that a child gets to leave by itself once its standard input is closed."""
LOG_LINES = 25
PR_SET_PDEATHSIG = 1
SOCKET_PATH = 103
"""Bytes of a socket's path, at most: 107 on Linux, 103 on macOS."""
SOCKET_NAME = 37
"""Bytes of what vLLM calls a socket in the temporary folder: a slash and a UUID."""

Send = Callable[[Mapping[str, Any]], None]


class WorkerError(EngineError):
    """The worker died, fell silent, or failed at an operation."""


class WorkerProcess:
    """Starts `python -m module` and returns at once.

    Start it from a thread that lives as long as the worker should: on Linux the worker ends with that thread.

    Args:
        module: what to run; it must `connect_to_parent`.
        workspace: folder of the log `worker.log` and of the temporary directory (`short_folder`).
        environment: variables added to the parent's.
        timeout: seconds without any sign of life (a message or a line in the log) after which a call fails.
        arguments: of its command line.
        key: what the configuration calls the timeout.
    """

    def __init__(
        self,
        module: str,
        *,
        workspace: Path,
        environment: Mapping[str, str],
        timeout: float,
        arguments: Sequence[str] = (),
        key: str = "generator.timeout",
    ) -> None:
        self.module, self.timeout, self.key = module, timeout, key
        self.log, self._temporary = workspace / "worker.log", short_folder(workspace)
        workspace.mkdir(parents=True, exist_ok=True)
        self._clear_temporary()
        self._temporary.mkdir()
        directory = str(self._temporary)
        with self.log.open("ab") as log:
            self._process = KillableProcess(
                [sys.executable, "-m", module, *arguments], log=log, environment={**environment, "TMPDIR": directory}
            )
        self._calls = 0

    @property
    def pid(self) -> int:
        """Return the process id of the worker."""
        return self._process.pid

    def submit(self, operation: str, **arguments: Any) -> int:
        """Send a request without waiting for what comes of it.

        Raises:
            WorkerError: the worker is dead, or does not read.
        """
        self._calls += 1
        try:
            self._process.send({"id": self._calls, "operation": operation, **arguments}, self.timeout)
        except SilentError as silent:
            what = f"has not read {operation} for {self.timeout:g} s ({self.key})"
            raise self._failure(what) from silent
        except OSError as error:
            raise self._failure(f"died before {operation}") from error
        return self._calls

    def result(self, call: int, item: Callable[[Any], None] | None = None) -> Any:
        """Wait for the result of `submit`, handing each item that comes before it to `item`.

        Raises:
            WorkerError: the worker failed, died or shows no sign of life.
        """
        while True:
            message = self._receive()
            if message["id"] != call:
                continue  # what is left of a call that was interrupted
            if "error" in message:
                raise self._failure(f"failed: {message['error']}")
            if "result" in message:
                return message["result"]
            if item is not None and "item" in message:
                item(message["item"])

    def items(self, call: int) -> list[Any]:
        """Wait for an item that comes before the result of `submit`; return it and all that are there already.

        Raises:
            WorkerError: as `result`.
        """
        found: list[Any] = []
        while not found or self._process.has_line():
            message = self._receive()
            if message["id"] == call and "error" in message:
                raise self._failure(f"failed: {message['error']}")
            if message["id"] == call and "item" in message:
                found.append(message["item"])
        return found

    def call(self, operation: str, item: Callable[[Any], None] | None = None, **arguments: Any) -> Any:
        """Send a request and wait: `submit`, then `result`."""
        return self.result(self.submit(operation, **arguments), item)

    def kill(self) -> None:
        """End the worker and all that it started at once, so that what waits for it fails; it is still to be closed."""
        self._process.kill()

    def close(self) -> None:
        """End the worker and everything that it started; no effect the second time."""
        try:
            self._process.close(GRACE)
        finally:
            self._clear_temporary()

    def _receive(self) -> Any:
        seen = self.log.stat().st_size
        while True:
            try:
                return self._process.receive(self.timeout)
            except EndedError as ended:
                raise self._failure(f"died ({ended})") from ended
            except SilentError as silent:
                size = self.log.stat().st_size
                if size == seen:
                    what = f"has shown no sign of life for {self.timeout:g} s ({self.key})"
                    raise self._failure(what) from silent
                seen = size

    def _failure(self, what: str) -> WorkerError:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        return WorkerError(
            "\n".join([f"{self.module} {what}. The end of {self.log}:", *(f"  {line}" for line in lines)])
        )

    def _clear_temporary(self) -> None:
        if self._temporary.exists():
            shutil.rmtree(self._temporary)


def short_folder(workspace: Path) -> Path:
    """Return a worker's temporary folder: `tmp` in its workspace, or in the system's, if that has no room for sockets.

    The name is made of the workspace's, so that the next launch finds the folder and clears it.
    """
    inside = workspace.resolve() / "tmp"
    if len(os.fsencode(inside)) <= SOCKET_PATH - SOCKET_NAME:
        return inside
    return Path(tempfile.gettempdir()) / f"star_loop-{hashlib.sha256(os.fsencode(inside)).hexdigest()[:16]}"


def connect_to_parent() -> tuple["Messages", Send]:
    """Return the child's end: the messages, and how to reply. Whatever else the child prints goes to the log."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    end_with_parent(signal.SIGTERM)
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(message: Mapping[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    return Messages(), send


def end_with_parent(number: signal.Signals) -> None:
    """Have this process sent a signal when the thread that started it is gone; only on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


class Messages:
    """Messages from standard input; the thread that reads them ends the process when the parent is gone."""

    def __init__(self) -> None:
        self._received: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._kept: dict[str, Any] | None = None
        threading.Thread(target=self._read, daemon=True, name="reader").start()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each message, waiting for it."""
        while True:
            message, self._kept = self._kept or json.loads(self._received.get()), None
            yield message

    def waiting(self, operation: str, *, wait: bool) -> list[dict[str, Any]] | None:
        """Return what has come of one operation; None: something else has, which is the next of the messages.

        Args:
            operation: its name.
            wait: for a message, if there is none.
        """
        found: list[dict[str, Any]] = []
        while self._kept is None and (wait or not self._received.empty()):
            message = json.loads(self._received.get())
            if message["operation"] == operation:
                found.append(message)
            else:
                self._kept = message
            wait = False
        return found if found or self._kept is None else None

    def _read(self) -> None:
        try:
            for line in sys.stdin:
                self._received.put(line)
        except MemoryError:
            sys.stderr.write("MemoryError: a message does not fit into the memory that is left\n")
        _leave()


def _leave(*_: object) -> NoReturn:
    """End at once, whatever is being computed, and take the temporary directory along."""
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    os._exit(0)

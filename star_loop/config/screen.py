"""What a command shows and logs can go away while it works: a pipe, a terminal, a full disk. The work goes on."""

import errno
import io
import logging
import os
import select
import signal
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn, TextIO

logger = logging.getLogger(__name__)


class Screen(io.FileIO):
    """Standard output or standard error: what it can no longer take is dropped, and the log says so once.

    Unbuffered, since a buffered writer cannot be entered again by the log's own handlers.
    """

    def write(self, data: Any) -> int:
        """Write all of it, or nothing any more."""
        left = memoryview(data).cast("B")
        while len(left):
            try:
                written = super().write(left)
            except OSError as error:
                self._turn_away(error)
                break
            if written is None:  # a pipe that does not block is full
                select.select([], [self], [])
            else:
                left = left[written:]
        return len(memoryview(data).cast("B"))

    def _turn_away(self, error: OSError) -> None:
        descriptor = self.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)  # also for the processes that are started later
        os.close(nowhere)
        name = {1: "standard output", 2: "standard error"}.get(descriptor, f"file {descriptor}")
        if error.errno != errno.EPIPE:
            _lost[descriptor] = f"{name} cannot be written ({error.strerror})"
        _untold.append(f"{name} cannot be written any more ({error.strerror}): the work goes on without it")
        if any(isinstance(handler, LogFile) for handler in logging.getLogger().handlers):
            tell_what_is_gone()


class LogFile(logging.FileHandler):
    """A log that a full disk cuts short without stopping what it tells of; standard error says so once."""

    _complained = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, if that is possible."""
        try:
            super().emit(record)
        except OSError:  # it cannot even be opened
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Say once what is wrong."""
        if not self._complained:
            self._complained = True
            sys.stderr.write(f"WARNING: {self.baseFilename} cannot be written ({sys.exc_info()[1]}): it ends here\n")


_untold: list[str] = []
_lost: dict[int, str] = {}
"""Descriptors that took less than was to be shown, and why; not pipes, whose readers have seen enough."""


def tell_what_is_gone() -> None:
    """Log which screens went away before there was a log."""
    while _untold:
        logger.warning("%s", _untold.pop(0))


def outlive_screen() -> None:
    """Make this process, and those that it starts, indifferent to what becomes of its terminal and its pipes.

    A hangup (SIGHUP) is ignored; characters that the screen does not know are replaced. A stream that somebody else has
    put in the place of a standard one is left alone.
    """
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream: TextIO | None = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):
            lasting = _lasting(stream, descriptor)
            setattr(sys, name, lasting)
            setattr(sys, f"__{name}__", lasting)


def say_interrupted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in a line that Ctrl-C has ended a command, as `sys.excepthook`; a shell sees 130, as of every such end."""
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("\nInterrupted.\n")
    else:
        sys.__excepthook__(kind, error, trace)


def end(status: int) -> NoReturn:
    """End a command that shows what it has found: with 1, and a line that says so, where not all of it was shown."""
    sys.stdout.flush()
    if 1 in _lost:
        sys.stderr.write(f"star_loop: {_lost[1]}: what was to be shown is incomplete\n")
    sys.exit(status or int(1 in _lost))


def conclude(command: Callable[[], int]) -> NoReturn:
    """Run a command, which returns its exit code, and `end` it, also after `--help`."""
    try:
        status = command()
    except SystemExit as asked:  # of argparse, which has said why
        status = int(asked.code or 0)
    end(status)


def _lasting(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:  # it was closed; the next file that is opened must not take its number
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != descriptor:
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
        return io.TextIOWrapper(_raw(descriptor), "utf-8", errors="replace")
    stream.flush()
    return io.TextIOWrapper(_raw(descriptor), stream.encoding, errors="replace", line_buffering=True)


def _raw(descriptor: int) -> Any:
    return Screen(descriptor, "wb", closefd=False)

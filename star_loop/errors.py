"""What can go wrong in a run that is no mistake in the program; each carries its own explanation."""

import os
import sysconfig
import traceback
from argparse import ArgumentTypeError
from pathlib import Path


def counted(number: int, thing: str) -> str:
    """Write how many there are.

    Example:
        >>> counted(1, "text"), counted(1200, "worked example")
        ('1 text', '1,200 worked examples')
    """
    return f"{number:,} {thing}{'s' * (number != 1)}"


def natural(typed: str) -> int:
    """Read a number of things, for argparse.

    Raises:
        ArgumentTypeError: it is none, or less than 0.
    """
    if not typed.isdecimal():
        raise ArgumentTypeError(f"a whole number of at least 0 is wanted, not {typed!r}")
    return int(typed)


def a_path(typed: str) -> Path:
    """Read a path, for argparse.

    Raises:
        ArgumentTypeError: it is empty, as a shell's variable that is not set; Python would take the current folder. Or
            the system knows no path like it.
    """
    if not typed:
        raise ArgumentTypeError("it is empty: give a path")
    try:
        return looked_for(Path(typed))
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise ArgumentTypeError(f"{typed[:40]}…: {error.strerror}") from error


def looked_for(path: Path) -> Path:
    """Return a path that the system can look for; nothing need be there.

    Raises:
        OSError, ValueError: a name is too long or holds a NUL, or a folder may not be looked into.
    """
    try:
        os.lstat(path)
    except OSError as error:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise
    return path


class BootstrapError(RuntimeError):
    """The loop cannot go on learning: nothing was correct, or nothing moves. Says what to change."""


class ConfigError(ValueError):
    """A configuration that cannot be built; names the key, the value and the remedy."""


class EngineError(RuntimeError):
    """A generator failed: names the stage and shows the end of its log."""


class PolicyError(RuntimeError):
    """A sampler, an allocator or a selector broke a law of its protocol; names it, what it gave and what is wanted."""


class TrainingError(RuntimeError):
    """A fine-tuning round failed or did nothing; the last good model is kept."""


def outside(error: BaseException) -> Path | None:
    """Return the file of somebody's own component that an error passed through; None: this package called none.

    Installed packages do not count: their errors come of how they were called.
    """
    ours, found = Path(__file__).resolve().parent, None
    inside = False
    for frame, _ in traceback.walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename).resolve()
        if path.is_relative_to(ours):
            inside = True
        elif inside and path.is_file() and not _installed(path):
            found = path
    return found


def _installed(path: Path) -> bool:
    standard = Path(sysconfig.get_path("stdlib")).resolve()
    return path.is_relative_to(standard) or bool({"site-packages", "dist-packages"}.intersection(path.parts))

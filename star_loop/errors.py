"""What can go wrong in a run that is no mistake in the program; each carries its own explanation."""

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
        Path(typed).exists()
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise ArgumentTypeError(f"{typed[:40]}…: {error.strerror}") from error
    return Path(typed)


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
    """Return the file of somebody's own component in which an error began; None: it began in this package, or below it.

    What is installed beside this package does not count: its errors come of how it was called.
    """
    found, ours = None, False
    installed = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename)
        if path.resolve().is_relative_to(Path(__file__).resolve().parent):
            found, ours = None, True
        elif ours and path.is_file() and not any(path.resolve().is_relative_to(folder) for folder in installed):
            found = path
    return found

"""What can go wrong in a run that is no mistake in the program; each carries its own explanation."""

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


class TrainingError(RuntimeError):
    """A fine-tuning round failed or did nothing; the last good model is kept."""

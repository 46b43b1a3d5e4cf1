"""What was typed, as Hydra wants it: a value that its grammar refuses is a text, as a shell's user means it."""

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString, RangeSweep
from hydra.errors import HydraException

from star_loop.errors import ConfigError

LISTS = ("task.choices", "tags", "evaluation.external.tasks")
"""Keys of which commas separate the parts, not the values of a sweep."""
TEXTS = (*LISTS, "name", "notes")
"""Keys whose values are texts, also where they look like a number: `name=1.50`."""
_KEY = re.compile(r"\+{0,2}[A-Za-z_][\w.@/]*\Z")
_WRITTEN = ("[", "'", '"')


def decoded(arguments: Sequence[str]) -> list[str]:
    """Return what was typed as UTF-8 reads it, whatever the locale is.

    Raises:
        ConfigError: it is no UTF-8, so no file could hold it.
    """
    try:
        return [argument.encode("utf-8", "surrogateescape").decode() for argument in arguments]
    except UnicodeDecodeError as error:
        raise ConfigError(f"what was typed is not UTF-8: {ascii(error.object)[1:]}") from error


def grammatical(argument: str) -> str:
    """Quote the value of an override where Hydra could not read it, or would read a list as several values, a text as a
    number.

    Braces (`{passage} {q}`), `~/`, a second `=` and LaTeX so reach the configuration as they were typed. What is no
    override, or reads well, stays as it is.

    Example:
        >>> grammatical("task.question={passage} {q}"), grammatical("task.choices=a,b"), grammatical("seed=1,2")
        ("task.question='{passage} {q}'", "task.choices='a,b'", 'seed=1,2')
    """
    key, equals, value = argument.partition("=")
    if not equals or not _KEY.match(key):
        return argument
    several = key.lstrip("+") in LISTS and "," in value and not value.startswith(_WRITTEN)
    text = f"{key}={quoted(value)}"
    if several or (key.lstrip("+") in TEXTS and _is_number(argument)):
        return text
    return argument if _reads(argument) or not _reads(text) else text


def quoted(value: str) -> str:
    """Return a text in Hydra's grammar, whatever is in it."""
    return str(QuotedString(text=value, quote=Quote.single).with_quotes())


def empty_range(overrides: Sequence[str]) -> str | None:
    """Return an override of a sweep that gives no value, a range without a number; None: there is none.

    Raises:
        HydraException: one cannot be parsed.
    """
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if isinstance(override.value(), RangeSweep) and next(override.sweep_iterator(), None) is None:
            return str(override.input_line)
    return None


def _is_number(argument: str) -> bool:
    if not _reads(argument):
        return False
    override = OverridesParser.create().parse_override(argument)
    return not override.is_sweep_override() and isinstance(override.value(), int | float)


def _reads(argument: str) -> bool:
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    return True

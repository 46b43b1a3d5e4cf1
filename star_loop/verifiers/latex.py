"""What can be told of two mathematical answers at sight, without an algebra system."""

import re
from fractions import Fraction

from star_loop.verifiers.exact import normalise

_PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_SIZES = re.compile(r"\\(?:left|right|displaystyle)(?![A-Za-z])|\\!")
_FRACTION = re.compile(r"\\[dt]frac(?![A-Za-z])")
_LOOSE = re.compile(r" *([-+=*/^_(){}\[\]]) *")
_QUOTIENT = re.compile(r"(-?)(?:\\frac\{(-?[0-9]{1,99})\}\{(-?[0-9]{1,99})\}|([0-9]{1,99})(?:/([0-9]{1,99}))?)")


def plain(words: str) -> str | None:
    """A plain number in its one spelling; None: something else."""
    number = normalise(words.replace("\\$", "").replace("{,}", ",").replace("\\!", ""))
    return number if _PLAIN.fullmatch(number) else None


def equal_at_sight(one: str, other: str) -> bool | None:
    """Whether two answers are the same but for their typesetting, or two quotients of integers; None: cannot be told.

    Example:
        >>> [equal_at_sight("\\\\frac{1}{2}", x) for x in ("\\\\dfrac{1}{2}", "2/4", "\\\\frac{1}{3}", "0.5")]
        [True, True, False, None]
    """
    first, second = _typeset(one), _typeset(other)
    if first == second:
        return True
    values = _quotient(first), _quotient(second)
    return None if None in values else values[0] == values[1]


def _typeset(words: str) -> str:
    """Without what changes only how it looks: sizes of brackets and fractions, spaces around signs."""
    return _LOOSE.sub(r"\1", _FRACTION.sub(r"\\frac", _SIZES.sub("", words))).strip()


def _quotient(words: str) -> Fraction | None:
    match = _QUOTIENT.fullmatch(words)
    if match is None:
        return None
    above, below = int(match[2] or match[4]), int(match[3] or match[5] or 1)
    if not below:
        return None
    return Fraction(-above if match[1] else above, below)

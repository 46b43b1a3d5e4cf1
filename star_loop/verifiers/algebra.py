"""How Math-Verify is asked, and a second opinion on what it says: its rounding calls all tiny numbers equal.

Runs in the process that `math_process` keeps, never in the asker's.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

_CLOSE = 1e-5
"""Relative difference up to which a decimal fraction may stand for another number, if Math-Verify rounds them alike."""
_DIGITS = 30
_POINTS = ((70, 17), (131, 29))
"""Hundredths: the first name's value and what each further one adds, at each point where expressions are compared."""


def compare(gold: str, answers: Sequence[str]) -> bool | None:
    """Whether every answer equals the gold one; None: something in them is not mathematics."""
    try:
        parsed = [parse(text) for text in (gold, *answers)]
        if not all(parsed):
            return None
        return all(_equal(parsed[0], other) for other in parsed[1:])
    except Exception:  # of whatever the algebra system is asked to do
        return None


def _equal(gold: Sequence[Any], answer: Sequence[Any]) -> bool:
    """Whether Math-Verify calls them equal (a set and the relation that describes it, too), and no point differs."""
    from math_verify import verify

    return not _apart(gold[0], answer[0]) and verify(
        list(gold), list(answer), timeout_seconds=None, raise_on_error=True, allow_set_relation_comp=True
    )


def _apart(one: Any, other: Any) -> bool:
    """Whether two expressions in the same names differ at a point: then nothing has to be simplified."""
    sympy = import_module("sympy")
    if not all(isinstance(each, sympy.Expr) for each in (one, other)) or one.free_symbols != other.free_symbols:
        return False
    names = sorted(one.free_symbols, key=str)
    for first, step in _POINTS if names else _POINTS[:1]:
        point = {name: sympy.Rational(first + step * k, 100) for k, name in enumerate(names)}
        try:
            x, y = (each.subs(point).doit() for each in (one, other))
            if 0 in (x, y):
                return not (x - y).equals(0)
            x, y = x.evalf(_DIGITS), y.evalf(_DIGITS)
            if bool(abs(x - y) > _CLOSE * max(abs(x), abs(y))):
                return True
        except (TypeError, ValueError, ArithmeticError):  # no number there
            return False
    return False


@lru_cache(maxsize=4096)
def parse(text: str) -> tuple[Any, ...]:
    """What Math-Verify makes of LaTeX; nothing, where it cannot read it."""
    from math_verify import LatexExtractionConfig
    from math_verify import parse as read

    return tuple(read(f"${text}$", extraction_config=[LatexExtractionConfig()], parsing_timeout=None))

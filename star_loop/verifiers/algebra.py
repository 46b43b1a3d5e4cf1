"""How Math-Verify is asked, and a second opinion on what it says: its rounding calls all tiny numbers equal.

Runs in the process that `math_process` keeps, never in the asker's.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

from star_loop.verifiers.kinds import same_things

_CLOSE = 1e-5
"""Relative difference up to which a decimal fraction may stand for another number, if Math-Verify rounds them alike."""
_DIGITS = 30
_POINTS = ((70, 17), (131, 29))
"""Hundredths: the first name's value and what each further one adds, at each point where expressions are compared."""


def compare(gold: str, answers: Sequence[str]) -> bool | None:
    """Tell whether every answer equals the gold one; None: something in them is not mathematics."""
    try:
        return all(same_things(gold, answer, _asked) for answer in answers)
    except Exception:  # of whatever the algebra system is asked to do
        return None


def _asked(gold: str, answer: str) -> bool:
    return _equal(_read(gold), _read(answer))


def _read(text: str) -> tuple[Any, ...]:
    parsed = parse(text)
    if not parsed:
        raise ValueError(f"no mathematics: {text}")
    return parsed


def _equal(gold: Sequence[Any], answer: Sequence[Any]) -> bool:
    """Tell whether Math-Verify calls them equal (a set and the relation describing it, too), and no point differs."""
    from math_verify import verify

    if _is_constant(gold[0]) or _is_constant(answer[0]):
        return bool(gold[-1] == answer[-1])
    return not (_apart(gold[0], answer[0]) or _tiny_apart(gold[0], answer[0])) and verify(
        list(gold), list(answer), timeout_seconds=None, raise_on_error=True, allow_set_relation_comp=True
    )


def _apart(one: Any, other: Any) -> bool:
    """Tell whether two expressions in the same names differ at a point: then nothing has to be simplified."""
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


def _is_constant(one: Any) -> bool:
    """Tell whether this is a relation between numbers, such as `1=1`: it says no more than true or false."""
    sympy = import_module("sympy")
    return isinstance(one, sympy.logic.boolalg.Boolean) and not one.free_symbols


def _tiny_apart(one: Any, other: Any) -> bool:
    """Tell whether two relations or sets hold different tiny numbers, which Math-Verify rounds to zero."""
    sympy = import_module("sympy")
    if not all(isinstance(each, sympy.Basic) and not isinstance(each, sympy.Expr) for each in (one, other)):
        return False
    first, second = _tiny(one), _tiny(other)
    return len(first) != len(second) or any(
        bool(abs(x - y) > _CLOSE * abs(x)) for x, y in zip(first, second, strict=True)
    )


def _tiny(one: Any) -> list[Any]:
    """Return the tiny numbers in a relation or set, in their order."""
    sympy = import_module("sympy")
    if isinstance(one, sympy.Expr) and one.is_number:
        value = one.evalf(_DIGITS)
        return [value] if value.is_real and 0 < abs(value) < _CLOSE else []
    return sorted(value for part in getattr(one, "args", ()) for value in _tiny(part))


@lru_cache(maxsize=4096)
def parse(text: str) -> tuple[Any, ...]:
    """Return what Math-Verify makes of LaTeX; nothing, where it cannot read it."""
    from math_verify import LatexExtractionConfig
    from math_verify import parse as read

    return tuple(read(f"${text}$", extraction_config=[LatexExtractionConfig()], parsing_timeout=None))

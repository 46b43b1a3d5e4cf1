"""Mathematics evaluated at a few points, which tells most answers apart or equal without an algebra system.

Two expressions that differ at a point are different; two that are the same number, exactly or to 40 digits, at every
point where either is defined are taken as equal (Schwartz, Fast Probabilistic Algorithms, 1980). What lies between
cannot be told here, nor what is no expression of numbers, letters, roots, powers and elementary functions.
"""

from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache

from star_loop.verifiers import real_numbers
from star_loop.verifiers.real_numbers import Value
from star_loop.verifiers.terms import Point, Unknown, parsed

_PRECISION = 60
_EQUAL, _DIFFERENT, _APART, _TINY = (Decimal(bound) for bound in ("1e-40", "1e-15", "1e-4", "1e-30"))
"""Relative differences below which two irrational values are equal, and above which they differ: where none is rounded,
and where one may be; and what may be 0."""
_PLACES = (("13/7", "29/11"), ("2/9", "3/13"), ("-5/17", "-4/19"), ("-31/6", "37/5"))
"""Of each point: the first letter's value, and the factor to the next one's."""


def same_value(one: str, other: str) -> bool | None:
    """Tell whether two expressions in the spelling of `latex.spelt` are equal; None: cannot be told.

    Example:
        >>> [same_value("2\\\\sqrt{3}", x) for x in ("\\\\sqrt{12}", "2\\\\sqrt{2}", "3.4641016", "\\\\text{two}")]
        [True, False, None, None]
    """
    try:
        first, second = parsed(one), parsed(other)
    except (Unknown, RecursionError):
        return None
    letters = sorted(first.letters | second.letters)
    exact = "." not in one + other
    with localcontext(prec=_PRECISION, Emax=10**6, Emin=-(10**6)):
        found = [_equal(first.at(point), second.at(point), exact=exact) for point in _points(tuple(letters))]
    told = {each for each in found if each != "undefined"}
    if "unclear" in told or found.count("undefined") > len(found) - min(2, len(found)):
        return None
    if "apart" in told:
        return None if "i" in letters and not (_is_linear(one) and _is_linear(other)) else False
    return True


def _is_linear(text: str) -> bool:
    """Tell whether the imaginary unit, which is a letter here, has no square in an expression."""
    return text.count("i") <= 1 and not any(sign in text for sign in ("/", "^", "\\"))


def _equal(one: Value | None, other: Value | None, *, exact: bool) -> str:
    """`equal`, `apart`, `undefined` for both, or `unclear`: a decimal fraction may be a rounded number."""
    if one is None or other is None:
        return "undefined" if one is other else "unclear"
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        if one == other:
            return "equal"
        return "apart" if exact or abs(one - other) > Fraction(_APART) * max(abs(one), abs(other)) else "unclear"
    x, y = real_numbers.decimal(one), real_numbers.decimal(other)
    if min(abs(x), abs(y)) < _TINY:
        return "unclear"
    difference = abs(x - y) / max(abs(x), abs(y))
    if difference < _EQUAL:
        return "equal"
    return "apart" if difference > (_DIFFERENT if exact else _APART) else "unclear"


@lru_cache(maxsize=512)
def _points(letters: tuple[str, ...]) -> tuple[Point, ...]:
    places = [(Fraction(first), Fraction(factor)) for first, factor in _PLACES]
    found = [{name: first * factor**k for k, name in enumerate(letters)} for first, factor in places]
    return tuple(found if letters else found[:1])

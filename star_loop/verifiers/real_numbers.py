"""Arithmetic on real numbers: exact on fractions, to 60 digits on the rest, and never long."""

from decimal import Decimal
from fractions import Fraction
from math import comb, factorial

Value = Fraction | Decimal
"""Exact, or to the precision of the context."""
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803")
_POWER, _BITS, _ARGUMENT = 2000, 20_000, 200
"""The largest whole exponent, size of a power in bits, and argument of a factorial or root."""
_FARTHEST = 10**6
"""The largest argument of a circular function."""


class Undefined(ArithmeticError):
    """There is no real number, or it is out of bounds."""


def decimal(value: Value) -> Decimal:
    """Return it to the precision of the context."""
    return value if isinstance(value, Decimal) else Decimal(value.numerator) / value.denominator


def absolute(value: Value) -> Value:
    """Return the value without its sign."""
    return -value if value < 0 else value


def add(one: Value, other: Value) -> Value:
    """Return the sum."""
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one + other
    return decimal(one) + decimal(other)


def multiply(one: Value, other: Value) -> Value:
    """Return the product."""
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one * other
    return decimal(one) * decimal(other)


def divide(one: Value, other: Value) -> Value:
    """Return the quotient."""
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one / other
    return decimal(one) / decimal(other)


def power(base: Value, exponent: Value) -> Value:
    """Return the power, of a negative number a whole one only."""
    if isinstance(exponent, Decimal):
        return _positive(base) ** exponent
    if exponent.denominator > 1:
        whole = root(base, Fraction(exponent.denominator))
        return power(whole, Fraction(exponent.numerator))
    if abs(exponent) > _POWER or (not base and exponent <= 0):
        raise Undefined
    if isinstance(base, Fraction):
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if bits * abs(exponent) > _BITS:
            raise Undefined
        return base ** int(exponent)
    return base ** int(exponent)


def _positive(value: Value) -> Decimal:
    if value <= 0:
        raise Undefined
    return decimal(value)


def root(value: Value, degree: Value) -> Value:
    """Return the root: exact where it is a fraction."""
    if not isinstance(degree, Fraction) or degree.denominator > 1 or not 1 <= degree <= _ARGUMENT or value < 0:
        raise Undefined
    if not value:
        return value
    found = decimal(value).sqrt() if degree == 2 else decimal(value) ** (1 / decimal(degree))
    if isinstance(value, Fraction) and value.numerator < 10**30 and value.denominator < 10**30:
        above, below = (_whole_root(part, int(degree)) for part in (value.numerator, value.denominator))
        if above and below:
            return Fraction(above, below)
    return found


def _whole_root(number: int, degree: int) -> int | None:
    guess = round(float(number) ** (1 / degree))
    return next((near for near in range(max(1, guess - 1), guess + 2) if near**degree == number), None)


def factorial_of(value: Value) -> Value:
    """Return the factorial of a small whole number."""
    return Fraction(factorial(_count(value)))


def binomial(one: Value, other: Value) -> Value:
    """Return the binomial coefficient of small whole numbers."""
    return Fraction(comb(_count(one), _count(other)))


def _count(value: Value) -> int:
    if not isinstance(value, Fraction) or value.denominator > 1 or not 0 <= value <= _ARGUMENT:
        raise Undefined
    return int(value)


def logarithm(value: Value) -> Value:
    """Return the natural logarithm."""
    return _positive(value).ln() if value != 1 else Fraction(0)


def exponential(value: Value) -> Value:
    """Return the power of Euler's number."""
    if absolute(value) > _POWER:
        raise Undefined
    return decimal(value).exp()


def sine(value: Value) -> Value:
    """Return the sine, by its series."""
    angle = decimal(value)
    if abs(angle) > _FARTHEST:
        raise Undefined
    angle %= 2 * PI
    term, total, k = angle, Decimal(0), 1
    while total + term != total:
        total += term
        term *= -angle * angle / ((k + 1) * (k + 2))
        k += 2
    return total


def cosine(value: Value) -> Value:
    """Return the cosine."""
    return sine(decimal(value) + PI / 2)


FUNCTIONS = {
    r"\sin": sine,
    r"\cos": cosine,
    r"\tan": lambda value: divide(sine(value), cosine(value)),
    r"\cot": lambda value: divide(cosine(value), sine(value)),
    r"\sec": lambda value: divide(Fraction(1), cosine(value)),
    r"\csc": lambda value: divide(Fraction(1), sine(value)),
    r"\ln": logarithm,
    r"\exp": exponential,
}
"""By their names in LaTeX."""

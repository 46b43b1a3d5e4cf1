"""The 95 % interval of a mean over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean over `n` runs; of one run, its own interval, whose ends are None where it has none."""

    value: float
    low: float | None
    high: float | None
    n: int


def mean(values: Sequence[float], own: tuple[float, float] | None = None) -> Mean | None:
    """Return the mean of shares in [0, 1] with Student's 95 % interval, cut to [0, 1]; None: no values.

    Args:
        values: one of each run.
        own: the first run's own interval, which is shown where it is the only one.

    Example:
        >>> m = mean([0.4, 0.5, 0.6])
        >>> round(m.low, 3), m.value, round(m.high, 3)
        (0.252, 0.5, 0.748)
    """
    n = len(values)
    if not n:
        return None
    middle = math.fsum(values) / n
    if n == 1:
        low, high = own or (None, None)
        return Mean(value=middle, low=low, high=high, n=1)
    half = half_width(values)
    return Mean(value=middle, low=max(0.0, middle - half), high=min(1.0, middle + half), n=n)


def half_width(values: Sequence[float]) -> float:
    """Return half of Student's 95 % interval of the mean of at least two values."""
    n = len(values)
    middle = math.fsum(values) / n
    error = math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (n - 1) / n)
    return student_quantile(n - 1) * error


def student_quantile(freedom: int, confidence: float = 0.95) -> float:
    """Return the t with P(|T| ≤ t) = `confidence` for so many degrees of freedom, by bisection.

    Example:
        >>> round(student_quantile(1), 3), round(student_quantile(9), 3)
        (12.706, 2.262)
    """
    low, high = 0.0, math.pi / 2  # of the angle arctan(t / √ν)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < confidence else (low, middle)
    return math.tan(low) * math.sqrt(freedom)


def _within(angle: float, freedom: int) -> float:
    """P(|T| ≤ √ν · tan(angle)): Abramowitz and Stegun, eqs. 26.7.3 and 26.7.4."""
    odd, sine, cosine = freedom % 2, math.sin(angle), math.cos(angle)
    term, series = (cosine if odd else 1.0), 0.0
    for k in range(1 + odd, freedom, 2):
        series += term
        term *= cosine**2 * k / (k + 1)
    return (angle + sine * series) * 2 / math.pi if odd else sine * series

"""How quantities and texts are written for people, on screens and pages; an en dash where one is missing."""

from collections.abc import Mapping
from typing import Any

MISSING = "–"
LONGEST = 2000
"""Characters of a text that a page shows."""


def visible(text: str | None, longest: int | None = LONGEST) -> str:
    """Return a text as it can be shown: control characters as their pictures (U+2400…), cut where it is longer.

    Example:
        >>> visible("\\x1b[31mred"), visible(None), visible("long", longest=2)
        ('␛[31mred', '–', 'lo … (2 more characters)')
    """
    if text is None:
        return MISSING
    shown = "".join(map(_seen, text[:longest]))
    return shown if longest is None or len(text) <= longest else f"{shown} … ({len(text) - longest:,} more characters)"


def _seen(character: str) -> str:
    if character in "\n\t" or not (ord(character) < 32 or 0x7F <= ord(character) < 0xA0):
        return character
    return (
        chr(0x2400 + ord(character))
        if ord(character) < 32
        else "␡"
        if character == "\x7f"
        else "\N{REPLACEMENT CHARACTER}"
    )


def asked(settings: Mapping[str, Any]) -> str:
    """Return how the questions of training and evaluation are put, by a run's settings.

    Example:
        >>> asked({"task": {"bare_shots": 3}}), asked({"model": {"chat_template": True}})
        ('after 3 worked examples', 'zero-shot, in the chat template')
    """
    task, model = (settings.get(part) or {} for part in ("task", "model"))
    shots = task.get("bare_shots") or 0
    said = f"after {shots} worked example{'s' * (shots != 1)}" if shots else "zero-shot"
    return said + (", in the chat template" if model.get("chat_template") else "")


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share in [0, 1] as per cent.

    Example:
        >>> percent(0.4125), percent(None)
        ('41.2 %', '–')
    """
    return MISSING if share is None else f"{100 * share:.{digits}f} %"


def interval(low: float | None, high: float | None) -> str:
    """Return an interval of shares in per cent, without the sign.

    Example:
        >>> interval(0.391, 0.434)
        '39.1–43.4'
    """
    return MISSING if low is None or high is None else f"{100 * low:.1f}–{100 * high:.1f}"


def points(change: float | None) -> str:
    """Return a difference of two shares in percentage points, always signed.

    Example:
        >>> points(0.0412), points(-0.5)
        ('+4.1', '−50.0')
    """
    return MISSING if change is None else f"{100 * change:+.1f}".replace("-", "−")


def count(number: float | None) -> str:
    """Return a number of things; from ten thousand on, three significant digits and a unit prefix.

    Example:
        >>> count(1234), count(12_345), count(3_400_000)
        ('1,234', '12.3k', '3.4M')
    """
    if number is None:
        return MISSING
    if abs(number) < 10_000:
        return f"{number:,.0f}"
    for size, prefix in ((1e3, "k"), (1e6, "M"), (1e9, "G")):
        if abs(number) < 999.5 * size:
            return f"{number / size:.3g}{prefix}"
    return f"{number / 1e12:.3g}T"


def scientific(number: float | None) -> str:
    """Return a large number, such as FLOPs, to three significant digits.

    Example:
        >>> scientific(34_120_000_000_000)
        '3.41e13'
    """
    if number is None:
        return MISSING
    mantissa, exponent = f"{number:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}" if number else "0"


def duration(seconds: float | None) -> str:
    """Write a time span.

    Example:
        >>> duration(4.21), duration(83), duration(7384)
        ('4.2 s', '1:23', '2:03:04')
    """
    if seconds is None:
        return MISSING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

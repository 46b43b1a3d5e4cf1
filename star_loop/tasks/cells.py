"""One row, and the values in it: where they stand, and how they are written."""

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any

Row = Mapping[str, Any]
_SURROGATE = re.compile("[\ud800-\udfff]")
_EXPONENT = 400
"""Decimal places of a number, before and behind the point."""


class RowError(ValueError):
    """A row that cannot be used: names file, line or row, and column."""


def pick(row: Row, column: str, place: str) -> Any:
    """Return the value under a column; dots reach into nested values, and into one (`a.0`) or every element of a list.

    Raises:
        RowError: there is no such column.

    Example:
        >>> row = {"q": {"stem": "?", "choices": [{"text": "a"}, {"text": "b"}]}}
        >>> pick(row, "q.stem", "here"), pick(row, "q.choices.text", "here")
        ('?', ['a', 'b'])
    """
    if column in row:
        return row[column]
    value: Any = row
    for name in column.split("."):
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, list) and all(isinstance(item, Mapping) and name in item for item in value):
            value = [item[name] for item in value]
        else:
            known = ", ".join(map(repr, value)) if isinstance(value, Mapping) else kind(value)
            raise RowError(f"{place}, column {column!r}: there is no {name!r}; found {known}")
    return value


def text(value: Any, column: str, place: str) -> str:
    """Return a value that must be text or a number and not empty, as text; yes and no for booleans, dates as ISO 8601.

    Raises:
        RowError: it is missing, empty, a list or an object, no finite number, or text that UTF-8 cannot write.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, date | time):  # of Parquet; elsewhere they are texts
        return str(value)
    if isinstance(value, int) and value.bit_length() > _EXPONENT * math.log2(10):
        raise RowError(f"{place}, column {column!r}: a number of more than {_EXPONENT:,} places")
    if not isinstance(value, str | int | float | Decimal) or not _finite(value) or not str(value).strip():
        raise RowError(f"{place}, column {column!r}: expected text or a number, found {kind(value)}")
    found = str(value).strip() if isinstance(value, str | int) else plain(Decimal(str(value)), column, place)
    if _SURROGATE.search(found):
        raise RowError(f"{place}, column {column!r}: half of a surrogate pair is no text: repair the file's encoding")
    return found


def plain(number: Decimal, column: str, place: str) -> str:
    """Return a number in plain decimal, digit by digit as it was written.

    Raises:
        RowError: it has more than 400 places.

    Example:
        >>> plain(Decimal("1e22"), "answer", "here")
        '10000000000000000000000'
    """
    if abs(number.adjusted()) > _EXPONENT:
        raise RowError(
            f"{place}, column {column!r}: {number} has more than {_EXPONENT:,} places before or behind its point"
        )
    return format(number, "f")


def _finite(value: str | float | Decimal) -> bool:
    return value.is_finite() if isinstance(value, Decimal) else isinstance(value, str) or math.isfinite(value)


def kind(value: Any) -> str:
    """Say what a value is, for messages."""
    names: dict[type, Callable[[Any], str]] = {
        dict: lambda v: f"an object with {', '.join(map(repr, v)) or 'nothing'}",
        list: lambda v: f"a list of {len(v)}",
        str: lambda v: f"the text {v[:40]!r}",
        type(None): lambda _: "nothing",
    }
    return names.get(type(value), repr)(value)

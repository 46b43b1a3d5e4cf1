"""One JSON object for each record, one record on each line."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints


class RecordError(ValueError):
    """A row on disk that is not what it should be; names the record and the field."""


class Record:
    """One JSON object per record, with exactly the declared fields."""

    __slots__ = ()

    def to_json(self) -> str:
        """Write one line of JSON without a newline; keys in declaration order, so equal records are equal bytes."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read the record that `to_json` wrote.

        Raises:
            RecordError: not JSON, or not exactly this record's fields.
        """
        row = parse(line)
        names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
        if not isinstance(row, dict) or set(row) != set(names):
            found = sorted(row) if isinstance(row, dict) else type(row).__name__
            raise RecordError(f"not a {cls.__name__}: expected the fields {names}, found {found}")
        for name, kinds in _kinds(cls).items():  # type: ignore[arg-type]
            if type(row[name]) not in kinds or (type(row[name]) is float and not math.isfinite(row[name])):
                raise RecordError(f"not a {cls.__name__}: {name} is {row[name]!r}")
        for name in _numbers(cls):  # type: ignore[arg-type]
            if not all(type(item) is int for item in row[name] or ()):
                raise RecordError(f"not a {cls.__name__}: {name} has what is no whole number")
        return cls(**row)


def parse(line: str) -> Any:
    """Read the JSON value of a line.

    Raises:
        RecordError: it is none.
    """
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not a JSON object ({error})") from error


@cache
def _kinds(record: type) -> Mapping[str, tuple[type, ...]]:
    """Return what JSON makes of each field: a whole number may stand for a float, a list for a tuple."""
    found = {}
    for name, hint in get_type_hints(record).items():
        kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        plain = {get_origin(kind) or kind for kind in kinds}
        json_kinds = {float: (float, int), tuple: (list,), Mapping: (dict,)}
        found[name] = tuple(kind for one in plain for kind in json_kinds.get(one, (one,)))
    return found


@cache
def _numbers(record: type) -> Sequence[str]:
    """Return the fields that hold lists of whole numbers."""
    return [name for name, hint in get_type_hints(record).items() if list[int] in (hint, *get_args(hint))]

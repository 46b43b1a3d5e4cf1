"""Options in the many ways that data sets write them."""

import json
import re
from collections.abc import Mapping
from typing import Any

from star_loop.tasks.cells import RowError, text
from star_loop.verifiers.multiple_choice import LETTERS

_LETTER = re.compile(r"\(?([A-Za-z])[).:]\s*(?=\S)")
_LETTERED = re.compile(r"(?<!\S)\(?(?P<letter>[A-Za-z])[).:]\s*(?=\S)")

_LABELS = ("label", "labels", "key", "id")


def choices_of(value: Any, column: str, place: str) -> tuple[str, ...]:
    """Return the words of the options, without letters before them.

    A list of texts, or of objects with `text`; an object `{"text": […]}` or `{"A": …, "B": …}`; or a text: JSON of
    these, one option per line, separated by `|`, or `(A) … (B) …`.

    Raises:
        RowError: none of these, fewer than two options, or more than the alphabet has letters.

    Example:
        >>> [choices_of(v, "c", "here") for v in (["A)1", "B)2"], "x|y", "(a) one (b) two", {"A": "p", "B": "q"})]
        [('1', '2'), ('x', 'y'), ('one', 'two'), ('p', 'q')]
    """
    found = _without_letters([text(option, column, place) for option in _options(value)])
    if not 2 <= len(found) <= len(LETTERS):
        raise RowError(f"{place}, column {column!r}: {len(found)} options: expected 2 to {len(LETTERS)}")
    return tuple(found)


def _options(value: Any) -> list[Any]:
    if isinstance(value, str):
        return _from_text(value.strip())
    if isinstance(value, Mapping):
        return list(value["text"] if isinstance(value.get("text"), list) else value.values())
    if isinstance(value, list):
        return [option["text"] if isinstance(option, Mapping) and "text" in option else option for option in value]
    return []


def labels_of(value: Any) -> tuple[str, ...]:
    """The labels of options that are objects: `label`, `key` or `id` beside their `text`, or their keys; else none.

    Example:
        >>> labels_of({"text": ["wood", "iron"], "label": ["1", "2"]}), labels_of({"A": "p", "B": "q"})
        (('1', '2'), ('A', 'B'))
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return ()
    if isinstance(value, Mapping) and not isinstance(value.get("text"), list):
        return tuple(map(str, value))
    for name in _LABELS:
        if isinstance(value, Mapping) and isinstance(value.get(name), list):
            return tuple(map(str, value[name])) if len(value[name]) == len(value["text"]) else ()
        if isinstance(value, list) and value and all(isinstance(each, Mapping) and name in each for each in value):
            return tuple(str(each[name]) for each in value)
    return ()


def _from_text(value: str) -> list[Any]:
    if value[:1] in ("[", "{"):
        try:
            return _options(json.loads(value))
        except (ValueError, RecursionError):
            return []
    for separator in ("\n", "|"):
        if separator in value:
            return [part.strip() for part in value.split(separator) if part.strip()]
    marks: list[re.Match[str]] = []
    for match in _LETTERED.finditer(value):
        if match["letter"].upper() == LETTERS[len(marks) % len(LETTERS)]:
            marks.append(match)
    ends = [*(match.start() for match in marks[1:]), len(value)][: len(marks)]
    return [value[match.end() : end].strip(" ,;") for match, end in zip(marks, ends, strict=True)]


def _without_letters(options: list[str]) -> list[str]:
    matches = [_LETTER.match(option) for option in options]
    lettered = all(m and m[1].upper() == letter for m, letter in zip(matches, LETTERS, strict=False))
    return [option[m.end() :] for option, m in zip(options, matches, strict=True) if m] if lettered else options

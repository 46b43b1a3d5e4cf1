"""Programs in fenced blocks of Markdown, as models write them: also in lists, and behind other blocks."""

import re
from collections.abc import Iterator, Sequence

_PYTHON = ("python", "python3", "py", "py3")
_FENCE = re.compile(r"(?P<before>[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)*)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)")
"""A line that opens or closes a block, perhaps the first one of a list's item."""
_WITHIN = re.compile(r"(?P<before>[^`]*)(?P<fence>```)(?P<info>[ \t]*(?:python3?|py3?)?[ \t]*)", re.IGNORECASE)
"""A line of text or code behind which a block opens or closes."""
_LANGUAGE = re.compile(r"[\s{.]*([\w+#-]*)")
_DEEPER = 3
"""Spaces by which the end of a block may be further in than its beginning."""


def program(text: str) -> str | None:
    """Return the last fenced block of Python that is closed; where none is said to be Python, the last of no language.

    Example:
        >>> program("Try:\\n```python\\nx = 1\\n```\\nIt prints\\n```text\\n1\\n```")
        'x = 1\\n'
    """
    found = list(blocks(text))
    python = [code for language, code in found if language in _PYTHON]
    return next(reversed(python or [code for language, code in found if not language]), None)


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the language of each closed block, in lower case, and its lines without the indentation of its fence."""
    opened: re.Match[str] | None = None
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        fence = _FENCE.fullmatch(line) or _WITHIN.fullmatch(line)
        if fence is None or (opened is not None and not _closes(fence, opened)):
            lines.append(line)
            continue
        if opened is not None:
            last = [fence["before"]] if fence["before"].strip() else []
            yield _language(opened), "".join(f"{each}\n" for each in _unindented([*lines, *last], opened))
        # What was never closed ends where the next program begins.
        opened, lines = (fence if opened is None or _language(fence) in _PYTHON else None), []


def _closes(fence: re.Match[str], opened: re.Match[str]) -> bool:
    further = fence.re is _FENCE and len(fence["before"]) > len(opened["before"]) + _DEEPER
    return fence["fence"].startswith(opened["fence"]) and not further


def _language(fence: re.Match[str]) -> str:
    found = _LANGUAGE.match(fence["info"])
    return found[1].lower() if found else ""


def _unindented(lines: Sequence[str], opened: re.Match[str]) -> list[str]:
    """Take away the fence's indentation, as far as all lines have it."""
    own = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    width = min([len(opened["before"]) if opened.re is _FENCE else 0, *own])
    return [line[width:] for line in lines]

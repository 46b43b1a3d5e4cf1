"""The rows that are kept, and the table that they make."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.measuring import REPETITIONS, Row, in_words, readable

RESULTS = Path(__file__).parent / "results"
MARKS = "<!-- speed: {size} -->\n", "<!-- end of speed: {size} -->"
HEAD = "| what | ours | compared with | its | figure | goal | |\n|---|---|---|---|---|---|---|\n"
GROUPS = ("generation", "collecting", "training", "memory", "iterations", "starting")
"""Modules of this package with `rows(size, work)`, in the table's order."""


def keep(size: str, group: str, found: Mapping[str, Any]) -> None:
    """Put a group's rows in the place of its earlier ones."""
    kept = read(size) | {group: dict(found)}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{size}.json"
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(size: str) -> dict[str, Any]:
    """By group: `conditions` and `rows`."""
    path = RESULTS / f"{size}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def write(size: str) -> str:
    """The table in Markdown, also as a file beside the results."""
    text = markdown(size)
    (RESULTS / f"{size}.md").write_text(text, encoding="utf-8")
    return text


def put(document: Path, size: str) -> None:
    """Replace what stands between the document's marks with the table.

    Raises:
        ValueError: the document lacks them.
    """
    begin, end = (mark.format(size=size) for mark in MARKS)
    text = document.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise ValueError(f"{document} has no lines {begin.strip()!r} and {end!r}: put them where the table belongs")
    before, after = text.partition(begin)[0], text.partition(end)[2]
    document.write_text(before + begin + markdown(size) + end + after, encoding="utf-8")


def markdown(size: str) -> str:
    """Every kept row with its goal and verdict, and under which conditions they were measured."""
    kept = {group: found for group in GROUPS if (found := read(size).get(group))}
    rows = [Row.read(fields) for found in kept.values() for fields in found["rows"]]
    under: dict[tuple[str, str, str], list[str]] = {}
    for group, found in kept.items():
        c = found["conditions"]
        under.setdefault((c["date"][:10], c["machine"], c["packages"]), []).append(group)
    return HEAD + "".join(map(line, rows)) + "\n" + sentences(under)


def line(row: Row) -> str:
    """One row: medians, and of the figure also the least and the largest."""
    spread = f"{readable(min(row.figures))}–{readable(max(row.figures))}"
    goal = "–" if row.goal is None else f"{'≥' if row.at_least else '≤'} {readable(row.goal)} {row.per}"
    cells = [
        row.what, in_words(row.ours, row.unit), row.against or "–", in_words(row.theirs, row.unit),
        f"**{readable(row.figure)} {row.per}** ({spread})", goal, "; ".join(filter(None, (row.verdict, row.remark))),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |\n"


def sentences(under: Mapping[tuple[str, str, str], Sequence[str]]) -> str:
    """Conditions; more than one sentence where the groups were measured under different ones."""
    lines = []
    for (date, machine, packages), groups in under.items():
        which = f" ({', '.join(groups)})" if len(under) > 1 else ""
        lines.append(f"Medians of {REPETITIONS} (least–largest), alternated{which}: {machine}, {packages}, {date}.\n")
    return "".join(lines)

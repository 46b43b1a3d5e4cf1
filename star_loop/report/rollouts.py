"""The rollouts of a run beside their questions: those that are asked for, and a sample that fits on a page."""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import chain, zip_longest
from typing import Any

from star_loop.records import Rollout
from star_loop.report.files import table
from star_loop.run.directory import IterationDirectory, RunDirectory
from star_loop.tasks.survey import FIELDS

KINDS = ("right", "right, but without full marks", "wrong", "hinted")
MOST, MOST_ITERATIONS = 180, 20
"""Rollouts of a sample, and iterations that they come from."""


def kind(rollout: Rollout) -> str:
    """Name what a rollout is an example of: one of `KINDS`."""
    if rollout.hinted:
        return "hinted"
    if not rollout.correct:
        return "wrong"
    return "right" if rollout.score in (None, 1.0) else "right, but without full marks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A rollout with the iteration that it is of, and with what was asked; what is not known of that is None."""

    iteration: int
    split: str
    """`train`, `validation` or `test`."""
    rollout: Rollout
    question: str | None = None
    answer: str | None = None
    skill: str | None = None
    level: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rollouts are asked for; what is None is not looked at. Texts are found in any case of their letters."""

    correct: bool | None = None
    unread: bool | None = None
    """Whether no answer was found."""
    cut_off: bool | None = None
    hinted: bool | None = None
    reason: str | None = None
    """A part of the verifier's words."""
    text: str | None = None
    """A part of the question, the rationale or the answer."""
    skill: str | None = None
    level: int | None = None
    attempt: int | None = None
    id: str | None = None
    shortest: int | None = None
    """Tokens of the rationale, at least; `longest`: at most."""
    longest: int | None = None

    def fits(self, seen: Seen) -> bool:
        """Tell whether a rollout is one of those."""
        r = seen.rollout
        same = {
            "correct": r.correct, "unread": r.answer is None, "cut_off": r.finish == "length", "hinted": r.hinted,
            "skill": seen.skill, "level": seen.level, "attempt": r.attempt, "id": r.id,
        }  # fmt: skip
        return (
            all(getattr(self, name) in (None, value) for name, value in same.items())
            and (self.shortest is None or r.tokens >= self.shortest)
            and (self.longest is None or r.tokens <= self.longest)
            and _within(self.reason, r.how)
            and _within(self.text, seen.question, r.text, r.answer)
        )


def _within(part: str | None, *texts: str | None) -> bool:
    return part is None or any(part.casefold() in text.casefold() for text in texts if text)


def observations(run: RunDirectory, where: Sequence[tuple[str, str, Any]]) -> dict[str, dict[str, Any]]:
    """Return question, answer, skill and level by id, of the rows that Parquet's filters let through.

    Raises:
        RunError: the file cannot be read.
    """
    rows = table(run.path, list(FIELDS), list(where))
    return {row.pop("id"): row for row in rows}


def rollouts(iteration: IterationDirectory, split: str, known: Mapping[str, Mapping[str, Any]]) -> Iterator[Seen]:
    """Read the judged rollouts of a split, in their order: of `train` all waves, else the evaluation, if it was due.

    Raises:
        RunError: names the line that is damaged.
    """
    names = iteration.waves if split == "train" else ["evaluation" if split == "test" else split]
    for rollout in chain.from_iterable(iteration.judged(name) for name in names):
        yield Seen(iteration=iteration.number, split=split, rollout=rollout, **known.get(rollout.id, {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Some of many rollouts: the same number of each kind and iteration, as far as there are so many."""

    total: int
    """Rollouts of these iterations."""
    iterations: Sequence[int]
    chosen: Sequence[Seen]
    """The newest iteration comes first."""

    @property
    def kinds(self) -> list[str]:
        """List the kinds of the chosen rollouts."""
        found = {kind(seen.rollout) for seen in self.chosen}
        return [name for name in KINDS if name in found]

    def values(self, name: str) -> list[Any]:
        """List the different values that a field of the chosen rollouts, or of what was asked, has."""
        found = {getattr(seen.rollout if hasattr(seen.rollout, name) else seen, name) for seen in self.chosen}
        return sorted(found - {None})


def sample(run: RunDirectory, most: int = MOST, told: Callable[[Seen], None] | None = None) -> Sample:
    """Draw a sample of what was collected, and of the base model's answers to the test split.

    A rollout is chosen by a hash of its name: which of them fall into the sample does not depend on what they say.
    `told` is told of every rollout that is read, so that nobody need read them again.

    Raises:
        RunError: a file that cannot be read.
    """
    latest = run.latest()
    numbers = _spread(latest.number + 1 if latest else 0)
    cells: dict[tuple[int, str], _Least] = {}
    total = 0
    for number in numbers:
        split = "train" if number else "test"
        for seen in rollouts(run.iteration(number), split, {}):
            total += 1
            if told:
                told(seen)
            least = cells.setdefault((number, kind(seen.rollout)), _Least(most // len(numbers)))
            least.add(seen)
    ranks = chain.from_iterable(zip_longest(*(cell.seen() for cell in cells.values())))
    chosen = [seen for seen in ranks if seen is not None][:most]
    chosen.sort(key=lambda seen: (-seen.iteration, KINDS.index(kind(seen.rollout))))
    return Sample(total=total, iterations=numbers, chosen=_with_questions(run, chosen))


def _spread(count: int) -> list[int]:
    """Choose iterations below `count`, the first and the last among them, in even steps."""
    steps = min(count, MOST_ITERATIONS) - 1
    return [round(k * (count - 1) / steps) for k in range(steps + 1)] if steps > 0 else list(range(count))


@dataclass(slots=True)
class _Least:
    """The rollouts with the least hashes, at most `most` of those that were added."""

    most: int
    heap: list[tuple[int, int, Seen]] = field(default_factory=list)
    added: int = 0

    def add(self, seen: Seen) -> None:
        r = seen.rollout
        name = f"{r.id}/{r.attempt}/{r.sample}".encode("utf-8", "surrogatepass")
        self.added += 1
        entry = (-int.from_bytes(blake2b(name, digest_size=8).digest()), -self.added, seen)
        if len(self.heap) < self.most:
            heapq.heappush(self.heap, entry)
        else:
            heapq.heappushpop(self.heap, entry)

    def seen(self) -> list[Seen]:
        return [seen for *_, seen in sorted(self.heap, key=lambda entry: entry[:2], reverse=True)]


def _with_questions(run: RunDirectory, chosen: Sequence[Seen]) -> list[Seen]:
    ids = [seen.rollout.id for seen in chosen]
    known = observations(run, [("id", "in", ids)]) if ids else {}
    return [replace(seen, **known.get(seen.rollout.id, {})) for seen in chosen]

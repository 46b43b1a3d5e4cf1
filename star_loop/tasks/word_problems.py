"""Word problems from templates: chains of small additions, subtractions and doublings, told as stories.

A question has as many steps as its level, and a rationale writes one equation for each:

    Q: Ann has 8 apples. Ann buys 5 more. Ann gives away 3. How many apples does Ann have now?
    A: 8 + 5 = 13. 13 - 3 = 10.
    #### 10

No chain of equations occurs in two splits. The plot `retold` tells the same kinds of chains in words and settings
that no training question has; it is measured and never trained on.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from star_loop.protocols import Verifier
from star_loop.records import Observation
from star_loop.seeding import rng
from star_loop.tasks.prompting import EXEMPLARS, Prompted
from star_loop.tasks.splitting import MOST_DRAWN
from star_loop.verifiers.chain import Chain

NAMES = ("Ann", "Ben", "Carla", "David", "Emma", "Farid", "Greta", "Hugo", "Ines", "Jon", "Kim", "Leo", "Maya", "Nils")
THINGS = ("apples", "pencils", "marbles", "stamps", "shells", "cards", "books", "coins")
_PATIENCE = 1000
"""Draws without a new problem after which a plot's level counts as exhausted."""


@dataclass(frozen=True, slots=True)
class Plot:
    """The sentences in which a chain is told.

    They may name `{n}` (the number of the step), `{things}`, `{first}` (the first person), `{who}` (the person of this
    step) and `{before}` (the person of the step before).
    """

    opening: Sequence[str]
    more: Sequence[str]
    question: Sequence[str]
    fewer: Sequence[str] = ()
    twice: Sequence[str] = ()
    highest: int = 99
    """No quantity on the way is larger."""


PLOTS: Mapping[str, Plot] = {
    "sum": Plot(
        opening=("Compute {n}", "What is {n}", "Work out {n}"),
        more=("+ {n}",),
        fewer=("- {n}",),
        question=("?", "= ?"),
    ),
    "together": Plot(
        opening=("{first} has {n} {things}.", "{first} brings {n} {things}."),
        more=("{who} has {n} {things}.", "{who} brings {n} {things}."),
        question=("How many {things} do they have together?", "How many {things} are there in all?"),
        highest=999,
    ),
    "story": Plot(
        opening=("{first} has {n} {things}.", "{first} starts the day with {n} {things}."),
        more=("{first} buys {n} more.", "A friend gives {first} {n} more.", "{first} finds {n} more {things}."),
        fewer=("{first} gives away {n}.", "{first} loses {n} of them.", "{first} sells {n} {things}."),
        question=("How many {things} does {first} have now?", "How many {things} are left?"),
    ),
    "comparison": Plot(
        opening=("{first} has {n} {things}.", "{first} owns {n} {things}."),
        more=("{who} has {n} more than {before}.", "{before} has {n} fewer than {who}."),
        fewer=("{who} has {n} fewer than {before}.", "{before} has {n} more than {who}."),
        twice=("{who} has twice as many as {before}.",),
        question=("How many {things} does {who} have?",),
    ),
    "measure": Plot(
        opening=("A tank holds {n} litres of water.", "There are {n} litres of water in a tank."),
        more=("{first} pours in {n} litres.", "Rain adds {n} litres."),
        fewer=("{n} litres leak out.", "{first} takes {n} litres for the garden."),
        twice=("Then a pump doubles it.",),
        question=("How many litres are in the tank in the end?",),
    ),
    "calendar": Plot(
        opening=("{first} has a birthday on May {n}.",),
        more=("{who} has a birthday {n} days after {before}.", "The birthday of {who} is {n} days later."),
        fewer=("{who} has a birthday {n} days before {before}.", "The birthday of {who} is {n} days earlier."),
        question=("On which day of May is the birthday of {who}?",),
        highest=31,
    ),
}
RETOLD: Sequence[Plot] = (
    Plot(
        opening=("A bus leaves the station with {n} passengers.",),
        more=("At the next stop {n} people get on.",),
        fewer=("At the next stop {n} people get off.",),
        question=("How many passengers are on the bus?",),
    ),
    Plot(
        opening=("{n} birds sit on a roof.",),
        more=("{n} others join them.",),
        fewer=("{n} of them fly off.",),
        twice=("Then their number doubles.",),
        question=("How many birds sit on the roof in the end?",),
    ),
)

Level = Annotated[int, Field(ge=1, le=9)]
Skill = Literal["sum", "together", "story", "comparison", "measure", "calendar"]
Split = Literal["train", "validation", "test"]
SKILLS: tuple[Skill, ...] = ("sum", "together", "story", "comparison", "measure", "calendar")


class WordProblems(Prompted):
    """Bare sums, and five plots that tell such chains in words, with one step to as many as asked for.

    Example:
        >>> task = WordProblems(levels=(1,), train_per_level=1)
        >>> print(task.train()[0].question, task.train()[0].answer)
        Emma owns 7 stamps. Ann has twice as many as Emma. How many stamps does Ann have? 14
    """

    verifier: Verifier = Chain()
    instruction: str | None = 'Solve it step by step. End with "####" and the number.'
    """Said before everything, in training and evaluation too."""
    plots: Annotated[tuple[Skill, ...], Field(min_length=1)] = SKILLS
    """What is told; each is a skill."""
    levels: Annotated[tuple[Level, ...], Field(min_length=1)] = (1, 2, 3)
    """Numbers of steps."""
    largest: int = Field(default=9, ge=2, le=49)
    """The largest number in a question."""
    train_per_level: int = Field(default=150, ge=1, le=MOST_DRAWN)
    """Training questions of each plot and level."""
    validation_per_level: int = Field(default=6, ge=1, le=MOST_DRAWN)
    """Validation questions of each plot and level."""
    test_per_level: int = Field(default=10, ge=1, le=MOST_DRAWN)
    """Test questions of each plot, `retold` included, and level."""
    seed: int = Field(default=0, ge=0)
    """Which problems are drawn; the split of a chain does not depend on it."""

    def exemplars_path(self) -> Path | None:
        """Return the user's file, or the project's own."""
        return self.exemplars or EXEMPLARS / "told_chains.jsonl"

    @cached_property
    def _splits(self) -> Mapping[str, Sequence[Observation]]:
        sizes = {"train": self.train_per_level, "validation": self.validation_per_level, "test": self.test_per_level}
        found: dict[str, list[Observation]] = {split: [] for split in sizes}
        for level in self.levels:
            for skill in self.plots:
                self._fill(found, skill, level, sizes)
            self._fill(found, "retold", level, {"test": self.test_per_level})
        order = rng(self.seed, "word problems", "order").permutation(len(found["train"]))
        return found | {"train": [found["train"][i] for i in order]}

    def _fill(self, found: Mapping[str, list[Observation]], skill: str, level: int, sizes: Mapping[str, int]) -> None:
        """Add the first problems of the stream that fill each split."""
        left = dict(sizes)
        for observation in stream(skill, level, self.largest, self.seed):
            split = split_of(observation)
            if left.get(split):
                found[split].append(observation)
                left[split] -= 1
            if not any(left.values()):
                return
        raise ValueError(
            f"{skill} has too few problems of level {level} with numbers up to {self.largest}: of {dict(sizes)} "
            f"{left} are missing; ask for fewer, or raise task.largest"
        )


def split_of(observation: Observation) -> Split:
    """Return the split of a problem, for every seed and configuration: by a hash of its chain of equations.

    Three fifths are for training, a fifth each for validation and test.
    """
    assert observation.rationale is not None
    bucket = hashlib.sha256(observation.rationale.encode()).digest()[0] % 5
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def stream(skill: str, level: int, largest: int, seed: int) -> Iterator[Observation]:
    """Draw distinct random problems of one plot and level; ends when it finds no more."""
    generator = rng(seed, "word problems", skill, level, largest)
    plots = RETOLD if skill == "retold" else (PLOTS[skill],)
    seen: set[str] = set()
    misses = 0
    while misses < _PATIENCE:
        question, rationale, answer = tell(plots[int(generator.integers(len(plots)))], level, largest, generator)
        misses = misses + 1 if question in seen else 0
        if not misses:
            yield Observation(
                id=f"{skill}/{level}/{len(seen):05}", question=question, answer=str(answer),
                rationale=rationale, skill=skill, level=level,
            )  # fmt: skip
            seen.add(question)


def tell(plot: Plot, steps: int, largest: int, generator: np.random.Generator) -> tuple[str, str, int]:
    """Return (question, rationale, answer) of a random chain of `steps` equations."""

    def say(sentences: Sequence[str], n: int, who: int) -> str:
        chosen = sentences[int(generator.integers(len(sentences)))]
        return chosen.format(n=n, things=things, first=names[0], who=names[who], before=names[who - 1])

    names = [NAMES[k] for k in generator.permutation(len(NAMES)).tolist()]
    things = THINGS[int(generator.integers(len(THINGS)))]
    value = int(generator.integers(2, min(largest, plot.highest) + 1))
    told, equations = [say(plot.opening, value, 0)], []
    for step in range(1, steps + 1):
        kind, n = _step(plot, value, largest, generator)
        told.append(say(getattr(plot, kind), n, step))
        sign, result = {"more": ("+", value + n), "fewer": ("-", value - n), "twice": ("*", value * n)}[kind]
        equations.append(f"{value} {sign} {n} = {result}.")
        value = result
    told.append(say(plot.question, value, steps))
    return " ".join(told), f"{' '.join(equations)}\n#### {value}", value


def _step(plot: Plot, value: int, largest: int, generator: np.random.Generator) -> tuple[str, int]:
    """Tell what happens next to a quantity of `value`, and by how much."""
    highest = {"more": min(largest, plot.highest - value), "fewer": min(largest, value - 1)}
    kinds = [kind for kind, most in highest.items() if most >= 2 and getattr(plot, kind)]
    if plot.twice and 2 <= value <= plot.highest // 2:
        kinds.append("twice")
    kind = kinds[int(generator.integers(len(kinds)))]
    return (kind, 2) if kind == "twice" else (kind, int(generator.integers(2, highest[kind] + 1)))

"""Column arithmetic, generated: the task of the embedded default.

The observations mix skills that share their parts and levels (columns) up to well beyond what the tiny base model was
taught, so that there is something to climb.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from star_loop.protocols import Verifier
from star_loop.records import Observation
from star_loop.seeding import rng
from star_loop.tasks.splitting import MOST_DRAWN, SplitTask
from star_loop.verifiers.columns import HIGHEST_LEVEL, Problem, draw, parse
from star_loop.verifiers.scratchpad import Scratchpad

logger = logging.getLogger(__name__)


def _distinct(levels: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(levels)) < len(levels):
        raise ValueError(f"a level stands twice in {levels}; name each once")
    return levels


Split = Literal["train", "validation", "test"]
SkillName = Literal["addition", "subtraction", "multiplication", "three_sum", "multiply_add"]
Level = Annotated[int, Field(ge=1, le=HIGHEST_LEVEL)]
Levels = Annotated[tuple[Level, ...], Field(min_length=1), AfterValidator(_distinct)]

HINT = "@"
"""Encloses the answer in a hinted prompt, and stands nowhere else."""
_PATIENCE = 1000
"""Draws without a new problem after which a level counts as exhausted."""


def split_of(problem: Problem) -> Split:
    """The split that a problem belongs to, for every seed and every configuration: by a hash of skill and operands.

    Three fifths are for training, a fifth each for validation and test.
    """
    digest = hashlib.sha256(f"{problem.skill} {problem.operands}".encode()).digest()
    bucket = digest[0] % 5
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def stream(skill: str, level: int, seed: int) -> Iterator[Problem]:
    """Draw distinct random problems of one skill and level; ends when it finds no more."""
    generator = rng(seed, "arithmetic", skill, level)
    seen: set[tuple[int, ...]] = set()
    misses = 0
    while misses < _PATIENCE:
        problem = draw(skill, level, generator)
        misses = misses + 1 if problem.operands in seen else 0
        if not misses:
            seen.add(problem.operands)
            yield problem


class Arithmetic(SplitTask):
    """Addition, subtraction, multiplication by one digit, sums of three and a * b + c, each by number of columns.

    The notation is that of `star_loop.verifiers.columns`. An id names skill, level and the place in the stream of the
    seed, and stays when the sizes change: `addition/7/000123`.
    """

    notation: ClassVar[str] = (
        "q54r87s18t56= asks for 5185 + 6874: each column a letter and its digits, ones first; "
        "- before = subtracts, * multiplies, a third digit is added; #q9r5s0t2u1 answers 12059"
    )
    """How a question is written, for people who see one."""
    verifier: Verifier = Scratchpad()
    levels: Annotated[Mapping[SkillName, Levels], Field(min_length=1)] = {
        "addition": (5, 6, 7, 8),
        "subtraction": (5, 6, 7, 8),
        "multiplication": (5, 6, 7, 8),
        "three_sum": (4, 5, 6),
        "multiply_add": (4, 5, 6),
    }
    """The skills, and the numbers of columns of each."""
    train_per_level: int = Field(default=80, ge=1, le=MOST_DRAWN)
    """Training observations of a skill's lowest level."""
    train_decay: float = Field(default=1.0, gt=0, le=1)
    """Training observations of a level over those of the next lower level of its skill; below 1: what is hard is
    rare. At least one of each level."""
    validation_per_level: int = Field(default=20, ge=1, le=MOST_DRAWN)
    """Validation observations of each level."""
    test_per_level: int = Field(default=30, ge=1, le=MOST_DRAWN)
    """Test observations of each level."""
    seed: int = 0
    """Which problems are drawn; the split of a problem does not depend on it."""

    def prompt(self, observation: Observation, *, hint: bool = False) -> str:
        """Return the question; with `hint`, the marked answer stands before it: `@q9r5s0t2u1@q54r87s18t56=`.

        Raises:
            ValueError: a hint is wanted for a question that is not in column notation.
        """
        return hinted(observation.question) if hint else observation.question

    @property
    def hint_marker(self) -> str:
        """The sign that encloses the answer in a hinted prompt."""
        return HINT

    @cached_property
    def _splits(self) -> Mapping[str, Sequence[Observation]]:
        logger.info("notation: %s", self.notation)
        splits: dict[Split, list[Observation]] = {"train": [], "validation": [], "test": []}
        for skill, levels in self.levels.items():
            for level in levels:
                for split, observations in _sample(skill, level, self._sizes(levels, level), self.seed).items():
                    splits[split] += observations
        order = rng(self.seed, "arithmetic", "order").permutation(len(splits["train"]))
        return splits | {"train": [splits["train"][i] for i in order]}

    def _sizes(self, levels: Sequence[int], level: int) -> Mapping[Split, int]:
        rank = sorted(levels).index(level)
        train = max(1, round(self.train_per_level * self.train_decay**rank))
        return {"train": train, "validation": self.validation_per_level, "test": self.test_per_level}


def hinted(question: str) -> str:
    """Return the question with its marked answer before it.

    Raises:
        ValueError: not a question in column notation.
    """
    problem = parse(question)
    if problem is None:
        raise ValueError(f"not a question in column notation: {question!r}; it looks like 'q54r87s18t56='")
    return f"{HINT}{problem.marked_answer}{HINT}{question}"


def _sample(skill: str, level: int, sizes: Mapping[Split, int], seed: int) -> dict[Split, list[Observation]]:
    """Return the first problems of the stream that fill each split."""
    found: dict[Split, list[Observation]] = {split: [] for split in sizes}
    for index, problem in enumerate(stream(skill, level, seed)):
        split = split_of(problem)
        if len(found[split]) < sizes[split]:
            found[split].append(_observe(problem, index))
        elif all(len(found[split]) == size for split, size in sizes.items()):
            return found
    short = {split: len(observations) for split, observations in found.items()}
    raise ValueError(
        f"{skill} has too few problems of level {level}: wanted {dict(sizes)}, found {short}; "
        f"ask for fewer or leave level {level} out of task.levels.{skill}"
    )


def _observe(problem: Problem, index: int) -> Observation:
    level = len(problem.columns)
    return Observation(
        id=f"{problem.skill}/{level}/{index:06}",
        question=problem.question,
        answer=problem.answer,
        rationale=problem.rationale,
        skill=problem.skill,
        level=level,
    )

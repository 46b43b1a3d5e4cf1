"""Your own questions: a file, or a data set on the Hub, and the names of its columns."""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from star_loop.protocols import Verifier
from star_loop.records import Observation
from star_loop.tasks.benchmark import SPLITS, Size
from star_loop.tasks.choices import choices_of
from star_loop.tasks.prompting import Prompted
from star_loop.tasks.splitting import Subset, by_question, divide, without_leaks
from star_loop.tasks.table import Row, RowError, Table, hub, pick, read, text
from star_loop.verifiers.exact import normalise
from star_loop.verifiers.guess import Guess, named
from star_loop.verifiers.multiple_choice import LETTERS
from star_loop.verifiers.statement import statement

logger = logging.getLogger(__name__)
_GUESSED = 1000
"""Golds that a guessed verifier is reported for."""
_CUT = 1000
"""Observations of a split that is cut where nobody says how many."""
_DIGITS = 9
"""Of a level, or of a number of a game."""
_NUMBER = re.compile(r"[-+0-9.,]+")
_COLUMN = re.compile(r"\{([^{}]+)\}")
_MARKED = re.compile(r"####|\\boxed *\{")


class File(Prompted):
    """Rows of JSON Lines, JSON, CSV, Parquet or a Hub data set, read when they are needed and not held.

    Column names reach into nested values by dots (`question.stem`). Splits without a file of their own are cut from the
    rows by id and seed, whole groups of equal questions together; rows that leak into a held-out split are left out.
    Without worked examples the question is preceded by how to state the answer.

    A gold answer that is a whole solution with `#### 72` or `\\boxed{72}` serves as rationale too.
    """

    verifier: Annotated[Verifier, BeforeValidator(named)] = Guess()
    """`exact`, `math`, `multiple_choice`, `yes_no`, `expression`, or `guess`: a guess from each gold answer, which is
    reported; others by `task.verifier._target_=…` with their keys."""
    path: Path | None = None
    """The training questions: JSON Lines, JSON, CSV or Parquet."""
    validation_path: Path | None = None
    """The same for validation; None: split off."""
    test_path: Path | None = None
    """The same for the test; None: split off."""
    repository: str | None = None
    """On the Hugging Face Hub; read where `path` is not given."""
    configuration: str | None = None
    """The Hub data set's configuration, where it has several."""
    split: str = "train"
    """Of the Hub data set, to learn from."""
    validation_split: str | None = None
    """The Hub data set's split for validation; None: split off."""
    test_split: str | None = None
    """The Hub data set's split for the test; None: split off."""
    question: str = "question"
    """A column, or a text with columns in braces: `{Body} {Question}`."""
    answer: str = "answer"
    """The key of the gold answer."""
    id: str | None = None
    """None: file name and row."""
    choices: str | None = None
    """One column (see `star_loop.tasks.choices`), or several, separated by commas."""
    first_choice: Literal[0, 1] = 0
    """What an answer that is a number, not a text, calls the first option."""
    rationale: str | None = None
    """The key of a gold rationale, which only proves the verifier; None: there is none."""
    skill: str | None = None
    """The key of a question's skill; None: there is none."""
    level: str | None = None
    """A whole number, or a text with one in it (`Level 5`)."""
    numbers: str | None = None
    """The numbers of a game whose answer is the target (`verifier=expression`)."""
    seed: int = Field(default=0, ge=0)
    """Of what is split off."""
    validation_size: Size | None = None
    """Cut from the rows for learning, where there is no validation split. None: a tenth of them, at most 1,000."""
    test_size: Size | None = None
    """Cut from the rows for learning, where there is no test split. None: a tenth of them, at most 1,000."""

    _findings: Counter[str] = PrivateAttr(default_factory=Counter)

    def findings(self) -> Mapping[str, int]:
        """What leaked into a held-out split, and how often."""
        _ = self._splits
        return dict(self._findings)

    def check(self) -> None:
        """The files must be there; one row tells whether the columns are."""
        super().check()
        for split, table in self._tables.items():
            _ = Rows(self, split, table)[0]

    @cached_property
    def _tables(self) -> Mapping[str, Table]:
        if self.path is not None:
            paths = {"train": self.path, "validation": self.validation_path, "test": self.test_path}
            return {split: read(path) for split, path in paths.items() if path is not None}
        if self.repository is None:
            raise ValueError(
                "give task.path=<file>, or task.repository=<owner/name> of a data set on the Hugging Face Hub"
            )
        splits = {"train": self.split, "validation": self.validation_split, "test": self.test_split}
        return {ours: hub(self.repository, self.configuration, name) for ours, name in splits.items() if name}

    @cached_property
    def _splits(self) -> Mapping[str, Subset]:
        found = {split: Subset.of(Rows(self, split, table), by_question) for split, table in self._tables.items()}
        if "test" not in found:
            found["train"], found["test"] = _cut(found["train"], self.test_size, self.seed, "test")
        left_out: Counter[str] = Counter()
        if "validation" not in found:
            clean, counts = without_leaks({"validation": found["train"][:0], **found})
            left_out.update(counts)
            found["train"], found["validation"] = _cut(clean["train"], self.validation_size, self.seed, "validation")
        clean, counts = without_leaks(found)
        left_out.update(counts)
        self._findings.clear()
        self._findings.update(left_out)
        notes = [f"{len(clean[split]):,} {split}" for split in SPLITS]
        notes += [f"{count:,} {finding}" for finding, count in left_out.items()]
        if isinstance(self.verifier, Guess):
            guessed = Counter(type(self.verifier.choose(o)).__name__ for o in clean["train"][:_GUESSED])
            notes += [f"verifier guessed from the golds: {name} for {count:,}" for name, count in guessed.most_common()]
        logger.info("%s: %s", self.path or self.repository, "; ".join(notes))
        return clean

    @cached_property
    def _opening(self) -> str:
        said = self.instruction
        if said is None and not self._exemplars:
            said = self.verifier.instruction(Rows(self, "train", self._tables["train"])[0])
        return f"{said}\n\n" if said else ""


class Rows(Sequence[Observation]):
    """The observations of a table, each made when it is asked for."""

    def __init__(self, task: File, split: str, table: Table) -> None:
        self.task, self.split, self.table = task, split, table

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.table)

    def __getitem__(self, index: Any) -> Any:
        """The observation of one row.

        Raises:
            RowError: a column is missing or empty.
        """
        if not 0 <= index < len(self.table):
            raise IndexError(index)
        task, row, place = self.task, self.table[index], self.table.place(index)
        cell = partial(_cell, row, place)
        choices = _choices(task, row, place)
        answer = _answer(task, pick(row, task.answer, place), choices, place)
        rationale = answer if _MARKED.search(answer) else _rationale(task, row, place)
        if rationale == answer:
            answer = _stated(answer, task.answer, place)
        observation = Observation(
            id=f"{self.split}/{index:07}" if task.id is None else cell(task.id),
            question=_COLUMN.sub(lambda m: _inserted(row, place, m[1]), task.question)
            if "{" in task.question
            else cell(task.question),
            answer=answer,
            choices=choices,
            rationale=rationale,
            skill=None if task.skill is None else cell(task.skill),
            level=None if task.level is None else _level(cell(task.level), task.level, place),
            meta={} if task.numbers is None else {"numbers": _numbers(row, task.numbers, place)},
        )
        return _ending_in_its_answer(task, observation)


def _cut(rows: Subset, size: float | None, seed: int, purpose: str) -> tuple[Subset, Subset]:
    return divide(rows, min(_CUT, round(len(rows) / 10)) if size is None else size, seed, purpose)


def _cell(row: Row, place: str, column: str) -> str:
    return text(pick(row, column, place), column, place)


def _inserted(row: Row, place: str, column: str) -> str:
    value = pick(row, column, place)
    return str(value) if isinstance(value, list) and value else text(value, column, place)


def _choices(task: File, row: Row, place: str) -> tuple[str, ...]:
    if task.choices is None:
        return ()
    columns = [column.strip() for column in task.choices.split(",")]
    value = [pick(row, column, place) for column in columns] if len(columns) > 1 else pick(row, columns[0], place)
    return choices_of(value, task.choices, place)


def _rationale(task: File, row: Row, place: str) -> str | None:
    """Not every row needs to have one."""
    value = None if task.rationale is None else pick(row, task.rationale, place)
    return text(value, task.rationale or "", place) if value not in (None, "") else None


def _answer(task: File, value: Any, choices: tuple[str, ...], place: str) -> str:
    if choices and isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value - task.first_choice < len(choices):
            raise RowError(
                f"{place}, column {task.answer!r}: {value} is no option of {len(choices)}, counted from "
                f"{task.first_choice}: set task.first_choice"
            )
        return LETTERS[value - task.first_choice]
    found = text(value, task.answer, place)
    return normalise(found) if isinstance(value, float) else found


def _stated(solution: str, column: str, place: str) -> str:
    stated = statement(solution)
    if stated is None or not stated.words:
        raise RowError(f"{place}, column {column!r}: no answer behind the marker of {solution[-40:]!r}")
    return normalise(stated.words) if _NUMBER.fullmatch(stated.words) else stated.words


def _level(value: str, column: str, place: str) -> int:
    found = re.search(r"[0-9]+", value)
    if found is None:
        raise RowError(f"{place}, column {column!r}: expected a level, a whole number, found {value!r}")
    if len(found[0]) > _DIGITS:
        raise RowError(f"{place}, column {column!r}: a level has at most {_DIGITS} digits, found {found[0][:40]!r}")
    return int(found[0])


def _numbers(row: Row, column: str, place: str) -> list[int]:
    value = pick(row, column, place)
    found = re.findall(r"-?[0-9]+", value) if isinstance(value, str) else []
    numbers = [int(number) for number in found if len(number) <= _DIGITS] if isinstance(value, str) else value
    whole = isinstance(numbers, list) and numbers and all(type(number) is int for number in numbers)
    if not whole or len(numbers) < len(found):
        shown = repr(value)[:80]
        raise RowError(
            f"{place}, column {column!r}: expected a list of whole numbers of at most {_DIGITS} digits, found {shown}"
        )
    return numbers


def _ending_in_its_answer(task: File, observation: Observation) -> Observation:
    """A gold rationale that does not state its answer as the verifier wants it gets the statement as its last line."""
    rationale = observation.rationale
    if rationale is None or task.verifier.judge(observation, rationale).correct:
        return observation
    return replace(observation, rationale=f"{rationale}\n{task.statement(observation)}")

"""The observations of a table of one's own, each made when it is asked for."""

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, Literal, Self

from pydantic import PrivateAttr, field_validator, model_validator

from star_loop.protocols import Verifier
from star_loop.records import Observation
from star_loop.tasks.cells import Row, RowError, pick, plain, text
from star_loop.tasks.choices import choices_of, labels_of
from star_loop.tasks.golds import (
    Counted,
    gold_text,
    labelled,
    level_of,
    marked_gold,
    option_letter,
    option_number,
    without_number,
)
from star_loop.tasks.prompting import Prompted
from star_loop.tasks.table import Table
from star_loop.verifiers.guess import Guess, announced, named
from star_loop.verifiers.lawful import judged
from star_loop.verifiers.multiple_choice import LETTERS, MultipleChoice, read_choice
from star_loop.verifiers.rewards import json_values

_DIGITS = 9
"""Of a number of a game."""
_COLUMN = re.compile(r"\{([^{}]+)\}")


class Columned(Prompted):
    """A task whose rows are read by the names of their columns."""

    verifier: Verifier = Guess()
    """`exact`, `math`, `multiple_choice`, `yes_no`, `expression`, `guess` (from each gold answer, reported), or your
    own function, `path/to/file.py:right`; others by `task.verifier._target_=…` with their keys."""
    phrases: tuple[str, ...] | None = None
    """What announces an answer: languages (`[en,fr]`) and phrases of your own; None: what the verifier listens for."""
    question: str = "question"
    """A column, or a text with columns in braces: `{Body} {Question}`."""
    answer: str | None = "answer"
    """The key of the gold answer; None: there are none (`task.labels=majority`, or a reward of your own)."""
    id: str | None = None
    """None: file name and row."""
    choices: str | tuple[str, ...] | None = None
    """One column (see `star_loop.tasks.choices`), or several: `a,b,c,d`, or a list."""
    first_choice: Literal[0, 1] | None = None
    """What an answer that is a number (`2`, `2.0`, `(2)`, `option 2`) calls the first option. None: as the options'
    labels or the rows prove it; an error where nothing does."""
    rationale: str | None = None
    """The key of a gold rationale, which only proves the verifier; None: there is none."""
    skill: str | None = None
    """The key of a question's skill; None: there is none."""
    level: str | None = None
    """A whole number, or a text with one in it (`Level 5`); a row without any has no level, and is counted."""
    numbers: str | None = None
    """The numbers of a game whose answer is the target (`verifier=expression`)."""

    _with_rows: bool = PrivateAttr(default=False)

    @field_validator("question")
    @classmethod
    def _closed(cls, question: str) -> str:
        if set("{}") & set(_COLUMN.sub("", question)):
            raise ValueError("a brace without its partner: write columns as {name}")
        return question

    @model_validator(mode="before")
    @classmethod
    def _announced(cls, keys: Any) -> Any:
        if not isinstance(keys, Mapping) or keys.get("phrases") is None:
            return keys
        verifier = named(keys.get("verifier", cls.model_fields["verifier"].default))
        return {**keys, "verifier": announced(verifier, keys["phrases"])}

    @model_validator(mode="after")
    def _something_to_judge_by(self) -> Self:
        if self.answer is None and self.labels == "gold" and self.verifier.compares:
            raise ValueError(
                "without gold answers (task.answer=null) give task.labels=majority, or a function of your own as "
                "task.verifier"
            )
        return self

    def with_rows(self) -> Self:
        """Return the task that keeps rows whatever its verifier looks at."""
        copy = self.model_copy()
        copy._with_rows = True
        return copy

    @property
    def keeps_rows(self) -> bool:
        """Tell whether somebody looks at whole rows."""
        return self._with_rows or self.verifier.rows

    @property
    @abstractmethod
    def counted(self) -> Counted:
        """Tell what numbers among the golds mean, where there are options."""

    @property
    def option_columns(self) -> tuple[str, ...]:
        """The columns that hold the options."""
        names = self.choices.split(",") if isinstance(self.choices, str) else self.choices or ()
        return tuple(name.strip() for name in names)


class Rows(Sequence[Observation]):
    """The observations of a table, each made when it is asked for."""

    def __init__(self, task: Columned, split: str, table: Table) -> None:
        self.task, self.split, self.table = task, split, table

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.table)

    def __getitem__(self, index: Any) -> Any:
        """Return the observation of one row.

        Raises:
            RowError: a column is missing or empty.
        """
        if not 0 <= index < len(self.table):
            raise IndexError(index)
        task, row, place = self.task, self.table[index], self.table.place(index)
        cell = partial(_cell, row, place)
        choices = _choices(task, row, place)
        answer, rationale = ("", None) if self._bare(row, place) else _gold(task, row, place, choices)
        observation = Observation(
            id=f"{self.split}/{index:07}" if task.id is None else cell(task.id),
            question=_COLUMN.sub(lambda m: _inserted(row, place, m[1]), task.question)
            if "{" in task.question
            else cell(task.question),
            answer=answer,
            choices=choices,
            rationale=rationale,
            skill=None if task.skill is None else cell(task.skill),
            level=None if task.level is None else level_of(pick(row, task.level, place), task.level, place),
            meta=_meta(task, row, place),
        )
        return _ending_in_its_answer(task, observation)

    def written_gold(self, index: int) -> Any:
        """Return the gold answer of a row as the table has it."""
        if self.task.answer is None:
            return ""
        row, place = self.table[index], self.table.place(index)
        return "" if self._bare(row, place) else pick(row, self.task.answer, place)

    def _bare(self, row: Row, place: str) -> bool:
        """Tell whether a row has no gold answer and needs none: only what is learned from is labelled by majority."""
        task = self.task
        if task.answer is None:
            return True
        if task.labels == "gold" or self.split != "train":
            return False
        try:
            return pick(row, task.answer, place) in (None, "")
        except RowError:  # there is no such column
            return True

    def numbered(self) -> Iterator[tuple[int, tuple[str, ...], str]]:
        """The number, the options and the place of each row whose gold is a number, and none of the options' labels."""
        for index in range(len(self)) if self.task.answer is not None else ():
            row, place = self.table[index], self.table.place(index)
            if self._bare(row, place):
                continue
            answer, _ = _read_gold(self.task, row, place)
            number = option_number(answer)
            if number is not None and _labelled(self.task, row, place, answer) is None:
                yield number, _choices(self.task, row, place), place


def _meta(task: Columned, row: Row, place: str) -> dict[str, Any]:
    numbers = {} if task.numbers is None else {"numbers": _numbers(row, task.numbers, place)}
    return {**numbers, "row": json_values(row)} if task.keeps_rows else numbers


def _cell(row: Row, place: str, column: str) -> str:
    return text(pick(row, column, place), column, place)


def _inserted(row: Row, place: str, column: str) -> str:
    value = pick(row, column, place)
    if not isinstance(value, list) or not value:
        return text(value, column, place)
    shown = (plain(each, column, place) if isinstance(each, Decimal) else repr(each) for each in value)
    return f"[{', '.join(shown)}]"


def _options(task: Columned, row: Row, place: str) -> Any:
    """Return the options of a row as the table has them; None: the task has none."""
    columns = task.option_columns
    if len(columns) > 1:
        return [pick(row, column, place) for column in columns]
    return pick(row, columns[0], place) if columns else None


def _choices(task: Columned, row: Row, place: str) -> tuple[str, ...]:
    columns = task.option_columns
    return choices_of(_options(task, row, place), ",".join(columns), place) if columns else ()


def _labelled(task: Columned, row: Row, place: str, answer: str) -> str | None:
    """Return the letter of the option with this label; a number counts as `first_choice` says, where it is given."""
    if task.first_choice is not None and option_number(answer) is not None:
        return None
    return labelled(answer, labels_of(_options(task, row, place)))


def _gold(task: Columned, row: Row, place: str, choices: tuple[str, ...]) -> tuple[str, str | None]:
    """(the gold answer, the gold rationale, if there is one)"""
    answer, solution = _read_gold(task, row, place)
    rationale = _rationale(task, row, place) if solution is None else solution
    return _option(task, row, place, choices, answer) if choices else answer, rationale


def _read_gold(task: Columned, row: Row, place: str) -> tuple[str, str | None]:
    """(the gold answer as it is written, the whole solution that it stands in, if it does)"""
    column = task.answer or ""
    value = pick(row, column, place)
    if task.verifier.verbatim:
        return _verbatim(value, column, place), None
    written = gold_text(value, column, place)
    marked = marked_gold(written, column, place)
    return (written, None) if marked is None else (marked, written)


def _verbatim(value: Any, column: str, place: str) -> str:
    """Return the text with its own white space, where it is one."""
    found = text(value, column, place)
    return value if isinstance(value, str) else found


def _option(task: Columned, row: Row, place: str, choices: tuple[str, ...], answer: str) -> str:
    """Return the gold answer where there are options: a letter, where it is a label or a number."""
    letter, number = _labelled(task, row, place, answer), option_number(answer)
    if letter is None and number is not None:
        letter = option_letter(number, choices, task.counted)
        if letter is None:
            raise RowError(
                f"{place}, column {task.answer!r}: {number} is no option of {len(choices)}, counted {task.counted}: "
                "correct it, or write task.first_choice=0 or task.first_choice=1"
            )
    if letter is not None or not isinstance(task.verifier, Guess | MultipleChoice):
        return answer if letter is None else letter
    words = without_number(answer, choices)
    index = read_choice(words, choices)
    if index is None:
        raise RowError(
            f"{place}, column {task.answer!r}: {answer[:60]!r} is neither a letter nor the words of one of the "
            f"{len(choices)} options: correct it, or name the column of the answers with task.answer="
        )
    return answer if words == answer else LETTERS[index]


def _rationale(task: Columned, row: Row, place: str) -> str | None:
    """Return the row's rationale; not every row needs to have one."""
    value = None if task.rationale is None else pick(row, task.rationale, place)
    return text(value, task.rationale or "", place) if value not in (None, "") else None


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


def _ending_in_its_answer(task: Columned, observation: Observation) -> Observation:
    """A gold rationale that does not state its answer as the verifier wants it gets the statement as its last line."""
    rationale = observation.rationale
    verdict = None if rationale is None else judged(task.verifier, observation, rationale)
    if verdict is None or (verdict.correct and not verdict.how.endswith("(fallback)")):  # it announces its answer
        return observation
    return replace(observation, rationale=f"{rationale}\n{task.statement(observation)}")

"""Column arithmetic: how a question and its scratchpad are written, and the law that each row must obey.

A question lists its columns, ones first, each under its own letter, then what is to be done: `q54r87s18t56=` is
5185 + 6874. The sign before `=` says what happens to the first two digits of a column: none adds them, `-` subtracts
the second from the first, `*` multiplies them (the multiplier stands in every column). A third digit is then added.

A rationale has one row for each column and then the answer, ones first, after `#`:
`q540:09;r870:15;s181:10;t561:12;#q9r5s0t2u1`. A row is letter, two digits, carry in, the operation (`:` adds), carry
out, digit out. Where there is a third digit a second step follows in the same row, with a carry of its own:
`q540:09,930:12;`. The carry that is left at the end is the topmost digit; two of them are first added in one more row.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

LETTERS = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"
ANSWER = "#"
HIGHEST_LEVEL = len(LETTERS) - 2
"""Columns of the largest question; the start letter varies even then, and the topmost digit has a letter too."""

Column = tuple[int, ...]
Carries = tuple[int, ...]
Law = Callable[[int, int, int], tuple[int, int]]


def _add(x: int, y: int, carry: int) -> tuple[int, int]:
    return divmod(x + y + carry, 10)


def _subtract(x: int, y: int, borrow: int) -> tuple[int, int]:
    difference = x - y - borrow
    return int(difference < 0), difference % 10


def _multiply(x: int, y: int, carry: int) -> tuple[int, int]:
    return divmod(x * y + carry, 10)


LAWS: dict[str, Law] = {":": _add, "-": _subtract, "*": _multiply}


def _step(operation: str, x: int, y: int, carry_in: int) -> tuple[str, int, int]:
    """Apply a law once as it is written, with the carry and the digit that come out."""
    carry, digit = LAWS[operation](x, y, carry_in)
    return f"{x}{y}{carry_in}{operation}{carry}{digit}", carry, digit


@dataclass(frozen=True, slots=True)
class Skill:
    """One kind of question: the operation on the first two digits of a column, and whether a third one is added."""

    operation: str
    operands: int

    @property
    def sign(self) -> str:
        """Return what stands before `=` in the question."""
        return "" if self.operation == ":" else self.operation


SKILLS: dict[str, Skill] = {
    "addition": Skill(":", 2),
    "subtraction": Skill("-", 2),
    "multiplication": Skill("*", 2),
    "three_sum": Skill(":", 3),
    "multiply_add": Skill("*", 3),
}
_BY_NOTATION = {(skill.sign, skill.operands): name for name, skill in SKILLS.items()}


@dataclass(frozen=True, slots=True)
class Problem:
    """A question before it is written down.

    Example:
        >>> parse("q54r87s18t56=").answer
        '12059'
    """

    skill: str
    start: int
    """Index of the first column's letter."""
    columns: tuple[Column, ...]
    """The operands' digits column by column, ones first."""

    @property
    def operands(self) -> tuple[int, ...]:
        """The operands, a multiplier as the one digit that it is; with the skill they identify the problem."""
        first, second, *third = (int("".join(map(str, reversed(digits)))) for digits in zip(*self.columns, strict=True))
        multiplier = SKILLS[self.skill].operation == "*"
        return (first, second % 10 if multiplier else second, *third)

    @property
    def question(self) -> str:
        """The question in column notation."""
        columns = "".join(self.letter(i) + "".join(map(str, c)) for i, c in enumerate(self.columns))
        return f"{columns}{SKILLS[self.skill].sign}="

    @property
    def answer(self) -> str:
        """The answer in decimal, without leading zeros."""
        return self._result().lstrip("0") or "0"

    @property
    def marked_answer(self) -> str:
        """The answer as the rationale states it: letters and digits, ones first, zeros of the topmost columns kept."""
        return "".join(self.letter(i) + digit for i, digit in enumerate(reversed(self._result())))

    @property
    def rationale(self) -> str:
        """The whole scratchpad, answer included."""
        return "".join(f"{row};" for row in self.rows()) + ANSWER + self.marked_answer

    def letter(self, column: int) -> str:
        """Return the letter of a column, counted from the ones."""
        return LETTERS[self.start + column]

    def rows(self) -> Iterator[str]:
        """Yield the rows of the scratchpad, without their semicolons."""
        column, carries = 0, self.no_carries
        while self.has_row(column, carries):
            row, carries = self.row(column, carries)
            yield row
            column += 1

    def has_row(self, column: int, carries: Carries) -> bool:
        """Tell whether a row is due: one for each column, and one past the last where two carries have to be added."""
        return column < len(self.columns) or (column == len(self.columns) and len(carries) == 2 and any(carries))

    @property
    def no_carries(self) -> Carries:
        """Return what the first column starts from: one carry for each step of a row."""
        return (0,) * (SKILLS[self.skill].operands - 1)

    def row(self, column: int, carries: Carries) -> tuple[str, Carries]:
        """Return the row of a column, given the carries that the row before it left.

        And the carries that it leaves itself.
        """
        if column == len(self.columns):
            x, y = carries
            step, carry, _ = _step(":", x, y, 0)
            return self.letter(column) + step, (carry,)
        x, y, *third = self.columns[column]
        step, carry, digit = _step(SKILLS[self.skill].operation, x, y, carries[0])
        row = self.letter(column) + step
        if not third:
            return row, (carry,)
        step, second_carry, _ = _step(":", digit, third[0], carries[1])
        return f"{row},{step}", (carry, second_carry)

    def _result(self) -> str:
        """Return the digits of the answer, topmost first, one for each column and one more where a carry remains."""
        first, second, *third = self.operands
        value = {":": first + second, "-": first - second, "*": first * second}[SKILLS[self.skill].operation]
        return str(value + sum(third)).zfill(len(self.columns))


_QUESTION = re.compile(r"((?:[a-z][0-9]{2})+|(?:[a-z][0-9]{3})+)([-*]?)=")


def parse(question: str) -> Problem | None:
    """Return the problem that a question states; None: the text is not a question in this notation."""
    match = _QUESTION.fullmatch(question)
    if match is None:
        return None
    text, sign = match.groups()
    width = 4 if text[3:4].isdigit() else 3
    cells = [text[i : i + width] for i in range(0, len(text), width)]
    skill = _BY_NOTATION.get((sign, width - 1))
    start = LETTERS.index(text[0])
    letters = "".join(cell[0] for cell in cells)
    if skill is None or len(cells) > HIGHEST_LEVEL or letters != LETTERS[start : start + len(cells)]:
        return None
    columns = tuple(tuple(map(int, cell[1:])) for cell in cells)
    return Problem(skill, start, columns) if _legal(skill, columns) else None


def _legal(skill: str, columns: tuple[Column, ...]) -> bool:
    """Tell whether the operands are ones the notation has: one multiplier, and no difference below zero."""
    operation = SKILLS[skill].operation
    if operation == "*":
        return len({column[1] for column in columns}) == 1
    return operation != "-" or [c[0] for c in columns][::-1] >= [c[1] for c in columns][::-1]


def draw(skill: str, level: int, generator: np.random.Generator) -> Problem:
    """Return a random problem of `level` columns: the first operand has exactly that many digits, the others at most.

    Multipliers are 2 … 9; the start letter is uniform over those that leave room for the topmost digit.
    """
    operation, operands = SKILLS[skill].operation, SKILLS[skill].operands
    digits = generator.integers(0, 10, size=(level, operands))
    digits[-1, 0] = generator.integers(1, 10)
    if operation == "*":
        digits[:, 1] = generator.integers(2, 10)
    if operation == "-" and digits[::-1, 0].tolist() < digits[::-1, 1].tolist():
        digits = digits[:, ::-1]
    start = int(generator.integers(0, len(LETTERS) - level))
    return Problem(skill, start, tuple(tuple(column) for column in digits.tolist()))

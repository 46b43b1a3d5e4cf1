"""The verifier of number games: an expression that uses given numbers to reach a target (Countdown, Game of 24).

Nothing is evaluated but the four operations on exact fractions, read by a parser that knows nothing else.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from star_loop.records import Observation, Verdict
from star_loop.verifiers.sentences import denied, sentences
from star_loop.verifiers.stated import Stated
from star_loop.verifiers.statement import Statement
from star_loop.verifiers.wrapping import unwrap

_TOKEN = re.compile(r"\s*([0-9]+|[-+*/()])")
_SIGNS = str.maketrans(
    {"×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "∕": "/", "[": "(", "]": ")", "{": "(", "}": ")"}
)
_COMMANDS = {
    "times": "*",
    "cdot": "*",
    "div": "/",
    "left": "",
    "right": "",
    "quad": "",
    ",": "",
    ";": "",
    "!": "",
    " ": "",
}
_TIMES = re.compile(r"(?<=[0-9)]) *[xX] *(?=[0-9(])")
_SAID = re.compile(r", *(?=[A-Za-z])| +(?=because\b|since\b)")
"""What separates an expression from words about it."""
_LATEX = re.compile(rf"\\({'|'.join(map(re.escape, _COMMANDS))})(?![A-Za-z])")
_FRACTION = re.compile(r"\\[dt]?frac *\{([^{}]*)\} *\{([^{}]*)\}")
_SPACE = re.compile(r"(?<![0-9])\s+|\s+(?![0-9])")
_LONGEST, _DIGITS, _DEEPEST = 400, 12, 40
"""Characters of an expression, digits of a number, nesting: more than any game has, and never a long computation."""


class Unreadable(ValueError):
    """Not an expression of integers, + - * / and parentheses."""


class Expression(Stated):
    """Correct: the stated expression uses the observation's numbers and equals its gold answer, exactly.

    The numbers are `observation.meta["numbers"]`, the target is `observation.answer`. "… = 24" may follow the
    expression and must then be true. A second, different expression leaves none.

    Example:
        >>> game = Observation(id="1", question="24?", answer="24", meta={"numbers": [8, 3, 1]})
        >>> [Expression().judge(game, f"The answer is {e}").correct for e in ("8 × 3 × 1 = 24", "8*3", "24")]
        [True, False, False]
    """

    use: Literal["all", "some"] = "all"
    """`all`: every number exactly once (Game of 24). `some`: none more often than it is given (Countdown)."""

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Judge the stated expression; `answer` is without what it is said to equal."""
        verdict = super().judge(observation, text)
        return verdict if verdict.answer is None else replace(verdict, answer=_sides(verdict.answer)[0])

    def read(self, stated: Statement, observation: Observation) -> str | None:
        """Return the expression with what it is said to equal, without spaces."""
        alone = _spelt if stated.how == "fallback" else _alone
        first, *later = map(alone, sentences(stated.line))
        return first if _readable(first) and not any(_readable(other) and other != first for other in later) else None

    def compare(self, answer: str, observation: Observation) -> str:
        """Evaluate the expression, and check its numbers and what it is said to equal."""
        left, *results = _sides(answer)
        value, used = evaluate(left)
        fault = self._fault(observation, value, used)
        return fault or ("false equation" if any(evaluate(r)[0] != value for r in results) else "equal")

    def statement(self, observation: Observation) -> str:
        """Return a sentence with a solution, which is looked for; without one it says "unknown"."""
        try:
            target = evaluate(observation.answer)[0]
        except Unreadable:
            return f"The answer is {observation.answer}."
        given = [int(number) for number in observation.meta.get("numbers", ())]
        return f"The answer is {solve(given, target, use=self.use) or 'unknown'}."

    def instruction(self, observation: Observation) -> str:
        """Ask for the expression."""
        return 'Think step by step. End with "The answer is " and the expression.'

    def _fault(self, observation: Observation, value: Fraction, used: Counter[int]) -> str:
        given = Counter(int(number) for number in observation.meta.get("numbers", ()))
        if used - given or (self.use == "all" and used != given):
            return "other numbers"
        try:
            return "" if value == evaluate(observation.answer)[0] else "different"
        except Unreadable:
            return "unreadable target"


def _alone(words: str) -> str:
    """Spell the expression that a sentence begins with, unless the words behind it deny it or add another one."""
    expression = _spelt(words)
    said = None if _readable(expression) else _SAID.search(words)
    return _spelt(words[: said.start()]) if said and not denied(words[said.start() :]) else expression


def _sides(answer: str) -> list[str]:
    """The expression, and what it is said to equal: what comes first, unless that is a mere number (`24 = 8 * 3`)."""
    sides = answer.split("=")
    first = next((side for side in sides if not side.isdigit()), sides[0])
    sides.remove(first)
    return [first, *sides]


def _spelt(words: str) -> str:
    """Spell it in ASCII, without spaces between signs and without LaTeX."""
    plain = _TIMES.sub("*", _LATEX.sub(lambda match: _COMMANDS[match[1]], words))
    return _SPACE.sub("", unwrap(_FRACTION.sub(r"((\1)/(\2))", plain)).translate(_SIGNS))


def _readable(expression: str) -> bool:
    try:
        return all(evaluate(side) for side in expression.split("="))
    except Unreadable:
        return False


@lru_cache(maxsize=4096)
def evaluate(text: str) -> tuple[Fraction, Counter[int]]:
    """Return the exact value of an expression, and the numbers in it.

    Raises:
        Unreadable: anything but integers, + - * / and parentheses; too long, too deep; a division by zero.

    Example:
        >>> evaluate("(8 - 2) / 4")
        (Fraction(3, 2), Counter({8: 1, 2: 1, 4: 1}))
    """
    tokens = _tokens(text)
    value, end = _sum(tokens, 0, 0)
    if end != len(tokens):
        raise Unreadable(text)
    return value, Counter(int(token) for token in tokens if token.isdigit())


def _tokens(text: str) -> list[str]:
    text = text.strip()
    if not text or len(text) > _LONGEST:
        raise Unreadable("empty or too long")
    tokens, end = [], 0
    while end < len(text):
        match = _TOKEN.match(text, end)
        if match is None or len(match[1]) > _DIGITS:
            raise Unreadable(text)
        tokens.append(match[1])
        end = match.end()
    return tokens


def _sum(tokens: Sequence[str], at: int, depth: int) -> tuple[Fraction, int]:
    value, at = _product(tokens, at, depth)
    while at < len(tokens) and tokens[at] in "+-":
        term, end = _product(tokens, at + 1, depth)
        value, at = (value + term if tokens[at] == "+" else value - term), end
    return value, at


def _product(tokens: Sequence[str], at: int, depth: int) -> tuple[Fraction, int]:
    start = at
    value, at = _factor(tokens, at, depth)
    while at < len(tokens) and (tokens[at] in "*/" or tokens[at] == "("):
        if tokens[at] == "(" and "/" in tokens[start:at]:
            raise Unreadable("a quotient of a product without a sign")
        factor, end = _factor(tokens, at + (tokens[at] != "("), depth)
        if tokens[at] == "/" and not factor:
            raise Unreadable("division by zero")
        value, at = (value / factor if tokens[at] == "/" else value * factor), end
    return value, at


def _factor(tokens: Sequence[str], at: int, depth: int) -> tuple[Fraction, int]:
    if at == len(tokens) or depth > _DEEPEST:
        raise Unreadable("too deep, or a number is missing")
    if tokens[at] == "-":
        value, at = _factor(tokens, at + 1, depth + 1)
        return -value, at
    if tokens[at] == "(":
        value, at = _sum(tokens, at + 1, depth + 1)
        if at == len(tokens) or tokens[at] != ")":
            raise Unreadable("unbalanced")
        return value, at + 1
    if not tokens[at].isdigit():
        raise Unreadable(tokens[at])
    return Fraction(int(tokens[at])), at + 1


def solve(numbers: Sequence[int], target: Fraction, *, use: str = "all") -> str | None:
    """Return an expression that reaches the target, by trying everything; None: there is none.

    For the few numbers of such games: 4 take milliseconds, 6 may take seconds.
    """
    return _search([(Fraction(number), str(number)) for number in numbers], target, use)


def _search(terms: list[tuple[Fraction, str]], target: Fraction, use: str) -> str | None:
    if use == "some" or len(terms) == 1:
        for value, text in terms:
            if value == target:
                return text
    for i, (x, left) in enumerate(terms):
        for j, (y, right) in enumerate(terms):
            if i == j:
                continue
            others = [term for k, term in enumerate(terms) if k not in (i, j)]
            for value, sign in _combinations(x, y, ordered=i < j):
                if (found := _search([*others, (value, f"({left} {sign} {right})")], target, use)) is not None:
                    return found
    return None


def _combinations(x: Fraction, y: Fraction, *, ordered: bool) -> list[tuple[Fraction, str]]:
    """Sums and products once for each pair, differences and quotients in both orders."""
    both = [(x + y, "+"), (x * y, "*")] if ordered else []
    return [*both, (x - y, "-"), *([(x / y, "/")] if y else [])]

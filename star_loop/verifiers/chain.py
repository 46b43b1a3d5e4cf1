"""The verifier of chains of equations told in words: the stated answer decides, and every equation is graded."""

import re
from dataclasses import replace

from star_loop.records import Observation, Verdict
from star_loop.verifiers.exact import Exact

_QUANTITY = re.compile(r"\d+|\b(?:twice|doubles)\b")
_EQUATION = re.compile(r"(\d+) *([-+*]) *(\d+) *= *(\d+)")
_RESULTS = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}


class Chain(Exact):
    """Correct: what follows the marker is the gold answer. `score` is the share of equations that are right.

    The question's quantities, in their order, are the operands: the first equation has the first two, and every later
    one the result before it and the next quantity; `twice` and `doubles` stand for a 2. So an equation is right where
    it has its operands, `=` holds, and missing and surplus equations count as wrong. Whether to add or to subtract is
    what the words of the question say; that is left to the answer.

    Example:
        >>> told = Observation(id="1", question="Ann has 9 apples, and Ben has 4 fewer. How many has Ben?", answer="5")
        >>> [Chain().judge(told, f"{steps}\\n#### 5").score for steps in ("9 - 4 = 5.", "4 + 1 = 5.", "So it is 5.")]
        [1.0, 0.0, 0.0]
    """

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Compare the stated answer with the gold one, and grade the equations before it."""
        verdict = super().judge(observation, text)
        steps = text if self.marker is None else text.rpartition(self.marker)[0]
        return replace(verdict, score=grade(observation.question, steps))


def grade(question: str, steps: str) -> float:
    """Return the share of right equations, in [0, 1]; 0 where the question wants none."""
    operands = [2 if word.isalpha() else _number(word) for word in _QUANTITY.findall(question)]
    written = [(_number(a), sign, _number(b), _number(c)) for a, sign, b, c in _EQUATION.findall(steps)]
    expected, right = max(len(operands) - 1, 0), 0
    before = operands[0] if operands else 0
    for (left, sign, operand, result), wanted in zip(written, operands[1:], strict=False):
        placed = (left, operand) == (before, wanted) or (sign != "-" and (operand, left) == (before, wanted))
        right += placed and _RESULTS[sign](left, operand) == result
        before = result
    return right / (max(expected, len(written)) or 1)


def _number(digits: str) -> int:
    """Read what the digits stand for; a model may write more than Python reads at once, and none are so large."""
    return int(digits[:18])

"""The verifier of column arithmetic: the answer must be equal, and every row of the scratchpad is graded."""

import re

from star_loop.protocols import Verifier
from star_loop.records import How, Observation, Verdict
from star_loop.verifiers.columns import ANSWER, LETTERS, Carries, Problem, parse
from star_loop.verifiers.exact import normalise
from star_loop.verifiers.reply import reply
from star_loop.verifiers.wrapping import unwrap

_CARRIES = re.compile(r"[a-z][0-9]{3}[-:*]([0-9])[0-9](?:,[0-9]{3}:([0-9])[0-9])?")


class Scratchpad(Verifier):
    """Correct: the digits after the last `#` are the gold answer. `score` is the share of rows that are right.

    A row is right when it is what the law of the column gives for the question's digits and the carries that the row
    before it wrote; so one slip is one wrong row, however far it spreads. Missing and surplus rows count as wrong. A
    rationale with a correct answer and a score of 1 is faithful.

    Example:
        >>> sum_of_two = Observation(id="1", question="q54r87=", answer="129")
        >>> Scratchpad().judge(sum_of_two, "q540:09;r870:16;#q9r2s1")
        Verdict(answer='129', correct=True, how='equal (marker)', score=0.5)
    """

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Compare the answer after the last `#` with the gold answer, and check the rows before it."""
        problem = parse(observation.question)
        if problem is None:
            return Verdict(answer=None, correct=False, how="not a column question")
        text = reply(text)
        steps, marker, tail = text.rpartition(ANSWER)
        score = _grade(problem, steps if marker else text)
        if not marker:
            return Verdict(answer=None, correct=False, how=How.NO_MARKER, score=score)
        answer = _read(problem, unwrap(tail))
        if answer is None:
            return Verdict(answer=None, correct=False, how="unreadable answer", score=score)
        correct = answer == normalise(observation.answer)
        return Verdict.compared(answer, correct, "marker", score)


def _read(problem: Problem, marked: str) -> str | None:
    """The number that `q9r2s1` stands for, where the letters are the problem's own, in order and without a gap."""
    letters, digits = marked[::2], marked[1::2]
    in_place = len(letters) == len(digits) and LETTERS.startswith(letters, problem.start)
    if not digits or not in_place or not (digits.isascii() and digits.isdigit()):
        return None
    return normalise(digits[::-1])


def _grade(problem: Problem, steps: str) -> float:
    """Return the share of right rows, in [0, 1]."""
    written = steps.split(";")
    if written[-1] == "":
        written.pop()
    carries, right, expected = problem.no_carries, 0, 0
    while problem.has_row(expected, carries):
        row, left = problem.row(expected, carries)
        found = written[expected] if expected < len(written) else ""
        right += found == row
        carries = _carries(found, left)
        expected += 1
    return right / max(expected, len(written))


def _carries(row: str, law: Carries) -> Carries:
    """Return the carries that a row wrote; where it cannot be read, those that the law gives."""
    match = _CARRIES.fullmatch(row)
    written = tuple(int(carry) for carry in match.groups() if carry is not None) if match else ()
    return written if len(written) == len(law) else law

"""The verifier of mathematics in LaTeX, by Math-Verify in processes that are killed when they take too long."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec

from pydantic import Field

from star_loop.protocols import Verifier
from star_loop.records import Observation, Verdict
from star_loop.verifiers.latex import equal_at_sight, plain
from star_loop.verifiers.math_pool import MathPool, Question
from star_loop.verifiers.math_process import Stopped
from star_loop.verifiers.statement import statement

_COMMAND = re.compile(r"\\(?:begin|end)\s*\{[a-z]*\*?\}|\\(?:text|mathrm|mbox)\s*\{[^{}]*\}|\\[A-Za-z]+")
_PROSE = re.compile(r"[A-Za-z]{3,}|\b(?:or|is|no|to|in|of|by|we|it)\b", re.IGNORECASE)
_FUNCTIONS = re.compile(r"\b(?:sin|cos|tan|log|exp|sqrt|inf|max|min|mod)\b")
_NAME = re.compile(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?(?:\([A-Za-z]\))?")
_UNITS = re.compile(r"\\(?:text|mathrm|mbox)\s*\{(?P<words>[^{}]*)\}")


class Math(Verifier):
    """Correct: the stated answer is mathematically equal to the gold one.

    The answer stands in `\\boxed{…}`, behind `####`, or behind an answer phrase. Two plain numbers or quotients are
    compared at once, without rounding; so is what differs in typesetting only; all else by Math-Verify. Words in it
    make it no answer, be they "5 or 6" or "not 5"; an equation is right if each of its sides is, the name before the
    first `=` aside.

    Example:
        >>> asked = Observation(id="1", question="?", answer="1,000")
        >>> [Math().judge(asked, f"So it is \\\\boxed{{{x}}}.").correct for x in ("1000", "1000.0", "100", "1000 or 1")]
        [True, True, False, False]
    """

    timeout: float = Field(default=5.0, gt=0)
    """Seconds for one comparison; then its process is killed, and the verdict is wrong."""
    processes: int | None = Field(default=None, ge=1)
    """Processes that compare at the same time; None: one for each core, at most 16."""

    def check(self) -> None:
        """Math-Verify must be installed.

        Raises:
            ValueError: it is not.
        """
        if find_spec("math_verify") is None:
            raise ValueError('task.verifier=math needs Math-Verify: pip install "star_loop[math]"')

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Compare the stated answer with the gold one; `answer` is as stated."""
        read = _read(observation, text)
        return read if isinstance(read, Verdict) else read.settled(self._pool.ask(self.timeout, read.question))

    def judge_all(self, asked: Sequence[tuple[Observation, str]]) -> list[Verdict]:
        """`judge` for each; Math-Verify is asked about several at once."""
        read = [_read(observation, text) for observation, text in asked]
        questions = [each.question for each in read if not isinstance(each, Verdict)]
        found = iter(self._pool.ask_all(self.timeout, questions))
        return [each if isinstance(each, Verdict) else each.settled(next(found)) for each in read]

    def statement(self, observation: Observation) -> str:
        """Return the answer in a box."""
        return f"\\boxed{{{observation.answer}}}"

    def instruction(self, observation: Observation) -> str:
        """Ask for a box."""
        return r"Think step by step. End with the answer in \boxed{}."

    @cached_property
    def _pool(self) -> MathPool:
        return MathPool(self.processes)


@dataclass(frozen=True, slots=True)
class _Open:
    """An answer that cannot be told right or wrong at sight."""

    answer: str
    how: str
    question: Question

    def settled(self, equal: bool | Stopped | None) -> Verdict:
        if isinstance(equal, Stopped):
            return Verdict(answer=self.answer, correct=False, how=f"comparison stopped: {equal}")
        return _NOTHING if equal is None else Verdict.compared(self.answer, equal, self.how)


_NOTHING = Verdict(answer=None, correct=False, how="no answer")


def _read(observation: Observation, text: str) -> Verdict | _Open:
    stated = statement(text)
    words = stated.words.strip().strip("$").strip() if stated else ""
    gold = observation.answer.strip().strip("$").strip()
    if stated is None or not words or not (words == gold or _is_mathematics(words)):
        return _NOTHING
    number = plain(words)
    if number is not None and (wanted := plain(gold)) is not None:
        return Verdict.compared(number, number == wanted, stated.how)
    if number is None and stated.how == "fallback":
        return _NOTHING
    equal = equal_at_sight(words, gold)
    if equal is not None:
        return Verdict.compared(words, equal, stated.how)
    return _Open(words, stated.how, (gold, tuple(_sides(words, gold))))


def _is_mathematics(words: str) -> bool:
    """Whether there are no words but names of functions, LaTeX commands, and what stands in `\\text{…}`."""
    units = _UNITS.search(words)
    if units and re.search(r"\b(?:or|not|and)\b", units["words"], re.IGNORECASE):
        return False
    return not _PROSE.search(_FUNCTIONS.sub(" ", _COMMAND.sub(" ", words)))


def _sides(words: str, gold: str) -> list[str]:
    """What must equal the gold answer: every side of an equation, unless the gold answer is one."""
    if "=" in gold or not re.search(r"(?<![<>!:])=", words):
        return [words]
    first, *others = (side.strip() for side in re.split(r"(?<![<>!:])=", words))
    return others if _NAME.fullmatch(first) else [first, *others]

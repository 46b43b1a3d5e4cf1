"""The verifier of mathematics in LaTeX, by Math-Verify in processes that are killed when they take too long."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from importlib.util import find_spec

from pydantic import Field

from star_loop.processes.kept import Stopped
from star_loop.records import How, Observation, Verdict
from star_loop.verifiers.at_sight import told_at_sight
from star_loop.verifiers.characters import plain_characters
from star_loop.verifiers.dropped import same_marks
from star_loop.verifiers.kinds import kind
from star_loop.verifiers.latex import plain, spelt
from star_loop.verifiers.math_pool import MathPool, Question
from star_loop.verifiers.sentences import sentences
from star_loop.verifiers.stated import Stated
from star_loop.verifiers.statement import Statement
from star_loop.verifiers.structure import Parts, comparable, parts, same_base
from star_loop.verifiers.touching import read_with
from star_loop.verifiers.units import names, same_currency, speaks, with_digits
from star_loop.verifiers.wrapping import unwrap

_NAME = re.compile(
    r"(?:m ?)?\\(?:angle|triangle|overline|vec|mathbf|widehat) ?(?:\{[A-Za-z ]+\}|[A-Z](?: ?[A-Z])*)"
    r"|\\?[A-Za-z]+(?:_\{?\w+\}?)?'*(?:\([^()=<>]{1,20}\))?|\([A-Za-z](?:, ?[A-Za-z])+\)"
    r"|[A-Z]{2,3}|\|[^|=<>]{1,20}\||\\# ?[A-Z]"
)
_CALLED = re.compile(
    r"\\(?:text|textbf|mathrm|mbox|operatorname) *\{(?P<words>[A-Za-z' ,-]*)(?P<is>[:=]?) *\} *(?P<sign>=|:)? *"
)
"""Words that name what follows: `\text{Area} = `, `\text{The area is }`."""
_PROBABILITY = re.compile(
    r"(?:P|Pr|\\Pr|\\mathbb\{[PE]\}|E|Var|\\operatorname\{(?:E|P|Var)\})(?:\\left)? *[(\[][^()\[\]]{1,40}[)\]] *= *"
)
"""What a probability or a mean is called by."""
_ROUNDED = re.compile(r"(?P<exact>[^=<>]*(?:\\frac|\\sqrt|\\pi|\\ln|\\log|/).*?) *(?:\\approx|\\simeq|≈) *-?[\d.,]+\Z")
"""A value with its decimal fraction behind it."""
_SPELT = re.compile(r"(?:\\(?:text|mathrm) *\{ *)?[a-z]+(?:[ -][a-z ]*)?\}?(?: *[\d.,]+)?\Z", re.IGNORECASE)
_UPRIGHT = re.compile(r"\\(?:text|mathrm) *\{([^{}]*)\}")
_IS = ("is", "are", "equals")


class Math(Stated):
    """Correct: the stated answer is mathematically equal to the gold one.

    The answer stands in `\\boxed{…}`, behind `####`, or behind an answer phrase. Two plain numbers or quotients are
    compared at once, without rounding; so is what differs in typesetting only; all else by Math-Verify, whose rounding
    is not believed. Sets, tuples, intervals and numbers in a base are different things. Words count: a unit may be
    missing on one side, but "5 million", "5 percent" and "5 is wrong" are not 5. An equation is right if each of its
    sides is, the name before the first `=` aside.

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
        """Check that Math-Verify is installed.

        Raises:
            ValueError: it is not.
        """
        if find_spec("math_verify") is None:
            raise ValueError('task.verifier=math needs Math-Verify: pip install "star_loop[math]"')

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Compare the stated answer with the gold one; `answer` is as stated."""
        read = self._read(observation, text)
        return read if isinstance(read, Verdict) else read.settled(self._pool.ask(self.timeout, read.question))

    def judge_all(self, asked: Sequence[tuple[Observation, str]]) -> list[Verdict]:
        """Return what `judge` does for each; Math-Verify is asked about several at once."""
        read = [self._read(observation, text) for observation, text in asked]
        questions = [each.question for each in read if not isinstance(each, Verdict)]
        found = iter(self._pool.ask_all(self.timeout, questions))
        return [each if isinstance(each, Verdict) else each.settled(next(found)) for each in read]

    def read(self, stated: Statement, observation: Observation) -> str | None:
        """Return the stated mathematics; a second, different one behind it leaves none."""
        gold, line = _bare(observation.answer), _value(read_with(stated))
        if line is None or line in (gold, observation.answer) or spelt(line) == spelt(gold):
            return line
        first, *later = sentences(line)
        if parts(first) is None or any(_is_another(other, first) for other in later):
            return None
        number = plain(first) if same_currency(gold, first, observation.question) else None
        return number or (first if first and stated.how == "marker" else None)

    def compare(self, answer: str, observation: Observation) -> str:
        """Compare without Math-Verify: `equal`, `different`, or `open`."""
        compared = _compared(answer, observation)
        return compared if isinstance(compared, str) else "open"

    def _read(self, observation: Observation, text: str) -> "Verdict | _Open":
        stated = self.find(text, observation)
        answer = self.read(stated, observation) if stated else None
        if stated is None or answer is None:
            return Verdict(answer=None, correct=False, how=How.NO_ANSWER, reading=stated.reading if stated else {})
        compared, reading = _compared(answer, observation), {**stated.reading, "spelt": spelt(answer)}
        if isinstance(compared, str):
            return Verdict.compared(answer, compared == "equal", stated.how, reading=reading)
        return _Open(answer, stated.how, compared, reading)

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
    reading: Mapping[str, str] = field(default_factory=dict)

    def settled(self, equal: bool | Stopped | None) -> Verdict:
        if isinstance(equal, Stopped):
            how = f"comparison stopped: {equal}"
            return Verdict(answer=self.answer, correct=False, how=how, reading=self.reading)
        if equal is None:
            return Verdict(answer=None, correct=False, how=How.NO_ANSWER, reading=self.reading)
        return Verdict.compared(self.answer, equal, self.how, reading=self.reading)


def _bare(answer: str) -> str:
    return _value(unwrap(plain_characters(answer))) or ""


def _value(line: str | None) -> str | None:
    """Leave out the words that only name a value, and write a number in words in digits."""
    called = _CALLED.match(line) if line else None
    if line and called and called.end() < len(line):
        words = called["words"].casefold().split()
        named = bool(called["sign"] or called["is"]) or words[-1:] in [[verb] for verb in _IS]
        if named and not any(speaks(word) for word in words if word not in _IS):
            line = unwrap(line[called.end() :])
    if line and (probability := _PROBABILITY.match(line)):
        line = line[probability.end() :]
    if line and (rounded := _ROUNDED.fullmatch(line)):
        line = rounded["exact"]
    return with_digits(" ".join(_UPRIGHT.sub(r" \1 ", line).split())) if line and _SPELT.match(line) else line


def _compared(answer: str, observation: Observation) -> "str | Question":
    """`equal` or `different`, where that can be told at sight; else what to ask Math-Verify."""
    gold = _bare(observation.answer)
    number, wanted = plain(answer), plain(gold)
    if not same_currency(gold, answer, observation.question):
        return "different"
    if (number is not None and number == wanted) or answer == gold or spelt(answer) == spelt(gold):
        return "equal"
    ours, golden = parts(answer), parts(gold)
    if ours is None or golden is None or not comparable(golden, ours, observation.question):
        return "different"
    if not same_marks(spelt(gold), spelt(answer)) or _in_cents(gold, ours) or _in_cents(answer, golden):
        return "different"
    if "base" in (ours.kind, golden.kind):
        return _verdict(same_base(golden.mathematics, ours.mathematics, observation.question))
    if ours.percent != golden.percent:
        return _as_shares(golden, ours, observation.question)
    return _same_mathematics(golden.mathematics, ours.mathematics)


def _in_cents(dollars: str, other: Parts) -> bool:
    return "$" in dollars and "cent" in names(other.words)


def _same_mathematics(gold: str, answer: str) -> "str | Question":
    number, wanted = plain(answer), plain(gold)
    if number is not None and wanted is not None:
        return _verdict(number == wanted)
    sides = _sides(answer, gold)
    told = [told_at_sight(gold, side) for side in sides]
    if False in told:
        return "different"
    open_sides = tuple(side for side, each in zip(sides, told, strict=True) if each is None)
    return (gold, open_sides) if open_sides else "equal"


def _as_shares(gold: Parts, answer: Parts, question: str) -> "str | Question":
    """Compare a percentage with a number: 28 % is 0.28, and 28 where the question asks for per cent."""
    if "percent" in names(question) and plain(gold.mathematics) == plain(answer.mathematics) is not None:
        return "equal"
    one, other = (plain(each.mathematics) for each in (gold, answer))
    if one is not None and other is not None:
        return _verdict(
            Fraction(one) / (100 if gold.percent else 1) == Fraction(other) / (100 if answer.percent else 1)
        )
    shares = [rf"\frac{{{each.mathematics}}}{{100}}" if each.percent else each.mathematics for each in (gold, answer)]
    return _same_mathematics(*shares)


def _verdict(equal: bool) -> str:
    return "equal" if equal else "different"


def _is_another(words: str, answer: str) -> bool:
    """Tell whether a clause behind an answer is another answer."""
    found = parts(words)
    return (
        found is not None and bool(found.mathematics) and spelt(answer) not in (spelt(words), *_sides(spelt(words), ""))
    )


def _sides(words: str, gold: str) -> list[str]:
    """Return what must equal the gold answer: every side of an equation, unless the gold answer is one."""
    if "=" in gold or kind(words) == "list" or not re.search(r"(?<![<>!:])=", words):
        return [words]
    first, *others = (side.strip() for side in re.split(r"(?<![<>!:])=", words))
    return others if _NAME.fullmatch(first) else [first, *others]

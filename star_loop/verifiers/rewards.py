"""The verifier of one's own functions: `task.verifier=my_module:right`, or `path/to/file.py:right`."""

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BeforeValidator, Field, PrivateAttr

from star_loop.processes.kept import KeptProcess, Stopped
from star_loop.protocols import Verifier
from star_loop.records import Observation, Verdict
from star_loop.verifiers.reply import reply
from star_loop.verifiers.rewards_process import EVERYTHING
from star_loop.verifiers.statement import statement

_WRITTEN = re.compile(
    r"\s*(?:(?P<weight>\d+(?:\.\d+)?|\.\d+)\s*\*\s*)?(?P<where>[^\s:*][^:*]*):(?P<name>[A-Za-z_]\w*)\s*"
)
FORMS = ("#### {answer}", "The answer is {answer}.", "\\boxed{{answer}}", "<answer>{answer}</answer>", "{answer}")
"""How a gold answer may be stated; the first one that the function accepts is asked for."""
OWN = ("question", "text", "reply", "answer", "choices", "rationale", "skill", "level", "id", "row")
"""Names of parameters that are no columns of the row."""
_ROUNDING = 1e-9
_REMEMBERED = 1 << 16
"""Observations whose form is remembered."""


class Part(NamedTuple):
    """A function, and how much its reward counts."""

    weight: float
    named: str

    @property
    def name(self) -> str:
        """Return what the function is called."""
        return self.named.rpartition(":")[2]


class Rejected(ValueError):
    """A function cannot be used, or failed; `reason` says in a word or two why."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def part(written: str) -> Part:
    """Read `my_module:right`, `path/to/file.py:right` or, with a weight, `0.2*my_module:brief`.

    Raises:
        ValueError: it is none of them.

    Example:
        >>> part("0.2*mine/rewards.py:brief")
        Part(weight=0.2, named='mine/rewards.py:brief')
    """
    found = _WRITTEN.fullmatch(written)
    if found is None or not float(found["weight"] or 1):
        raise ValueError(
            f"expected my_module:function, path/to/file.py:function or 0.2*my_module:other, got {written!r}"
        )
    return Part(float(found["weight"] or 1), f"{found['where'].strip()}:{found['name']}")


def _listed(functions: Any) -> Any:
    listed = [functions] if isinstance(functions, str) else functions
    for written in listed if isinstance(listed, list | tuple) else ():
        part(str(written))
    return listed


class Rewards(Verifier):
    """Correct: the first function gives a text `threshold` or more. The others shape its score, and nothing else.

    A function takes what it wants by name: `question`, `text`, `answer` (the gold one), `reply` (the text without
    thinking), `choices`, `rationale`, `skill`, `level`, `id`, `row`, or a column of the row. It returns a truth value
    or a number between 0 and 1. The score is the mean of all functions by their weights; one function of truth values
    gives none. Functions run in a process of their own, which is killed when a call takes too long.
    """

    rows: ClassVar[bool] = True
    compares: ClassVar[bool] = False

    functions: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(min_length=1)
    """`my_module:right` or `path/to/file.py:right`; a list, with weights: `[mine.py:right,0.2*mine.py:brief]`."""
    threshold: float = Field(default=1.0, gt=0, le=1)
    """What the first function must give a text that is correct."""
    form: str | None = Field(default=None, pattern=r"\{answer\}")
    """How a text should state its answer, such as `Answer: {answer}`; None: the usual form that the function takes."""
    timeout: float = Field(default=5.0, gt=0)
    """Seconds for one call; then the process is killed, and the verdict is wrong."""

    _forms: dict[tuple[str, str], str] = PrivateAttr(default_factory=dict)

    def check(self) -> None:
        """Load the functions.

        Raises:
            ValueError: there is no such function, or its module cannot be imported.
        """
        _ = self._greeting

    def probe(self, observation: Observation, text: str) -> Verdict:
        """Judge a text.

        Raises:
            ValueError: a function failed, took too long, or asks for what the row does not have.
        """
        return self._judged(observation, text)

    @property
    def takes_labels(self) -> bool:
        """Judge by the gold answer where the first function asks for it."""
        return bool({"answer", EVERYTHING} & {*self._greeting["asks"][0]})

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Ask the functions; where one of them fails, the text is wrong."""
        try:
            return self._judged(observation, text)
        except Rejected as failure:
            return Verdict(answer=None, correct=False, how=f"reward failed: {failure.reason}")

    def fingerprint(self) -> str:
        """SHA-256 over the files of the functions."""
        return hashlib.sha256("".join(self._greeting["sources"]).encode()).hexdigest()

    def statement(self, observation: Observation) -> str:
        """Return the gold answer in the form that is asked for."""
        return _filled(self._form(observation), observation.answer)

    def instruction(self, observation: Observation) -> str:
        """Ask for this form; without a gold answer, for nothing."""
        if self.form is None and not observation.answer:
            return ""
        form = self._form(observation)
        if form == "{answer}":
            return "Think step by step. Write the answer alone in the last line."
        return f'Think step by step. End with "{_filled(form, "X")}", where X is the answer.'

    def _judged(self, observation: Observation, text: str) -> Verdict:
        rewards = [self._reward(place, observation, text) for place in range(len(self.functions))]
        stated = statement(text)
        correct = self._enough(rewards[0])
        answer = stated.line if stated is not None else "" if correct else None
        weights = [each.weight for each in self._parts]
        graded = len(rewards) > 1 or not isinstance(rewards[0], bool)
        score = sum(w * float(r) for w, r in zip(weights, rewards, strict=True)) / sum(weights)
        told = ", ".join(f"{each.name} {float(r):g}" for each, r in zip(self._parts, rewards, strict=True))
        return Verdict(
            answer=answer,
            correct=correct,
            how="rewarded" if correct else "not rewarded",
            score=min(1.0, score) if graded else None,
            reading={"reply": reply(text), "rewards": told},
        )

    def _takes(self, observation: Observation, text: str) -> bool:
        """Tell whether the first function, which alone decides, finds a text correct."""
        try:
            return self._enough(self._reward(0, observation, text))
        except Rejected:
            return False

    def _enough(self, reward: float) -> bool:
        return reward >= self.threshold - _ROUNDING

    def _reward(self, place: int, observation: Observation, text: str) -> bool | float:
        name = self._parts[place].name
        arguments = self._arguments(place, observation, text)
        try:
            found = self._process.reply(self.timeout, [place, arguments])
        except Stopped as stopped:
            raise Rejected(
                f"{name} took more than {self.timeout:g} s or died on {text[:60]!r}", str(stopped)
            ) from stopped
        if "error" in found:
            raise Rejected(f"{name} failed on {text[:60]!r}: {found['error']}", found["error"].partition(":")[0])
        reward: bool | float = found["reward"]
        return reward

    def _arguments(self, place: int, observation: Observation, text: str) -> Mapping[str, Any]:
        asks: Mapping[str, bool] = self._greeting["asks"][place]
        known = by_name(observation, text)
        if missing := [name for name, due in asks.items() if due and name not in known]:
            raise Rejected(
                f"{self._parts[place].named} asks for {missing[0]!r}: a parameter is {names(observation)}",
                f"no {missing[0]}",
            )
        return known if EVERYTHING in asks else {name: known[name] for name in asks if name in known}

    def _form(self, observation: Observation) -> str:
        """The form that is asked for, or the first usual one that is right for this observation's gold answer."""
        if self.form is not None:
            return self.form
        key = (observation.question, observation.answer)
        if key not in self._forms:
            if len(self._forms) >= _REMEMBERED:
                self._forms.clear()
            stated = ((form, _filled(form, observation.answer)) for form in FORMS)
            self._forms[key] = next((f for f, text in stated if self._takes(observation, text)), FORMS[0])
        return self._forms[key]

    @cached_property
    def _parts(self) -> Sequence[Part]:
        return [part(written) for written in self.functions]

    @cached_property
    def _greeting(self) -> Mapping[str, Any]:
        try:
            greeting = self._process.greeting()
        except Stopped as stopped:
            raise Rejected(f"task.verifier: {self._names} cannot be loaded ({stopped})", "not loaded") from stopped
        if "error" in greeting:
            raise Rejected(f"task.verifier: {self._names} cannot be loaded: {greeting['error']}", "not loaded")
        found: Mapping[str, Any] = greeting
        return found

    @property
    def _names(self) -> str:
        return ", ".join(each.named for each in self._parts)

    @cached_property
    def _process(self) -> KeptProcess:
        return KeptProcess(
            (sys.executable, "-m", "star_loop.verifiers.rewards_process", *(p.named for p in self._parts))
        )


def by_name(observation: Observation, text: str) -> dict[str, Any]:
    """Return all that may be asked for about a text, by its name."""
    row = observation.meta.get("row", observation.meta)
    own = {name: getattr(observation, name) for name in OWN if hasattr(observation, name)}
    return {**row, **own, "text": text, "reply": reply(text), "row": row}


def names(observation: Observation) -> str:
    """Say what may be asked for."""
    columns = ", ".join(observation.meta.get("row", observation.meta))
    return f"one of {', '.join(OWN)}, or a column of the row (there is {columns or 'none here'})"


def _filled(form: str, answer: str) -> str:
    return form.replace("{answer}", answer)


def json_values(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row as JSON has it: decimals as numbers, dates as text."""
    written = json.dumps(dict(row), default=lambda value: float(value) if isinstance(value, Decimal) else str(value))
    values: Mapping[str, Any] = json.loads(written)
    return values

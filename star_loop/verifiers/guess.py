"""The verifiers by name, and the one that a gold answer asks for by its looks."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property

from star_loop.protocols import Verifier
from star_loop.records import Observation, Verdict
from star_loop.verifiers.code import Code
from star_loop.verifiers.exact import Exact
from star_loop.verifiers.expression import Expression
from star_loop.verifiers.label import YesNo
from star_loop.verifiers.math import Math
from star_loop.verifiers.multiple_choice import MultipleChoice, read_choice
from star_loop.verifiers.rewards import Rewards
from star_loop.verifiers.stated import Phrases, Stated
from star_loop.verifiers.statement import ENGLISH

_YES_NO = re.compile(r"\s*(?:yes|no|true|false)\s*", re.IGNORECASE)


class Guess(Verifier):
    """The verifier that fits each observation's gold answer.

    `multiple_choice` where there are options and the gold is one of them; `expression` where numbers are given;
    `yes_no` for yes, no, true and false; else `exact`, behind `####`.

    Example:
        >>> [Guess().choose(Observation(id="1", question="?", answer=a)).__class__.__name__ for a in ("no", "12")]
        ['YesNo', 'Exact']
    """

    phrases: Phrases = ENGLISH
    """What announces an answer; see `Stated.phrases`."""
    thinking: bool = False
    """Whether what stands inside finished thinking (`<think>…</think>`) counts too."""
    units: bool = True
    """Whether words behind a number are its unit; see `Exact.units`."""

    def choose(self, observation: Observation) -> Verifier:
        """Return the verifier for one observation."""
        unknown = not observation.answer  # a gold that labels by majority do without
        if observation.choices and (unknown or read_choice(observation.answer, observation.choices) is not None):
            return self._verifiers["multiple_choice"]
        if observation.meta.get("numbers"):
            return self._verifiers["expression"]
        return self._verifiers["yes_no" if _YES_NO.fullmatch(observation.answer) else "exact"]

    @cached_property
    def _verifiers(self) -> Mapping[str, Verifier]:
        stated: Sequence[type[Stated]] = (MultipleChoice, Expression, YesNo)
        found = [each(phrases=self.phrases, thinking=self.thinking) for each in stated]
        exact = Exact(thinking=self.thinking, units=self.units)
        return dict(zip(("multiple_choice", "expression", "yes_no", "exact"), [*found, exact], strict=True))

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Judge as the chosen verifier does."""
        return self.choose(observation).judge(observation, text)

    def statement(self, observation: Observation) -> str:
        """Return what the chosen verifier wants."""
        return self.choose(observation).statement(observation)

    def instruction(self, observation: Observation) -> str:
        """Ask as the chosen verifier does."""
        return self.choose(observation).instruction(observation)


NAMED: Mapping[str, type[Verifier]] = {
    "guess": Guess,
    "exact": Exact,
    "math": Math,
    "multiple_choice": MultipleChoice,
    "yes_no": YesNo,
    "expression": Expression,
    "code": Code,
}
"""What `task.verifier=<name>` means; verifiers with keys of their own are given by `task.verifier._target_=…`."""


def named(verifier: object) -> object:
    """Return the verifier of a name, or of one's own functions (`Rewards`); anything else as it is.

    Raises:
        ValueError: an unknown name, or what names no function.
    """
    if isinstance(verifier, list | tuple) or (isinstance(verifier, str) and ":" in verifier):
        functions = [verifier] if isinstance(verifier, str) else verifier
        return Rewards(functions=tuple(map(str, functions)))
    if not isinstance(verifier, str):
        return verifier
    if verifier not in NAMED:
        raise ValueError(
            f"there is no verifier of this name: known are {', '.join(NAMED)}, or give a function of your own, "
            "my_module:right or path/to/file.py:right, or task.verifier._target_"
        )
    return NAMED[verifier]()


def announced(verifier: object, phrases: object) -> object:
    """Return the same verifier, listening for these answer phrases (`Stated.phrases`).

    Raises:
        ValueError: it listens for none.
    """
    if not isinstance(verifier, Guess | Stated):
        raise ValueError(
            f"task.phrases: {type(verifier).__name__} looks for no answer phrase: leave the key out, or take "
            "task.verifier=guess, math, multiple_choice, yes_no or expression"
        )
    return type(verifier)(**{**dict(verifier), "phrases": phrases})

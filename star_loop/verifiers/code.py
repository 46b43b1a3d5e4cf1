"""The verifier of programs: the last fenced block, run with the observation's tests in a sandbox."""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from pydantic import PrivateAttr

from star_loop.errors import ConfigError
from star_loop.protocols import Verifier
from star_loop.records import How, Observation, Verdict
from star_loop.verifiers.fences import program
from star_loop.verifiers.reply import reply
from star_loop.verifiers.sandbox import PASSED, Sandbox, Usual

_COLUMN = re.compile(r"\{(\w+)\}")
_SHOWN = 80
"""Characters of tests that a message shows."""


class Code(Verifier):
    """Correct: the last fenced block of Python, followed by the observation's tests, runs to its end without an error.

    Where no block is said to be Python, the last one of no language counts.

    Tests are columns of the row, or of `observation.meta`: MBPP's `{test_list}`, HumanEval's
    `{test}\\ncheck({entry_point})`.
    """

    rows: ClassVar[bool] = True
    verbatim: ClassVar[bool] = True

    sandbox: Sandbox = Usual()
    """Where programs run."""
    before: str = ""
    """What stands before the block, with columns in braces: `{prompt}` where the model completes a function."""
    tests: str = "{tests}"
    """What stands behind it; each element of a list is a line."""

    _proven: tuple[str, str] | None = PrivateAttr(default=None)
    """What an empty program has failed with, so that it is not run again for each text."""

    def check(self) -> None:
        """Look at the sandbox.

        Raises:
            ValueError: it cannot keep programs apart.
        """
        self.sandbox.check()

    @property
    def takes_labels(self) -> bool:
        """Judge by the tests."""
        return False

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Run the block with the tests."""
        counted = reply(text)
        block = program(counted)
        if block is None or not block.strip():
            return Verdict(answer=None, correct=False, how=How.NO_ANSWER, reading={"reply": counted})
        try:
            before, tests = self._around(observation)
        except ConfigError:  # of a row that was not probed
            return Verdict(answer=block, correct=False, how="no tests")
        whole = f"{before}\n{block}\n{tests}\n"
        how = self.sandbox.ending(whole)
        reading = {"reply": counted, "program": whole}
        return Verdict(answer=block, correct=how == PASSED, how=f"{how} (marker)", reading=reading)

    def judge_all(self, asked: Sequence[tuple[Observation, str]]) -> list[Verdict]:
        """Run as many at once as the sandbox takes."""
        if len(asked) < 2 or self.sandbox.at_once < 2:
            return super().judge_all(asked)
        with ThreadPoolExecutor(self.sandbox.at_once) as threads:
            return list(threads.map(lambda each: self.judge(*each), asked))

    def probe(self, observation: Observation, text: str) -> Verdict:
        """Judge a text.

        Raises:
            ConfigError: the observation has no tests, or they test nothing: a program that is empty passes.
        """
        around = self._around(observation)
        if around != self._proven:
            self._prove(observation, *around)
            self._proven = around
        return self.judge(observation, text)

    def _prove(self, observation: Observation, before: str, tests: str) -> None:
        # Tests alone know no name that a program should have; with what stands before it, they may know all.
        for head in dict.fromkeys(("", before.strip() and f"{before}\n")):
            if self.sandbox.passes(f"{head}{tests}\n"):
                raise ConfigError(
                    f"{observation.id}: its tests test nothing, for an empty program passes them: {_short(tests)!r}. "
                    "Let them call the program and assert what it gives (task.verifier.tests names their columns; a "
                    "function check needs its call too), or leave the row out, also where it is right to do nothing"
                )

    def _around(self, observation: Observation) -> tuple[str, str]:
        """Return what stands before and behind a program.

        Raises:
            ConfigError: there are no tests, or a column holds no text.
        """
        columns = observation.meta.get("row", observation.meta)
        found = {}
        for key, template in {"before": self.before, "tests": self.tests}.items():
            try:
                found[key] = filled(template, columns)
            except ValueError as error:
                raise ConfigError(f"{observation.id}: task.verifier.{key}={template!r}: {error}") from error
        if not found["tests"].strip():
            there = ", ".join(columns) or "no column"
            raise ConfigError(
                f"{observation.id} has no tests: task.verifier.tests={self.tests!r} names its columns, there is {there}"
            )
        return found["before"], found["tests"]

    def statement(self, observation: Observation) -> str:
        """Return the gold program in a block."""
        return f"```python\n{observation.answer}\n```"

    def instruction(self, observation: Observation) -> str:
        """Ask for a block."""
        return (
            "Think step by step. End with the whole program in one block that begins with ```python and ends with ```."
        )


def filled(template: str, columns: Mapping[str, Any]) -> str:
    """Put columns in the place of their names in braces; of one that is missing or empty, nothing.

    Raises:
        ValueError: a column holds neither a text, a number nor a list of these, but a structure. What Python would
            show of it is a program that always runs to its end.

    Example:
        >>> filled("{test}\\ncheck({name})", {"test": ["assert a", "assert b"], "name": "f"})
        'assert a\\nassert b\\ncheck(f)'
    """

    def value(match: re.Match[str]) -> str:
        found = columns.get(match[1])
        lines = found if isinstance(found, list | tuple) else [] if found is None else [found]
        for line in lines:
            if not isinstance(line, str | int | float):
                raise ValueError(
                    f"column {match[1]} is no text and no list of texts, but holds {_short(repr(found))}: write the "
                    "tests out as lines of Python (assert f(1) == 2), one text or a list"
                )
        return "\n".join(map(str, lines))

    return _COLUMN.sub(value, template)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

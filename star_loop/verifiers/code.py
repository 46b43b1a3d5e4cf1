"""The verifier of programs: the last fenced block, run with the observation's tests in a sandbox."""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from star_loop.protocols import Verifier
from star_loop.records import How, Observation, Verdict
from star_loop.verifiers.fences import program
from star_loop.verifiers.reply import reply
from star_loop.verifiers.sandbox import PASSED, Sandbox, Usual

_COLUMN = re.compile(r"\{(\w+)\}")


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
        columns = observation.meta.get("row", observation.meta)
        tests = filled(self.tests, columns)
        if not tests.strip():
            return Verdict(answer=block, correct=False, how="no tests")
        whole = f"{filled(self.before, columns)}\n{block}\n{tests}\n"
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
            ValueError: the observation has no tests.
        """
        columns = observation.meta.get("row", observation.meta)
        if not filled(self.tests, columns).strip():
            there = ", ".join(columns) or "no column"
            raise ValueError(
                f"{observation.id} has no tests: task.verifier.tests={self.tests!r} names its columns, there is {there}"
            )
        return self.judge(observation, text)

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

    Example:
        >>> filled("{test}\\ncheck({name})", {"test": ["assert a", "assert b"], "name": "f"})
        'assert a\\nassert b\\ncheck(f)'
    """

    def value(name: str) -> str:
        found = columns.get(name)
        return "\n".join(map(str, found)) if isinstance(found, list | tuple) else "" if found is None else str(found)

    return _COLUMN.sub(lambda match: value(match[1]), template)

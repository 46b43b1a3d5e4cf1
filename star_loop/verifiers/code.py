"""The verifier of programs: an extension point, which runs nothing until it is given a sandbox."""

import re
from abc import abstractmethod

from star_loop.config.component import Component
from star_loop.protocols import Verifier
from star_loop.records import How, Observation, Verdict
from star_loop.verifiers.reply import reply

_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)


class Sandbox(Component):
    """Where a program may run: a container, a virtual machine, a remote service. The project ships none.

    Law: the program can reach neither files nor network nor processes of this machine, and ends within a time limit.
    """

    @abstractmethod
    def passes(self, program: str) -> bool:
        """Tell whether the program ends in time with exit code 0."""


class Code(Verifier):
    """Correct: the last fenced block of Python, followed by the observation's tests, ends without an error.

    The tests are `observation.meta["tests"]`: assertions, as text.
    """

    sandbox: Sandbox | None = None
    """Where programs run; None: nowhere, and the check refuses."""

    def check(self) -> None:
        """Refuse to run what a model wrote on this machine.

        Raises:
            ValueError: there is no sandbox.
        """
        if self.sandbox is None:
            raise ValueError(
                "task.verifier=code runs what a model wrote and has no sandbox: derive one from "
                "star_loop.verifiers.code.Sandbox and name it in task.verifier.sandbox._target_"
            )

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Run the block with the tests in the sandbox; without one, nothing is correct and nothing runs."""
        counted = reply(text)
        blocks = _BLOCK.findall(counted)
        if not blocks or not blocks[-1].strip():
            return Verdict(answer=None, correct=False, how=How.NO_ANSWER)
        if self.sandbox is None:
            return Verdict(answer=blocks[-1], correct=False, how="no sandbox")
        tests = str(observation.meta.get("tests", ""))
        if not tests.strip():
            return Verdict(answer=blocks[-1], correct=False, how="no tests")
        correct = self.sandbox.passes(f"{blocks[-1]}\n{tests}\n")
        return Verdict(answer=blocks[-1], correct=correct, how="passed (marker)" if correct else "failed (marker)")

"""What the verifiers share whose answer is stated in words: find the statement, read it, compare what was read."""

from abc import abstractmethod
from typing import Annotated

from pydantic import AfterValidator

from star_loop.protocols import Verifier
from star_loop.records import How, Observation, Verdict
from star_loop.verifiers.languages import chosen
from star_loop.verifiers.sentences import another_number
from star_loop.verifiers.statement import ENGLISH, Statement, statement


def _known(phrases: tuple[str, ...]) -> tuple[str, ...]:
    chosen(phrases)
    return phrases


Phrases = Annotated[tuple[str, ...], AfterValidator(_known)]
"""Codes of languages with a list of answer phrases, and phrases of one's own."""


class Stated(Verifier):
    """A verifier that reads an answer out of the text's statement and compares it."""

    phrases: Phrases = ENGLISH
    """What announces an answer besides `\\boxed{…}`, `####` and `<answer>`: languages with a list of answer phrases
    (`en`, `zh`, `hi`, `es`, `fr`, `ar`, `bn`, `pt`, `ru`, `ur`, `id`, `de`, `ja`), and phrases of your own."""
    thinking: bool = False
    """Whether what stands inside finished thinking (`<think>…</think>`) counts too."""

    @abstractmethod
    def read(self, stated: Statement, observation: Observation) -> str | None:
        """Return the answer that the statement holds, in its one spelling; None: none, or more than one."""

    @abstractmethod
    def compare(self, answer: str, observation: Observation) -> str:
        """Compare with the gold answer: `equal`, or what is wrong in a word or two."""

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Find the statement, read the answer in it and compare it with the gold one."""
        stated = self.find(text, observation)
        answer = self.read(stated, observation) if stated else None
        if stated is None or answer is None:
            return Verdict(answer=None, correct=False, how=How.NO_ANSWER, reading=stated.reading if stated else {})
        found = self.compare(answer, observation)
        return Verdict(
            answer=answer,
            correct=found == "equal",
            how=f"{found} ({stated.how})",
            reading={**stated.reading, "answer": answer},
        )

    def find(self, text: str, observation: Observation) -> Statement | None:
        """Return where the text states its answer; None: nowhere, or a number and then another one."""
        stated = statement(text, self.phrases, thinking=self.thinking)
        return None if stated and another_number(stated.line, stated.rest) else stated

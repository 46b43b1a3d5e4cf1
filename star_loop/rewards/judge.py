"""A language model as a judge of rationales, whether they are correct or not."""

from pathlib import Path
from typing import ClassVar

from star_loop.protocols import Engine
from star_loop.rewards import Asked, Reward
from star_loop.verifiers.grader import Grader

PROMPT = """\
You grade a solution.

Question:
{question}

Reference answer: {answer}

Solution:
{text}

Does it reach the reference answer, by steps that are all right? Say in one sentence what is wrong, if anything is. \
Then end with "Score: n", where n is a whole number from 0 (wrong) to 10 (nothing is wrong)."""


class Judge(Grader, Reward):
    """The number behind `Score:` in a language model's reply, or its last number, over the highest mark; see `Grader`.

    Replies are kept in the run, so nothing is paid for twice. A solution may try to talk the judge into a high mark:
    look at the agreement with the golds.

    Example:
        >>> [Judge().mark(said) for said in ("All 3 steps are right. Score: 9", "Score: 11", "It is fine.")]
        [0.9, None, None]
    """

    where: ClassVar[str] = "reward"
    journal: ClassVar[str] = "judge.jsonl"

    prompt: str = PROMPT

    @property
    def rows(self) -> bool:
        """Whether the prompt names columns."""
        return self.names_columns

    def marks(self, asked: Asked, *, engine: Engine | None = None, folder: Path | None = None) -> list[float | None]:
        """Ask about each of them, several at once.

        Raises:
            EngineError: the server does not answer, or refuses every text.
        """
        return self.grade(asked, folder)

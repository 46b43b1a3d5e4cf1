"""The verifier of what no program can check: a language model says whether a text is right."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field, PrivateAttr

from star_loop.protocols import Verifier
from star_loop.records import How, Observation, Verdict
from star_loop.verifiers.grader import Grader
from star_loop.verifiers.guess import Guess
from star_loop.verifiers.reply import reply
from star_loop.verifiers.statement import statement

PROMPT = """\
Is this solution right?

Question:
{question}

Solution:
{text}

Look for a mistake, and say in one sentence what you find. Then end with "Score: 1" if the solution is right, or \
"Score: 0" if it is not."""


class Judged(Grader, Verifier):
    """Correct: a language model gives the text `threshold` or more of the highest mark. What it cannot mark is wrong.

    Replies are kept in the run, so a verdict is paid for once and stays what it was. A model may learn to please its
    judge: where there are gold answers, `collect/judge_agreement` says how often the judge is right.
    """

    rows: ClassVar[bool] = True
    compares: ClassVar[bool] = False
    paid_for: ClassVar[bool] = True
    where: ClassVar[str] = "task.verifier"
    journal: ClassVar[str] = "verdicts.jsonl"

    prompt: str = PROMPT
    highest: float = Field(1.0, gt=0)
    """The highest mark that the prompt speaks of; the lowest is 0."""
    threshold: float = Field(1.0, gt=0, le=1)
    """The part of it that a text needs to be correct."""
    golds: Verifier = Guess()
    """What compares texts with the gold answers that there are, for `collect/judge_agreement`."""

    _folder: Path | None = PrivateAttr(default=None)

    def keep(self, folder: Path) -> None:
        """Keep replies there from now on."""
        self._folder = folder

    @property
    def takes_labels(self) -> bool:
        """Judge by what the model says."""
        return False

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Ask about one text."""
        return self.judge_all([(observation, text)])[0]

    def judge_all(self, asked: Sequence[tuple[Observation, str]]) -> list[Verdict]:
        """Ask about several at once; where nothing is written, nobody is asked."""
        written = [k for k, (_, text) in enumerate(asked) if reply(text).strip()]
        marks = dict(zip(written, self.grade([asked[k] for k in written], self._folder, some=False), strict=True))
        return [self._verdict(text, marks.get(k)) for k, (_, text) in enumerate(asked)]

    def probe(self, observation: Observation, text: str) -> Verdict:
        """Judge a text, of an observation that has the columns of the prompt."""
        self.prove(observation)
        return self.judge(observation, text)

    def by_gold(self, observation: Observation, text: str) -> bool | None:
        """Compare with the gold answer, if there is one."""
        return self.golds.judge(observation, text).correct if observation.answer else None

    def statement(self, observation: Observation) -> str:
        """Return the gold answer as a text may state it."""
        return self.golds.statement(observation)

    def _verdict(self, text: str, mark: float | None) -> Verdict:
        stated = statement(text)
        reading = {"reply": reply(text), "mark": "none" if mark is None else f"{mark:g}"}
        if mark is None:
            how = "not judged" if reply(text).strip() else How.NO_ANSWER
            return Verdict(answer=None, correct=False, how=how, reading=reading)
        correct = mark >= self.threshold
        return Verdict(
            answer="" if stated is None else stated.line, correct=correct,
            how="judged right" if correct else "judged wrong", score=None if self.highest == 1 else mark,
            reading=reading,
        )  # fmt: skip

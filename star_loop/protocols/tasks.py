"""Where questions come from, and who judges their answers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self

from star_loop.config.component import Component
from star_loop.records import Observation, Verdict


class Verifier(Component, ABC):
    """Law: total and pure. Any string, however broken, gives a verdict, never an exception."""

    rows: ClassVar[bool] = False
    """Whether it looks at the row that an observation was made of, `meta["row"]`."""
    verbatim: ClassVar[bool] = False
    """Whether a gold answer is taken as it is written, and is no solution with a mark in it."""
    compares: ClassVar[bool] = True
    """Whether it compares with a gold answer; otherwise it judges without one too."""
    paid_for: ClassVar[bool] = False
    """Whether a verdict costs money, so that few of them prove it."""

    @property
    def takes_labels(self) -> bool:
        """Tell whether it judges by the gold answer alone, so that another answer can stand in for it."""
        return True

    @abstractmethod
    def judge(self, observation: Observation, text: str) -> Verdict:
        """Compare the answer found in `text` with the observation's gold answer."""

    def judge_all(self, asked: Sequence[tuple[Observation, str]]) -> list[Verdict]:
        """Return what `judge` does for each; a verifier that waits for others may ask about several at once."""
        return [self.judge(observation, text) for observation, text in asked]

    def choose(self, observation: Observation) -> "Verifier":
        """Return the verifier that judges this observation, where this one leaves it to others; else itself."""
        return self

    def keep(self, folder: Path) -> None:
        """Keep in this folder, from now on, what no verdict should cost twice."""

    def paid(self, folder: Path) -> Mapping[str, float]:
        """Return what the verdicts kept there have cost, if anything: `requests`, tokens, `money`."""
        return {}

    def by_gold(self, observation: Observation, text: str) -> bool | None:
        """Tell whether a text gives the gold answer, where verdicts rest on something else; None: not known."""
        return None

    def probe(self, observation: Observation, text: str) -> Verdict:
        """Judge before anything starts: what judging would only count as a failure is raised here."""
        return self.judge(observation, text)

    def fingerprint(self) -> str | None:
        """Return what changes when code outside of this project judges differently; None: there is none."""
        return None

    def statement(self, observation: Observation) -> str:
        """Return the shortest text that states the gold answer as this verifier wants it stated."""
        return observation.answer

    def instruction(self, observation: Observation) -> str:
        """Return a sentence that asks for such a statement, for answers of this observation's kind; empty: none."""
        return ""


class Task(Component, ABC):
    """A source of observations and of the prompts that ask about them.

    Laws: splits are deterministic and share no question; ids are unique; the verifier accepts `gold_text` of every
    observation; a prompt without hint contains neither the hint marker nor, because of the hint, the answer.
    """

    verifier: Verifier
    """What judges the answers."""
    labels: Literal["gold", "majority"] = "gold"
    """What judges collected rationales: the golds, or the answer that most of a question give; golds may then lack."""
    turns: bool | None = None
    """Whether worked examples are turns of a conversation (`records.TURN`) and the question is a message of its own,
    where the task knows how; None: with a chat template, unless the task is given a frame."""

    @abstractmethod
    def train(self) -> Sequence[Observation]:
        """Return the observations to learn from; their gold rationales are never shown to the model."""

    @abstractmethod
    def validation(self) -> Sequence[Observation]:
        """Held-out observations on which every decision rests (samplers, early stop, best iteration)."""

    @abstractmethod
    def test(self) -> Sequence[Observation]:
        """Held-out observations for the record only."""

    @abstractmethod
    def prompt(self, observation: Observation, *, hint: bool = False) -> str:
        """Return the text to continue when collecting; with `hint`, the answer is shown (rationalization)."""

    def bare_prompt(self, observation: Observation, *, hint: bool = False) -> str:
        """Return the zero-shot text, of training, evaluation, and collecting so; by default `prompt`."""
        return self.prompt(observation, hint=hint)

    @property
    def hint_marker(self) -> str | None:
        """Text that only a hinted prompt contains: a rationale quoting it is rejected. None: no hint form exists."""
        return None

    @property
    def stop(self) -> tuple[str, ...]:
        """Return the strings before which generation ends."""
        return ()

    def stop_of(self, observation: Observation) -> tuple[str, ...]:
        """Return those for this observation, where they are not the same for all."""
        return self.stop

    def findings(self) -> Mapping[str, int]:
        """Tell what was left out or rewritten (`train: left out, same id as a held-out one`), and how often."""
        return {}

    def first(self, n: int, observations: Sequence[Observation]) -> Sequence[int]:
        """Return the places of the first `n` observations of a split; of each task, where it is of several."""
        return range(min(n, len(observations)))

    def own(self, observation: Observation) -> Observation:
        """Return an observation as the task has made it that it belongs to; another one only in a mixture of tasks."""
        return observation

    def with_rows(self) -> Self:
        """Return the task with whole rows in its observations, `meta["row"]`, where it is made of rows."""
        return self

    def gold_text(self, observation: Observation) -> str:
        """Return a completion that the verifier must accept, to prove that it can."""
        return self.verifier.statement(observation) if observation.rationale is None else observation.rationale

"""The nouns: frozen data that is written to disk, and never pickled. Not here: what acts (protocols).

Inside the loop an observation is addressed by its position in the task's training sequence (0 … n-1); every row on disk
carries its stable id as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from star_loop.records.decisions import Columns as Columns
from star_loop.records.decisions import Outcome as Outcome
from star_loop.records.decisions import Positions as Positions
from star_loop.records.decisions import Proposal as Proposal
from star_loop.records.decisions import Selection as Selection
from star_loop.records.decisions import State as State
from star_loop.records.encoding import Record as Record
from star_loop.records.encoding import RecordError as RecordError
from star_loop.records.meanings import Decoding as Decoding
from star_loop.records.meanings import How as How
from star_loop.records.meanings import Try as Try

Metrics = dict[str, float]
"""A figure by its name, such as `validation/accuracy`."""
TURN = "\x1e"
"""Separates the turns of a prompt: the user's, the model's, …, the user's (ASCII's record separator)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation(Record):
    """One question with a checkable answer. It never changes.

    Example:
        >>> Observation(id="gsm8k/17", question="How many legs have 3 cats?", answer="12", skill="counting").answer
        '12'
    """

    id: str
    """Stable and unique within the task."""
    question: str
    answer: str
    """The gold answer, in the form that the task's verifier accepts."""
    rationale: str | None = None
    """A gold rationale, where the data has one. Never shown to the model by the loop."""
    choices: tuple[str, ...] = ()
    skill: str | None = None
    """What kind of question it is: the groups of Skill-It and SPaCe, and a row of the report."""
    level: int | None = None
    """How hard it is, by the task's own reckoning."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Anything else the task or its verifier wants to keep; JSON values only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to decode. Travels with each request, so greedy evaluation and collection share one engine."""

    temperature: float
    """0 is greedy."""
    max_tokens: int
    top_p: float = 1.0
    top_k: int = 0
    """Sample from so many most probable tokens; 0: from all."""
    min_p: float = 0.0
    """Sample from tokens that are at least this share as probable as the most probable one."""
    repetition_penalty: float = 1.0
    """Divides the positive logits of tokens that prompt and completion hold, and multiplies the negative ones."""
    thinking: int | None = None
    """Tokens of reasoning after `<think>`, at which `</think>` is written for the model; None: as many as it takes."""
    stop: tuple[str, ...] = ()
    """Generation ends before any of these; they are not part of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`n` completions wanted for one prompt."""

    prompt: str
    observation: Observation
    """What is asked about. An engine with a model reads only the prompt; a scripted or pooled one reads this."""
    sampling: Sampling
    n: int = 1
    seed: int = 0
    """Used under `seeding: request`: depends on the observation and attempt, not on the batch."""
    hinted: bool = False
    measures: bool = False
    """It measures the served model: a teacher does not answer it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A text that an engine wrote. It knows nothing of truth."""

    text: str
    tokens: int
    """Generated tokens, the end-of-sequence token included."""
    prompt_tokens: int
    finish: Literal["stop", "length"]
    """`length`: cut off at `max_tokens`."""
    cached_tokens: int = field(default=0, compare=False)
    """Prompt tokens that a prefix cache supplied; the same completion may come with more of them, or fewer."""
    ids: Sequence[int] | None = None
    """What was sampled as token ids, the end of the turn included; None: the engine has no tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A verifier's judgement of one text."""

    answer: str | None
    """The extracted answer; None: none was found."""
    correct: bool
    how: str
    """How the verdict came about, in a word or two: a `How`, or the verifier's own such as `equal (marker)`."""
    score: float | None = None
    """Marks in [0, 1], where the verifier gives them: the share of right steps, or a mean of rewards. Only selectors
    and B-STaR's search look at it; statistics count `correct`."""
    reading: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """What each stage of reading left of the text, by the stage's name and in order; the judge command shows it."""

    @classmethod
    def compared(
        cls,
        answer: str,
        correct: bool,
        where: str,
        score: float | None = None,
        reading: Mapping[str, str] | None = None,
    ) -> "Verdict":
        """Judge an answer that was compared with the gold one, found by `where`: `marker`, `fallback`, …"""
        how = f"{'equal' if correct else 'different'} ({where})"
        return cls(answer=answer, correct=correct, how=how, score=score, reading=reading or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout(Record):
    """A judged completion: one line of a wave file or of an evaluation file.

    Example:
        >>> rollout = Rollout(
        ...     position=3, id="gsm8k/17", attempt=Try.FIRST, sample=0, hinted=False, text="3 cats: 12 legs.  #### 12",
        ...     answer="12", correct=True, how="equal (marker)", score=None, finish="stop", tokens=9, prompt_tokens=40,
        ... )
        >>> rollout.wording, rollout.faithful
        ('3 cats: 12 legs. #### 12', False)
        >>> Rollout.from_json(rollout.to_json()) == rollout
        True
    """

    position: int
    """The place of the observation in its split."""
    id: str
    attempt: int
    """A `Try`; of an evaluation, a `Decoding`."""
    sample: int
    """0 … n-1 within the attempt."""
    hinted: bool
    text: str
    answer: str | None
    correct: bool
    how: str
    score: float | None
    finish: str
    tokens: int
    prompt_tokens: int
    """Tokens of the prompt, which the samples of one attempt share: count it where `sample` is 0."""
    ids: list[int] | None = None
    """The completion's token ids."""

    @property
    def wording(self) -> str:
        """The text with its white space evened out: rationales that differ in nothing else are the same."""
        return " ".join(self.text.split())

    @property
    def faithful(self) -> bool:
        """Tell whether the answer is right with full marks (only where the verifier gives marks)."""
        return self.correct and self.score == 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Score(Record):
    """A model's opinion of a rollout's text after the zero-shot prompt: one line of `scores.jsonl`."""

    position: int
    attempt: int
    sample: int
    tokens: int
    """Tokens of the text and its end of sequence."""
    loss: float
    """Mean cross-entropy of these tokens, in nats."""
    brier: float
    """Mean Brier score ‖e_y - π‖² of these tokens, in [0, 2]."""
    slack: float = 0.0
    """By which the true Brier score may differ: not 0 where only the most probable tokens were known."""
    gradient: float | None = None
    """‖∇ log π‖² of the text by the model's parameters; None: not measured."""
    rank: float | None = None
    """Mean rank of these tokens among all by probability, 1 being the most probable, and at most 100; None: unknown."""
    gap: float | None = None
    """‖E_right ∇ log π - E_wrong ∇ log π‖², estimated by its observation's scored rationales; None: not measured."""

    @classmethod
    def of(
        cls,
        rollout: "Rollout",
        *,
        tokens: int,
        loss: float,
        brier: float,
        slack: float = 0.0,
        gradient: float | None = None,
        rank: float | None = None,
    ) -> "Score":
        """Join these figures to the rollout that they are of."""
        return cls(
            position=rollout.position, attempt=rollout.attempt, sample=rollout.sample, tokens=tokens, loss=loss,
            brier=brier, slack=slack, gradient=gradient, rank=rank,
        )  # fmt: skip

    @property
    def energy(self) -> float:
        """‖∇ log π‖² of the text: by the parameters, else by its logits, of one token of which it is e_y - π."""
        return self.tokens * self.brier if self.gradient is None else self.gradient


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A rationale that selectors may keep, drop or weight."""

    rollout: Rollout
    weight: float = 1.0
    score: Score | None = None
    """Where a scorer is configured, and could score it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example(Record):
    """One training pair, exactly as the trainer sees it: loss on `completion` and the end of sequence only.

    Example:
        >>> Example(position=3, id="gsm8k/17", prompt="How many legs have 3 cats?", completion=" #### 12").weight
        1.0
    """

    position: int
    id: str
    prompt: str
    completion: str
    weight: float = 1.0
    ids: list[int] | None = None
    """The completion as it was sampled, its end included; None: the trainer encodes the text."""

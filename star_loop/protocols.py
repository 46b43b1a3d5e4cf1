"""The verbs: what every part of the loop promises. Each docstring's "Law" is a test that runs over `conf/`.

Policies (Sampler, Allocator, Selector) are frozen and pure: no I/O, no torch. Engines own resources, as contexts.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from star_loop.accounting.cost import Cost
from star_loop.config.component import Component
from star_loop.errors import BootstrapError as BootstrapError
from star_loop.errors import EngineError as EngineError
from star_loop.errors import TrainingError as TrainingError
from star_loop.models import Model, Pretrained
from star_loop.records import (
    Candidate,
    Columns,
    Completion,
    Example,
    Metrics,
    Observation,
    Outcome,
    Proposal,
    Request,
    Selection,
    State,
    Verdict,
)

Progress = Callable[[int], None]
"""Called with the number of units done since the last call."""
Arrived = Callable[[int, list[Completion]], None]
"""Called with a request's index and its completions, which are the same whatever else is asked with it."""


class Verifier(Component, ABC):
    """Law: total and pure. Any string, however broken, gives a verdict, never an exception."""

    rows: ClassVar[bool] = False
    """Whether it looks at the row that an observation was made of, `meta["row"]`."""
    verbatim: ClassVar[bool] = False
    """Whether a gold answer is taken as it is written, and is no solution with a mark in it."""

    @abstractmethod
    def judge(self, observation: Observation, text: str) -> Verdict:
        """Compare the answer found in `text` with the observation's gold answer."""

    def judge_all(self, asked: Sequence[tuple[Observation, str]]) -> list[Verdict]:
        """Return what `judge` does for each; a verifier that waits for others may ask about several at once."""
        return [self.judge(observation, text) for observation, text in asked]

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
    turns: bool = False
    """Whether a prompt's worked examples are turns of a conversation (`records.TURN`), where the task knows how."""

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

    def findings(self) -> Mapping[str, int]:
        """Tell what was left out or rewritten (`train: left out, same id as a held-out one`), and how often."""
        return {}

    def gold_text(self, observation: Observation) -> str:
        """Return a completion that the verifier must accept, to prove that it can."""
        return self.verifier.statement(observation) if observation.rationale is None else observation.rationale


class Sampler(Component, ABC):
    """Chooses which observations come next.

    Laws: pure (same arguments, same result; arguments unchanged); at most `n` positions, known and distinct, none twice
    in one iteration; an empty proposal ends the pass; `learn`'s state survives npz, without what is the iteration's.
    """

    @abstractmethod
    def init(self, columns: Columns, rng: np.random.Generator) -> State:
        """Return the belief before anything was seen."""

    @abstractmethod
    def propose(self, state: State, n: int, rng: np.random.Generator) -> tuple[Proposal, State]:
        """The next `n` observations of this iteration, and the state with the cursor moved past them. `rng` is the
        iteration's generator, fresh at each call: a frozen order is drawn at the first call and kept."""

    def observe(self, state: State, wave: Outcome) -> State:
        """Fold one judged wave in (bandits, posteriors). By default nothing is learned before training."""
        return state

    @property
    def lookahead(self) -> int | None:
        """Return how many waves are proposed before an earlier one is observed; None: any, as none is folded in."""
        return None if type(self).observe is Sampler.observe else 0

    def pilots(self, state: State) -> NDArray[np.int64] | None:
        """Return the draws of each observation before the first wave, which nothing is trained on; None: none."""
        return None

    def piloted(self, state: State, outcome: Outcome) -> State:
        """Fold these draws in; the state keeps its entries."""
        return state

    @abstractmethod
    def learn(self, state: State, outcome: Outcome) -> State:
        """After training has succeeded: the only state that is stored."""

    def metrics(self, state: State, outcome: Outcome) -> Metrics:
        """Figures that prove that the method acted; published as `sampler/<name>`. `state` is before `learn`."""
        return {}


class Allocator(Component, ABC):
    """How many rollouts each. Law: non-negative integers whose sum is exactly the budget, in order of positions."""

    @abstractmethod
    def allocate(self, proposal: Proposal, state: State, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return rollouts per position; `state`: the facts so far (`Statistics` by name) and the sampler's beliefs."""

    def again(self, attempts: NDArray[np.int64], wins: NDArray[np.int64], number: int) -> NDArray[np.int64]:
        """Return more draws of a wave's observations after round `number` (1: `allocate`'s). Law: all 0 in the end."""
        return np.zeros(len(attempts), np.int64)

    @property
    def apart(self) -> bool:
        """Tell whether `again` looks at each observation by itself, and who gets nothing gets nothing later (law)."""
        return type(self).again is Allocator.again

    def metrics(self, outcome: Outcome) -> Metrics:
        """Figures that prove that the method acted; published as `allocator/<name>`."""
        return {}


class Selector(Component, ABC):
    """Chooses which rationales to learn from, and with what weight.

    Laws: the output is a sub-sequence of the input (weights may change); idempotent where the class says so.
    """

    idempotent: ClassVar[bool] = True
    """Whether selecting from what was selected changes nothing."""
    scored: ClassVar[bool] = False
    """Whether it looks at the candidates' scores, so that a scorer must be configured."""

    @abstractmethod
    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """Return the kept candidates, in their order."""


class Engine(Protocol):
    """A live generator. Law: completions come back in request order, `n` for each."""

    def serve(self, model: Model) -> None:
        """Generate with this model from now on; proves by a canary that its weights are what generates."""

    def generate(
        self, requests: Sequence[Request], *, seed: int,
        progress: Progress | None = None, arrived: Arrived | None = None,
    ) -> list[list[Completion]]:  # fmt: skip
        """Completions for each request. Under `seeding: wave`, `seed` and the requests determine every token; under
        `request` each request its own, and `arrived` is told of it as soon as it is there: nobody need ask again.
        Raises an `EngineError` where the engine failed, never because of what the model wrote."""

    def release(self) -> None:
        """Give an accelerator's memory back until the next `serve`, so that training can have it."""


class Generator(Component, ABC):
    """A source of rationales."""

    scores: ClassVar[bool] = False
    """Whether its engine can be asked for probabilities (`scorer=engine`)."""
    max_tokens: int = Field(256, ge=1)
    """Longest rationale, in tokens."""
    temperature: float = Field(1.0, ge=0)
    """Temperature of sampling."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Sample from the most probable tokens that together have this probability; 1: from all."""
    top_k: int = Field(0, ge=0)
    """Sample from so many most probable tokens; 0: from all."""
    min_p: float = Field(0.0, ge=0, le=1)
    """Sample from tokens that are at least this share as probable as the most probable one (arXiv 2407.01082)."""
    repetition_penalty: float = Field(1.0, gt=0)
    """Above 1: tokens that prompt and completion hold already become less probable (arXiv 1909.05858)."""
    thinking_tokens: int | None = Field(None, ge=1)
    """Longest reasoning of a thinking model, after its `<think>`: then `</think>` is written for it, and the reply has
    the rest of `max_tokens`. None: reasoning ends by itself, or with `max_tokens`."""

    @abstractmethod
    def engine(self, base: Pretrained, *, workspace: Path, seed: int) -> AbstractContextManager[Engine]:
        """Start an engine for models of this base; `workspace` is its folder for scratch and logs."""

    @property
    def independent(self) -> bool:
        """Tell whether a completion depends on its request alone: then a pass is a stream, else wave follows wave."""
        return False

    @property
    def rank_beside(self) -> int | None:
        """The highest LoRA rank that its engine applies beside the base's weights; None: it merges adapters."""
        return None

    def cost(self, base: Pretrained) -> Cost:
        """Return what a token of this base costs, in FLOPs."""
        return Cost.of(base)


class Trainer(Component, ABC):
    """How the model learns from the chosen rationales."""

    whole: ClassVar[bool] = False
    """Whether a round writes a whole model instead of an adapter."""

    @abstractmethod
    def train(
        self, examples: Sequence[Example], start: Model, into: Path, *,
        steps: int | None, seed: int, progress: Progress | None = None,
    ) -> Metrics:  # fmt: skip
        """Fine-tune `start` and write the new adapter, or model, into the empty directory `into`, and nowhere else.
        `steps` of the optimiser, or None for the trainer's own epochs. Returns `train/<name>`: `loss`, `tokens`, …
        Raises a ValueError or TrainingError: no examples; the loss is not finite, nothing moved, or the base did."""

    def check_base(self, base: Pretrained) -> None:
        """Raise a `ValueError` that names what this trainer cannot train of this model, before anything starts."""

    def check_beside(self, rank: int) -> None:
        """Raise a `ValueError` that names what an engine that merges nothing, up to this rank, could not serve."""

    def total_steps(self, examples: Sequence[Example], steps: int | None) -> int:
        """Return how many units `progress` will be told of."""
        return len(examples)


class Tracker(Component, ABC):
    """Is told of a run. Law: never stops it; fed from committed files, so a resumed run has no gaps and no repeats."""

    @abstractmethod
    def session(self, directory: Path, committed: Sequence[Metrics]) -> AbstractContextManager["Session"]:
        """Open for one launch; `committed` are the metrics of the iterations that exist already, from 0."""


class Session:
    """An open tracker. Every method is optional."""

    def phase(self, iteration: int, name: str, total: int | None) -> None:
        """Tell that a phase begins (`collect`, `train`, `validation`, `test`), `total` units long."""

    def advance(self, units: int, tokens: int = 0, asked: int = 0) -> None:
        """Tell of so many more units of the phase, tokens generated, and questions asked that are no units."""

    def log(self, iteration: int, metrics: Metrics) -> None:
        """Tell that an iteration was committed."""

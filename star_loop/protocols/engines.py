"""What generates, what fine-tunes, and who is told. Engines own resources, as contexts."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar, Protocol

from pydantic import ConfigDict, Field

from star_loop.accounting.cost import Cost
from star_loop.config.component import Component
from star_loop.models import Model, Pretrained
from star_loop.records import Completion, Example, Metrics, Request

Progress = Callable[[int], None]
"""Called with the number of units done since the last call."""
Arrived = Callable[[int, list[Completion]], None]
"""Called with a request's index and its completions, which are the same whatever else is asked with it."""


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


def themselves(base: str) -> str:
    """Name the models of a run, for a card."""
    return f"`{base}` and the models that it became"


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

    def writer(self, base: str) -> str:
        """Say who writes the rationales, in a clause for a card.

        Args:
            base: what the model that learns is called.
        """
        return f"written by {themselves(base)}"

    def fingerprint(self) -> str | None:
        """Return what changes with a file of the user's own that rationales are taken from; None: there is none.

        Raises:
            ValueError: it cannot be read.
        """
        return None

    def prove(self, ids: Iterable[str]) -> None:
        """Look whether it can answer the training questions, of which these are the ids, before anything starts.

        Raises:
            ValueError: none of them.
        """


class Trainer(Component, ABC):
    """How the model learns from the chosen rationales."""

    whole: ClassVar[bool] = False
    """Whether a round writes a whole model instead of an adapter."""
    heeds_weights: ClassVar[bool] = True
    """Whether examples of different weight count differently."""

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

    model_config = ConfigDict(coerce_numbers_to_str=True)  # it may be told of a run that is called 1

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

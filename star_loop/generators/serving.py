"""Swapping an engine's weights, and the proof by canary that the new ones are what generates.

An engine that quietly keeps the old weights looks healthy and trains on the wrong model's rationales. So every swap is
measured: the log-probabilities of a few fixed sequences must be those that the trainer saw, not those from before.
"""

import json
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from star_loop.models import Model, Pretrained
from star_loop.protocols import EngineError
from star_loop.records import Request

logger = logging.getLogger(__name__)

Sequences = Sequence[Sequence[int]]
NOISE = {"float32": 1e-4}
"""Numerical disagreement of two implementations, nats per token; of the half-precision types: `HALF_NOISE`."""
HALF_NOISE = 2e-2
ANY_TOKENS = ((0, 1),)
"""A sequence of token ids that every vocabulary has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """Sums of log-probabilities, in nats, that a trainer measured on a few sequences of token ids."""

    prompts: Sequences
    before: Sequence[float]
    """Under the model that training started from."""
    after: Sequence[float]
    """Under the model that training made."""

    @classmethod
    def read(cls, adapter: Path) -> Self | None:
        """Return the canary in an adapter directory; None: there is none.

        Raises:
            EngineError: the file is not a canary.
        """
        path = adapter / "canary.json"
        if not path.exists():
            return None
        try:
            canary = cls(**json.loads(path.read_text(encoding="utf-8")))
            if not len(canary.prompts) == len(canary.before) == len(canary.after):
                raise ValueError("prompts, before and after differ in length")
        except (ValueError, TypeError) as error:
            raise EngineError(f"{path} is not a canary ({error}): delete the iteration and resume") from error
        return canary

    def verify(self, stale: Sequence[float], now: Sequence[float], dtype: str) -> None:
        """Compare what the engine measured just before the swap (`stale`) and after it (`now`).

        Raises:
            EngineError: the engine is not at least twice as near to the new weights as to the old ones; in between lie
                engines that renew only some of their layers.
        """
        noise = _noise(dtype, self.prompts)
        error = _distance(now, self.after)
        if error <= noise:
            return
        kept = min(_distance(now, self.before), _distance(now, stale))
        moved = min(_distance(self.after, self.before), _distance(self.after, stale))
        figures = f"{error:.4g} nats from the new model, {kept:.4g} from the old one (they are {moved:.4g} apart)"
        if moved <= 3 * noise:
            logger.warning("canary: old and new weights are too alike to tell apart in %s: %s", dtype, figures)
        elif not error <= kept / 2:  # nor where the figures are not numbers
            raise EngineError(
                f"canary: after the swap the engine still generates with old weights, all or some: {figures}. "
                "Set generator.adapter to the other of merge and lora, or generator=transformers."
            )


def refuse_no_numbers(sums: Sequence[float], dtype: str) -> None:
    """Look at what a fresh model makes of any tokens (`ANY_TOKENS`): weights that are finite may overflow in a product.

    Raises:
        ValueError: it is no number, so whatever it generates means nothing.
    """
    if not all(map(math.isfinite, sums)):
        remedy = "download or save the model again" if dtype == "float32" else "set generator.dtype=float32"
        raise ValueError(f"what the model computes is no number in {dtype}: {remedy}")


class Serving(ABC):
    """The part that every engine with weights shares. It begins with the base, freshly loaded."""

    def __init__(self, base: Pretrained) -> None:
        self.base = base
        self.served = Model(base=base)
        self._home: tuple[Sequences, Sequence[float]] | None = None
        """Sequences, and what the freshly loaded base made of them: the canary of a return to the base."""
        self._proven: tuple[Sequences, Sequence[float]] | None = None
        """The last canary's sequences, and what the engine made of them."""

    @abstractmethod
    def load(self, model: Model) -> None:
        """Make these weights the ones that generate."""

    @abstractmethod
    def logprobs(self, sequences: Sequences) -> list[float]:
        """Sum of log-probabilities of each sequence's tokens after the first, under the weights that generate."""

    @abstractmethod
    def dtype(self) -> str:
        """Name the dtype of the weights that generate, as torch spells it without `torch.`."""

    @property
    def loaded(self) -> bool:
        """Tell whether there are old weights that could go on generating after a swap."""
        return True

    def serve(self, model: Model) -> None:
        """Swap to `model`, and prove it.

        Raises:
            EngineError: the weights could not be swapped, or were not.
        """
        if model == self.served:
            return
        if model.base != self.base:
            raise EngineError(f"this engine serves {self.base.name_or_path}, not {model.base.name_or_path}")
        canary = self._canary(model)
        if canary is None:
            logger.warning("no canary for %s: its swap is not proven", model.adapter or model.base.name_or_path)
            self.load(model)
        else:
            stale = self.logprobs(canary.prompts) if self.loaded else canary.before
            if self.loaded and self.served.adapter is None:
                self._home = canary.prompts, stale
            self.load(model)
            now = self.logprobs(canary.prompts)
            canary.verify(stale, now, self.dtype())
            self._proven = canary.prompts, now
        self.served = model

    def prove_awake(self) -> None:
        """Compare the weights that came back from host memory with those that were last proven.

        Raises:
            EngineError: they are others.
        """
        if self._proven is None:
            return
        prompts, before = self._proven
        apart = _distance(self.logprobs(prompts), before)
        if not apart <= _noise(self.dtype(), prompts):
            raise EngineError(
                f"canary: the engine woke up with other weights than it went to sleep with ({apart:.4g} nats apart): "
                "set generator.sleep=false, which ends its process before each round"
            )

    def _canary(self, model: Model) -> Canary | None:
        if model.adapter is not None:
            return Canary.read(model.adapter)
        if self._home is None:
            return None
        prompts, base = self._home
        return Canary(prompts=prompts, before=self.logprobs(prompts), after=base)


def _noise(dtype: str, prompts: Sequences) -> float:
    return NOISE.get(dtype, HALF_NOISE) * sum(map(len, prompts))


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def advice(error: Exception) -> str:
    """Say what to do where memory did not suffice (oneDNN then has no primitive), else nothing."""
    signs = ("memory", "bad_alloc", "could not create a primitive")
    lacking = isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in signs)
    return ". Lower generator.max_num_seqs or generator.max_model_len" if lacking else ""


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """Return the text before the first of the stop strings."""
    return text[: min((at for at in map(text.find, stop) if at >= 0), default=len(text))]


def payload(request: Request) -> dict[str, Any]:
    """Return the request as a worker's message has it."""
    return {"prompt": request.prompt, "n": request.n, "seed": request.seed, **asdict(request.sampling)}

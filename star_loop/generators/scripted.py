"""A generator without a model: a table of success probabilities. For schedules, simulations and tests."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from star_loop.accounting.cost import Cost
from star_loop.models import Model, Pretrained
from star_loop.protocols import Arrived, Engine, Generator, Progress
from star_loop.records import Completion, Request
from star_loop.seeding import rng


class NoWeights(Pretrained):
    """The base model of a scripted run: a name, and nothing to load."""

    weightless: ClassVar[bool] = True

    name_or_path: str = "scripted"
    """A name for the records."""

    def check(self) -> None:
        """Do nothing: there is nothing to look for."""


def cost_of(base: Pretrained) -> Cost:
    """Return the cost of the base, if it has weights."""
    return Cost(parameters=0) if base.weightless else Cost.of(base)


class Scripted(Generator):
    """Answers rightly with a probability that falls with the level and rises with training.

    p = sigmoid(logit(table[level]) + gain), where the served adapter's `ability.json` (written by the scripted trainer)
    holds the gain, and `hint` is added to it where the answer was shown. Simulations, never evidence.
    """

    table: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field((0.95, 0.85, 0.6, 0.3, 0.1, 0.02), min_length=1)
    """Success probability of the base model by level, from level 1; the last entry holds for all higher levels."""
    hint: float = 2.0
    """Logits that a shown answer adds."""
    tokens: int = Field(16, ge=1)
    """Length of every completion and of every prompt."""
    parameters: int = Field(1_000_000, ge=1)
    """For the FLOPs accounting."""
    seeding: Literal["wave", "request"] = "wave"
    """`request`: what is finished of a wave is kept, as by vLLM, although asking again costs nothing here."""

    def writer(self, base: str) -> str:
        """Say that no model writes."""
        return "written by a script in place of a model"

    def cost(self, base: Pretrained) -> Cost:
        """Return the parameters as declared; no matrix shapes."""
        return Cost(parameters=self.parameters)

    @property
    def independent(self) -> bool:
        """With `seeding: request`: the other is as independent, and goes wave by wave to be followed by hand."""
        return self.seeding == "request"

    @contextmanager
    def engine(self, base: Pretrained, *, workspace: Path, seed: int) -> Iterator[Engine]:
        """Yield the engine: there is nothing to start."""
        yield ScriptedEngine(self)


class ScriptedEngine:
    """Every completion depends on its request alone."""

    def __init__(self, script: Scripted) -> None:
        self.script, self.gain = script, 0.0

    def serve(self, model: Model) -> None:
        """Read the gain that training has brought."""
        path = model.adapter and model.adapter / "ability.json"
        self.gain = float(json.loads(path.read_text())["gain"]) if path else 0.0

    def generate(
        self, requests: Sequence[Request], *, seed: int,
        progress: Progress | None = None, arrived: Arrived | None = None,
    ) -> list[list[Completion]]:  # fmt: skip
        """Return a gold or a wrong answer for each sample."""
        completions = []
        for index, request in enumerate(requests):
            completions.append([self._complete(request, k) for k in range(request.n)])
            if arrived and self.script.seeding == "request":
                arrived(index, completions[index])
        if progress:
            progress(len(requests))
        return completions

    def release(self) -> None:
        """Do nothing: there is nothing to release."""

    def probability(self, request: Request) -> float:
        """Return the probability of a right answer."""
        level = min(max(request.observation.level or 1, 1), len(self.script.table))
        p = self.script.table[level - 1]
        if p in (0.0, 1.0):
            return p
        logit = math.log(p / (1 - p)) + self.gain + (self.script.hint if request.hinted else 0.0)
        return 1 / (1 + math.exp(-logit))

    def _complete(self, request: Request, sample: int) -> Completion:
        p = self.probability(request)
        greedy = request.sampling.temperature == 0
        # Greedy answers hang on the question alone, so accuracy on a split is the mean probability.
        luck = rng(0, "scripted", request.observation.id) if greedy else rng(request.seed, "scripted", sample)
        right = luck.random() < p
        observation = request.observation
        gold = observation.rationale if observation.rationale is not None else f"#### {observation.answer}"
        text = gold if right else f"no idea, sample {sample} of {observation.id}"
        return Completion(text=text, tokens=self.script.tokens, prompt_tokens=self.script.tokens, finish="stop")

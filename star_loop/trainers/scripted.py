"""A trainer without a model: training adds to the ability that the scripted generator reads."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from star_loop.models import Model
from star_loop.protocols import Progress, Trainer
from star_loop.records import Example, Metrics


class Scripted(Trainer):
    """gain ← gain of the start + rate · log(1 + total weight of the right examples). A simulation of learning."""

    rate: float = Field(0.1, ge=0)
    """What a unit of log(1 + weight of the examples) gains."""

    def train(
        self,
        examples: Sequence[Example],
        start: Model,
        into: Path,
        *,
        steps: int | None,
        seed: int,
        progress: Progress | None = None,
    ) -> Metrics:
        """Write `ability.json`.

        Raises:
            ValueError: no examples.
        """
        if not examples:
            raise ValueError("no examples to train on: give at least one")
        before = json.loads((start.adapter / "ability.json").read_text())["gain"] if start.adapter else 0.0
        gain = before + self.rate * math.log1p(math.fsum(max(example.weight, 0.0) for example in examples))
        (into / "ability.json").write_text(json.dumps({"gain": gain}) + "\n")
        if progress:
            progress(len(examples))
        tokens = sum(len(example.prompt) + len(example.completion) for example in examples)
        return {"examples": float(len(examples)), "steps": float(steps or 1), "loss": math.exp(-gain), "tokens": tokens}

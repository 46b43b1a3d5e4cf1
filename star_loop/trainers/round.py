"""A round of fine-tuning on the chosen rationales: its plan. `finetuning.py` carries it out with torch."""

import importlib.util
import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from star_loop.errors import counted
from star_loop.models import Model, Pretrained
from star_loop.protocols import Progress, Trainer, TrainingError
from star_loop.records import Example, Metrics
from star_loop.seeding import rng
from star_loop.trainers.batches import Encoded, Step, normalised, paired, pairs
from star_loop.trainers.keys import RoundKeys


class Round(RoundKeys, Trainer):
    """Fine-tuning of a causal LM. The optimiser is fresh in each round.

    With `loss=nll` the loss of an optimiser step is Σ wᵢ·nllᵢ / (loss tokens of the step), where nllᵢ sums over the
    completion and the end of sequence of example i, and the weights are scaled to a mean of 1 over all loss tokens of
    the round. So it depends neither on how a step is cut into micro-batches nor on the scale of the weights, and a
    weight acts even where a step holds a single example. `objectives.py` has the others; with `dpo` a step is made of
    pairs.
    """

    loads_base: ClassVar[bool] = True

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
        """Write the weights that moved and `canary.json`; nothing is written before every check has passed.

        On a CPU the same arguments give the same bytes.

        Returns:
            `examples`, `dropped` (longer than the context), `steps`, `epochs`, `loss` (mean of the steps),
            `first_loss`, `last_loss`, `tokens` (read: prompt and completion, unpadded, times passes), `loss_tokens`,
            `token_accuracy` (of the loss tokens, as they were trained on), `grad_norm` (mean, before clipping),
            `learning_rate` (the highest reached), `flops_exact`; with a quantised base
            `quantization_drift` (see `drift.settle`); with `loss=dpo` `pairs`.

        Raises:
            ValueError: no examples, no steps, unusable weights, or a start adapter of another shape.
            TrainingError: every example is longer than the context, the loss is not finite, nothing moved that should,
                something that should not did, or the memory does not suffice.
        """
        if not examples or steps == 0:
            raise ValueError(
                f"nothing to train on: {len(examples)} examples, {steps} steps. Give at least one of each; "
                "select more rationales, or collect until some are correct."
            )
        fitting = self._fitting(examples, start.base)
        encoded = self._units(fitting)
        batches = list(self.batches(encoded, steps, seed))
        curve = self.carry_out(batches, start, into, seed=seed, progress=progress)
        drift = self._drift(start, into)
        return {
            "examples": float(len(fitting)),
            "dropped": float(len(examples) - len(fitting)),
            "epochs": sum(map(len, batches)) / len(encoded),
            **({"pairs": float(len(encoded))} if self.loss == "dpo" else {}),
            **self._figures(batches, curve),
            "flops_exact": float(self._flops(encoded, batches, start.base)),
            **drift,
        }

    def check_base(self, base: Pretrained) -> None:
        """Look whether the base computes attention as asked, and for the libraries that quantise and fuse."""
        if self.optimizer == "adamw_8bit" and importlib.util.find_spec("bitsandbytes") is None:
            raise ValueError(
                "trainer.optimizer=adamw_8bit needs bitsandbytes: pip install 'star_loop[quantised]', or take adamw"
            )
        if base.quantization:
            from star_loop.models.quantised import check_quantised

            check_quantised(base)
        if self.kernels:
            from star_loop.trainers.kernels import check_kernels

            check_kernels(base, self.kernels)
        if self.attention or self.packing:
            from star_loop.trainers.attention import check_attention

            check_attention(base, self.attention, self.packing)

    def carry_out(
        self, batches: Sequence[Sequence[Encoded]], start: Model, into: Path, *, seed: int, progress: Progress | None
    ) -> Sequence[Step]:
        """Train on the sequences of each optimiser step; what every step saw."""
        from star_loop.trainers import finetuning

        return finetuning.run(self, batches, start, into, seed=seed, progress=progress)

    def total_steps(self, examples: Sequence[Example], steps: int | None) -> int:
        """Count the optimiser steps of a round: what `progress` is told of."""
        n = len(examples)
        if self.loss == "dpo":
            n = len(pairs([example.position for example in examples], [example.weight for example in examples]))
        return math.ceil(self._visits(n, steps) / max(self.batch_size_of(n), 1))

    def batch_size_of(self, examples: int) -> int:
        """Return the sequences per optimiser step: never more than there are."""
        return min(self.batch_size, examples)

    def batches(self, encoded: Sequence[Encoded], steps: int | None, seed: int) -> Iterator[list[Encoded]]:
        """Yield the sequences of each optimiser step: pass after pass, each in a fresh random order."""
        generator, n = rng(seed, "order"), len(encoded)
        visits = self._visits(n, steps)
        order = np.concatenate([generator.permutation(n) for _ in range(math.ceil(visits / n))])[:visits]
        size = self.batch_size_of(n)
        for first in range(0, visits, size):
            yield [encoded[i] for i in order[first : first + size]]

    def _visits(self, examples: int, steps: int | None) -> int:
        """Sequences that a round trains on, passes counted."""
        if steps is None:
            return math.ceil(self.epochs * examples - 1e-9)
        visits = steps * self.batch_size_of(examples)
        return visits if self.max_epochs is None else min(visits, math.ceil(self.max_epochs * examples - 1e-9))

    def _drift(self, start: Model, into: Path) -> Metrics:
        """Measure how far a quantised base's student is from the model that is served, which the canary is moved to."""
        if start.base.quantization is None:
            return {}
        from star_loop.trainers.drift import settle

        return {"quantization_drift": settle(start, into)}

    def _units(self, fitting: Sequence[tuple[int, Encoded]]) -> list[Encoded]:
        """Return what steps are made of, with weights of mean 1: sequences, or pairs of them; from their positions."""
        positions, encoded = zip(*fitting, strict=True)
        return paired(encoded, positions) if self.loss == "dpo" else normalised(encoded, signed=self.loss != "nll")

    def _fitting(self, examples: Sequence[Example], base: Pretrained) -> list[tuple[int, Encoded]]:
        """Return the examples that fit the context, with their positions."""
        from star_loop.models import weights
        from star_loop.models.chat import thinking_length

        tokenizer, limit = weights.load_tokenizer(base), weights.context_length(weights.load_config(base))
        encoded = []
        for example in examples:
            prompt = weights.encode_prompt(tokenizer, example.prompt, base.chat)
            written = example.ids or weights.encode_completion(tokenizer, example.completion, base.chat)
            unlearned = len(prompt) + (0 if self.thinking else thinking_length(tokenizer, written))
            if limit is None or len(prompt) + len(written) <= limit:
                made = Encoded(ids=prompt + written, prompt=unlearned, weight=example.weight)
                encoded.append((example.position, made))
        if not encoded:
            raise TrainingError(
                f"none of {counted(len(examples), 'example')} fits the model's context of {limit} tokens. "
                "Lower generator.max_tokens, shorten the prompts, or take a model with a longer context."
            )
        return encoded

    def _flops(self, units: Sequence[Encoded], batches: Sequence[Sequence[Encoded]], base: Pretrained) -> int:
        """Count a round's operations; with `dpo`, the forward pass that measures each pair before it as well."""
        visits = [one for batch in batches for one in batch]
        trained = self.shape_flops([(len(s.ids), s.losses) for one in visits for s in one.sequences], base)
        if self.loss != "dpo":
            return trained
        from star_loop.accounting.flops import shapes_of

        shapes, seen = shapes_of(base), {id(one) for one in visits}
        read = [s for one in units if id(one) in seen for s in one.sequences]
        return trained + sum(shapes.prefill(len(s.ids), logits=s.losses) for s in read)

    def _figures(self, batches: Sequence[Sequence[Encoded]], curve: Sequence[Step]) -> Metrics:
        trained = [sequence for batch in batches for one in batch for sequence in one.sequences]
        losses = sum(sequence.losses for sequence in trained)
        return {
            "steps": float(len(curve)),
            "loss": float(np.mean([step.loss for step in curve])),
            "first_loss": curve[0].loss,
            "last_loss": curve[-1].loss,
            "tokens": float(sum(len(sequence.ids) for sequence in trained)),
            "loss_tokens": float(losses),
            "token_accuracy": sum(step.correct for step in curve) / losses,
            "grad_norm": float(np.mean([step.grad_norm for step in curve])),
            "learning_rate": max(self.rate(step, len(curve)) for step in range(len(curve))),
        }

    @abstractmethod
    def shape_flops(self, sequences: Sequence[tuple[int, int]], base: Pretrained) -> int:
        """Count the operations of a round on sequences of (tokens, tokens that have a loss), by the base's shapes."""

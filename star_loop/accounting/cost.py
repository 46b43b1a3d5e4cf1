"""What an iteration costs in FLOPs: in the papers' convention, and exactly from the shapes of the matrices."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from star_loop.accounting.flops import Shapes, inference_flops, peak_flops, shapes_of, training_flops
from star_loop.accounting.metrics import token_counts
from star_loop.models import Pretrained
from star_loop.records import Metrics, Rollout

Spent = NDArray[np.float64]
"""(tokens, FLOPs by the convention, exact FLOPs or 0)"""


def _spent(tokens: int, figures: Metrics, what: str) -> Spent:
    return np.array([tokens, figures[f"flops/{what}"], figures.get(f"flops_exact/{what}", 0.0)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """FLOPs of one model, on unpadded tokens. A prompt that several samples share is counted once."""

    parameters: int
    """P of the convention, embeddings included."""
    shapes: Shapes | None = None
    """None: there is no model, and nothing exact to say."""
    base: Pretrained | None = None

    @classmethod
    def of(cls, base: Pretrained) -> Self:
        """Return the cost of any Hugging Face causal LM, from its configuration."""
        shapes = shapes_of(base)
        return cls(parameters=shapes.parameters, shapes=shapes, base=base)

    def peak(self) -> float | None:
        """Return this machine's peak operations per second; None: there is no model, or it is not known."""
        return None if self.base is None else peak_flops(self.base)

    def inference(self, rollouts: Sequence[Rollout]) -> float:
        """Count the operations of generating these rollouts, by the convention."""
        return float(inference_flops(self.parameters, sum(token_counts(rollouts))))

    def asking(self, rollouts: Sequence[Rollout]) -> Spent:
        """Count the operations of generating these rollouts."""
        figures = self.iteration(rollouts, {})
        return _spent(sum(token_counts(rollouts)), figures, "generate")

    def training(self, figures: Metrics) -> Spent:
        """Return a round with these figures of the trainer."""
        tokens = int(figures.get("tokens", 0))
        return np.array([tokens, training_flops(self.parameters, tokens), figures.get("flops_exact", 0.0)])

    def rereading(self, rollouts: Sequence[Rollout], passes: int = 1) -> Spent:
        """Count the operations of scoring these rollouts."""
        sequences = [(r.prompt_tokens, r.tokens) for r in rollouts]
        return _spent(sum(map(sum, sequences)), self.scoring(sequences, passes), "score")

    def reading(self, lengths: Sequence[int]) -> Spent:
        """Count the operations of the hidden states of texts of so many tokens."""
        exact = sum(self.shapes.prefill(length, logits=0) for length in lengths) if self.shapes else 0
        return np.array([sum(lengths), inference_flops(self.parameters, sum(lengths)), exact], np.float64)

    def scoring(self, sequences: Sequence[tuple[int, int]], passes: int = 1) -> Metrics:
        """`flops/score`: forward passes over (tokens of the prompt, tokens that are scored), none of them shared.

        A backward pass counts as two forward ones, which is exact where every weight has a gradient.
        """
        tokens = sum(prompt + scored for prompt, scored in sequences)
        figures = {"flops/score": passes * float(inference_flops(self.parameters, tokens))}
        if self.shapes is not None:
            forward = [self.shapes.prefill(prompt + scored, logits=scored) for prompt, scored in sequences]
            figures["flops_exact/score"] = passes * float(sum(forward))
        return figures

    def iteration(self, rollouts: Sequence[Rollout], trained: Metrics) -> Metrics:
        """Return `flops/generate`, `flops/train`, and both as `flops_exact/…`; `trained` are the round's metrics."""
        figures = {
            "flops/generate": self.inference(rollouts),
            "flops/train": float(training_flops(self.parameters, int(trained.get("train/tokens", 0)))),
        }
        if self.shapes is not None:
            figures["flops_exact/generate"] = self._exact_inference(self.shapes, rollouts)
            figures["flops_exact/train"] = trained.get("train/flops_exact", 0.0)
        return figures

    @staticmethod
    def _exact_inference(shapes: Shapes, rollouts: Sequence[Rollout]) -> float:
        requests: dict[tuple[int, int, int], list[int]] = defaultdict(list)
        for r in rollouts:
            requests[r.position, r.attempt, r.prompt_tokens].append(r.tokens)
        return float(sum(shapes.generate(prompt, drawn) for (*_, prompt), drawn in requests.items()))

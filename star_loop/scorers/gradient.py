"""Norms of true parameter gradients, for CurES's allocation (arXiv 2510.01037, equation 21)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from star_loop.models import Model
from star_loop.protocols import Engine, Progress
from star_loop.records import Rollout, Score
from star_loop.scorers import Scorer
from star_loop.scorers.student import encode, lent_student
from star_loop.trainers.batches import Encoded

if TYPE_CHECKING:
    from torch import Tensor


class Gradient(Scorer):
    """Computes what `student` does, and ‖∇ log π‖² by the parameters, one backward pass for each rationale.

    `scorer.wrong=true` gives both norms of equation 21, and its last term: the gap between the mean gradients of right
    and wrong un-hinted rationales of one observation, without what chance adds to it (`unbiased_gap`). The authors'
    code takes the embedding's gradient alone (`parameters=[embed_tokens]`), and norms for the gap
    (`allocator.gap=norms`).

    A gradient and two sums of them are held, each as large as the parameters that are named.
    """

    loads_base: ClassVar[bool] = True
    passes: ClassVar[int] = 3

    parameters: tuple[str, ...] = ()
    """Parts of names, such as `lm_head` or `layers.3.`; (): all parameters of the merged model, as in the paper."""

    def score(
        self,
        rollouts: Sequence[Rollout],
        prompts: Sequence[str],
        model: Model,
        *,
        engine: Engine | None = None,
        progress: Progress | None = None,
    ) -> list[Score]:
        """Scores in the order of the rollouts.

        Raises:
            ValueError: no such parameters, or every rationale is longer than the model's context.
        """
        encoded = encode(rollouts, prompts, model)
        with lent_student(model, engine) as student:
            return self._scores(encoded, student, progress)

    def _scores(
        self, encoded: Sequence[tuple[Rollout, Encoded]], student: Any, progress: Progress | None
    ) -> list[Score]:
        chosen = self._chosen(student)
        groups: dict[int, list[int]] = defaultdict(list)
        for index, (rollout, _) in enumerate(encoded):
            groups[rollout.position].append(index)
        scores: dict[int, Score] = {}
        for indices in groups.values():
            sides = {True: Side(), False: Side()}
            for index in indices:
                rollout, sequence = encoded[index]
                scores[index], vector = _scored(student, chosen, rollout, sequence)
                if not rollout.hinted:
                    sides[rollout.correct].add(vector)
                if progress:
                    progress(1)
            gap = unbiased_gap(sides[True], sides[False])
            scores |= {index: replace(scores[index], gap=gap) for index in indices}
        return [scores[index] for index in range(len(encoded))]

    def _chosen(self, student: Any) -> list["Tensor"]:
        named = dict(student.requires_grad_(False).named_parameters())
        chosen = [
            parameter
            for name, parameter in named.items()
            if not self.parameters or any(part in name for part in self.parameters)
        ]
        if not chosen:
            raise ValueError(f"scorer.parameters={list(self.parameters)}: none of {list(named)[:3]}, … has such a name")
        for parameter in chosen:
            parameter.requires_grad_(True)
        return chosen


def _scored(
    student: Any, chosen: Sequence["Tensor"], rollout: Rollout, sequence: Encoded
) -> tuple[Score, list["Tensor"]]:
    """Return one rationale's score, and ∇ log π as a list of tensors in float32."""
    import torch

    ids = torch.tensor([sequence.ids], device=student.device)
    first = sequence.first_target
    logp = student(input_ids=ids, use_cache=False).logits[0, first - 1 : -1].float().log_softmax(-1)
    own = logp.gather(-1, ids[0, first:, None])[:, 0]
    vector = [part.float() for part in torch.autograd.grad(own.sum(), chosen)]
    pi, own = logp.detach().exp(), own.detach()
    brier = (1 - 2 * own.exp() + (pi**2).sum(-1)).mean()
    score = Score.of(
        rollout, tokens=sequence.losses, loss=float(-own.mean()), brier=float(brier), gradient=_square(vector)
    )
    return score, vector


class Side:
    """The gradients of an observation's right, or of its wrong rationales: how many, their sum and their squares."""

    def __init__(self) -> None:
        self.n, self.squares, self.total = 0, 0.0, list[Any]()

    def add(self, vector: Sequence["Tensor"]) -> None:
        """Count one more gradient; the first is kept as the sum."""
        self.n, self.squares = self.n + 1, self.squares + _square(vector)
        for total, part in zip(self.total, vector, strict=False):
            total += part
        self.total = self.total or list(vector)

    @property
    def variance(self) -> float | None:
        """The unbiased trace of their covariance; None: there are fewer than two."""
        return None if self.n < 2 else (self.squares - _square(self.total) / self.n) / (self.n - 1)


def unbiased_gap(right: Side, wrong: Side) -> float | None:
    """Return an unbiased estimate of ‖E_right ∇ log π - E_wrong ∇ log π‖², which may be negative.

    The squared distance of two sample means is too large by each side's variance over its number. A side with a single
    gradient is taken to vary as the other does. None: a side is empty, or both have a single one.
    """
    known = [variance for variance in (right.variance, wrong.variance) if variance is not None]
    if not (right.n and wrong.n and known):
        return None
    apart = _square([a / right.n - b / wrong.n for a, b in zip(right.total, wrong.total, strict=True)])
    return apart - known[0] / right.n - known[-1] / wrong.n


def _square(vector: Sequence["Tensor"]) -> float:
    return float(sum((part.double() ** 2).sum() for part in vector))

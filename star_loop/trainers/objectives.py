"""What an optimiser step minimises: the likelihood of rationales, or a loss that wrong ones are used in.

This is a torch module: import it inside functions, never at the top of a module that the loop imports. A wrong
rationale is one whose weight is negative.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from star_loop.trainers.batches import Encoded, micro_batches
from star_loop.trainers.keys import RoundKeys


class Objective(Protocol):
    """A loss that is a sum over examples, so that it does not depend on how a step is cut."""

    def count(self, batch: Sequence[Encoded]) -> int:
        """Return what a step's sum is divided by."""

    def __call__(self, group: Sequence[Encoded], nll: Tensor) -> Tensor:
        """Return the sum over a micro-batch; `nll`: of every loss token, sequence after sequence, in nats."""


class Likelihood:
    """Σ w · nll over all loss tokens, for each of them."""

    def count(self, batch: Sequence[Encoded]) -> int:
        """Count the loss tokens."""
        return sum(one.losses for one in batch)

    def __call__(self, group: Sequence[Encoded], nll: Tensor) -> Tensor:
        """Return Σ w · nll."""
        return (nll * _of_tokens(group, nll)).sum()


class RiftTokens(Likelihood):
    """RIFT's bound for each token: Σ w · nll over the tokens of right rationales, Σ |w| · p over those of wrong ones.

    `Rift` says where it comes from. A token's probability does not vanish with the length of what it stands in.
    """

    def __call__(self, group: Sequence[Encoded], nll: Tensor) -> Tensor:
        """Return the sum of both."""
        return _bounded(_of_tokens(group, nll), nll).sum()


class Rift:
    """RIFT (arXiv 2601.09253): -E[r log π(y|x)] over rewards r > 0, and -E[r π(y|x)] over r < 0.

    A negative reward times log π has no lower bound, and its gradient explodes as π falls; π itself has both bounds.
    (The equation as those who have read the paper give it; no code of the authors is public.) π(y|x) is the product
    over the tokens of y: of a long rationale it is practically 0, and so is what a wrong one teaches.
    """

    def count(self, batch: Sequence[Encoded]) -> int:
        """Count the rationales."""
        return len(batch)

    def __call__(self, group: Sequence[Encoded], nll: Tensor) -> Tensor:
        """Return the sum over the rationales."""
        weights = torch.tensor([one.weight for one in group], device=nll.device)
        return _bounded(weights, _of_sequences(group, nll)).sum()


@dataclass(frozen=True, slots=True)
class Preference:
    """DPO and the likelihood of what is preferred, on pairs of one question (iterative RPO, arXiv 2404.19733, eq. 1).

    -log σ(β log π(w|x)/π₀(w|x) - β log π(l|x)/π₀(l|x)) - α log π(w|x)/|w|, with π₀ the model that the round starts
    from, w right and l wrong; its mean over pairs. DPO itself (arXiv 2305.18290, eq. 7) is α = 0.
    """

    beta: float
    alpha: float
    reference: Mapping[int, Tensor]
    """Of each pair, by its identity: the negative log-likelihoods of both of its sequences by π₀."""

    def count(self, batch: Sequence[Encoded]) -> int:
        """Count the pairs."""
        return len(batch)

    def __call__(self, group: Sequence[Encoded], nll: Tensor) -> Tensor:
        """Return the sum over the pairs."""
        right, wrong = _of_sequences(_flat(group), nll).view(-1, 2).unbind(1)
        before = torch.stack([self.reference[id(pair)] for pair in group])
        margin = self.beta * ((before[:, 0] - right) - (before[:, 1] - wrong))
        tokens = torch.tensor([max(pair.losses, 1) for pair in group], device=nll.device)
        weights = torch.tensor([pair.weight for pair in group], device=nll.device)
        return (weights * (self.alpha * right / tokens - logsigmoid(margin))).sum()


LIKELIHOOD = Likelihood()


def objective_of(
    settings: RoundKeys, batches: Sequence[Sequence[Encoded]], measured: Callable[[Sequence[Encoded]], Tensor],
    at_once: int,
) -> Objective:  # fmt: skip
    """Make the loss of a round.

    Args:
        settings: which loss.
        batches: of the whole round.
        measured: the losses of a micro-batch's tokens by the model that the round starts from.
        at_once: tokens of such a micro-batch.
    """
    if settings.loss != "dpo":
        single: Mapping[str, Objective] = {"nll": LIKELIHOOD, "rift": Rift(), "rift_tokens": RiftTokens()}
        return single[settings.loss]
    distinct = {id(pair): pair for batch in batches for pair in batch}
    reference: dict[int, Tensor] = {}
    for group in micro_batches(list(distinct.values()), at_once, settings.packing):
        found = _of_sequences(_flat(group), measured(_flat(group))).view(-1, 2)
        reference |= {id(pair): sums for pair, sums in zip(group, found, strict=True)}
    return Preference(settings.dpo_beta, settings.dpo_alpha, reference)


def _flat(group: Sequence[Encoded]) -> list[Encoded]:
    return [sequence for one in group for sequence in one.sequences]


def _bounded(weights: Tensor, nll: Tensor) -> Tensor:
    """What is right has its negative log-likelihood, what is wrong its likelihood."""
    return torch.where(weights > 0, weights * nll, -weights * torch.exp(-nll))


def _of_tokens(group: Sequence[Encoded], nll: Tensor) -> Tensor:
    weights = torch.tensor([one.weight for one in group], device=nll.device)
    return weights.repeat_interleave(torch.tensor([one.losses for one in group], device=nll.device))


def _of_sequences(sequences: Sequence[Encoded], nll: Tensor) -> Tensor:
    return torch.stack([part.sum() for part in torch.split(nll, [sequence.losses for sequence in sequences])])

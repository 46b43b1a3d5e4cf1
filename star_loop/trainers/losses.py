"""Losses of an LM head without the whole matrix of logits. A torch module: import it inside functions."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint


def head_losses(head: Any, cap: float | None, hidden: Tensor, targets: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Return negative log-likelihoods (nats, float32) [N] of the targets, and whether each was the most probable.

    Args:
        head: the LM head.
        cap: logits are cap · tanh(logits / cap), as Gemma's; None: they stay.
        hidden: what the head reads, [N, H].
        targets: token ids, [N].
        rows: of logits at once; with more, the matrix [N, vocabulary] never exists.
    """
    if len(targets) <= rows:
        return _losses(head, cap, hidden, targets)
    if not any(parameter.requires_grad for parameter in head.parameters()):
        nll, correct = _Chunked.apply(head, cap, hidden, targets, rows)  # type: ignore[no-untyped-call]
        return nll, correct
    chunks = [
        checkpoint(_losses, head, cap, part, wanted, use_reentrant=False)
        for part, wanted in zip(torch.split(hidden, rows), torch.split(targets, rows), strict=True)
    ]
    return torch.cat([nll for nll, _ in chunks]), torch.cat([correct for _, correct in chunks])


class _Chunked(torch.autograd.Function):
    """Losses of a frozen head: the gradient of each by its own hidden state is all that the backward pass needs.

    It is taken at once, while the chunk's logits are there, so nothing is computed twice (as in Liger's fused linear
    cross-entropy, arXiv 2410.10989).
    """

    @staticmethod
    def forward(
        ctx: Any, head: Any, cap: float | None, hidden: Tensor, targets: Tensor, rows: int
    ) -> tuple[Tensor, Tensor]:
        wanted = ctx.needs_input_grad[2]
        slopes = torch.empty_like(hidden) if wanted else None
        nll, correct = hidden.new_empty(len(targets), dtype=torch.float32), torch.empty_like(targets, dtype=torch.bool)
        for start in range(0, len(targets), rows):
            at = slice(start, start + rows)
            with torch.set_grad_enabled(wanted):
                part = hidden[at].detach().requires_grad_(wanted)
                found, correct[at] = _losses(head, cap, part, targets[at])
                if slopes is not None:
                    (slopes[at],) = torch.autograd.grad(found.sum(), part)
            nll[at] = found.detach()
        ctx.save_for_backward(slopes)
        ctx.mark_non_differentiable(correct)
        return nll, correct

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        (slopes,) = ctx.saved_tensors
        return None, None, slopes * upstream[0].unsqueeze(-1).to(slopes.dtype), None, None


def _losses(head: Any, cap: float | None, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    logits = head(hidden).float()
    if cap is not None:
        logits = cap * torch.tanh(logits / cap)
    return cross_entropy(logits, targets, reduction="none"), logits.detach().argmax(-1) == targets

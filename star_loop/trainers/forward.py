"""One forward pass: the losses of a micro-batch's tokens. A torch module: import it inside functions.

Sequences are padded on the right and carry no attention mask: in a causal model no real token sees what follows it. Or
they lie end to end in one row (`trainer.packing`). Logits are computed only where there is a loss, and in chunks, so a
large vocabulary does not fill the memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from star_loop.trainers.attention import end_to_end
from star_loop.trainers.batches import Encoded
from star_loop.trainers.losses import head_losses
from star_loop.trainers.students import causal_of

LOGITS_AT_ONCE = 2**24
"""Elements of the largest matrix of logits on a CPU: 64 MB in float32, and the same whatever memory is free, since a
round there has the same bytes each time."""
BYTES_EACH = 16
"""What an element of that matrix takes while a chunk's gradient is taken: logits, probabilities, their gradients."""


def logits_at_once(device: str, free: int) -> int:
    """Return the elements of the largest matrix of logits.

    On a GPU an eighth of the memory that is free, between 2^22 elements and 2^28, with which the head's products are as
    fast as they get.

    Example:
        >>> [logits_at_once("cuda", gib * 2**30).bit_length() - 1 for gib in (0, 1, 16, 80)]
        [22, 23, 27, 28]
    """
    return LOGITS_AT_ONCE if device == "cpu" else min(max(free // 8 // BYTES_EACH, 2**22), 2**28)


@dataclass(frozen=True, slots=True)
class Forward:
    """How the losses of a step are computed: `forward(model, batch)` is `token_losses`."""

    packed: bool = False
    """The sequences of a micro-batch lie end to end in one row."""
    half: bool = False
    """Products are computed in bfloat16, whatever the weights are in (autocast)."""
    at_once: int = LOGITS_AT_ONCE
    """Elements of the largest matrix of logits."""

    def __call__(self, model: Any, batch: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        """See `token_losses`."""
        with torch.autocast(causal_of(model).device.type, dtype=torch.bfloat16, enabled=self.half):
            return token_losses(model, batch, self.at_once, self.packed)


def token_losses(
    model: Any, batch: Sequence[Encoded], at_once: int = LOGITS_AT_ONCE, packed: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the negative log-likelihood (nats, float32) of every loss token, and whether it was the most probable.

    Args:
        model: a student of either kind.
        batch: B sequences.
        at_once: elements of the largest matrix of logits.
        packed: the sequences lie end to end in one row; the model must be `attending` to that.

    Returns:
        Two tensors of shape [Σ losses], sequence after sequence.
    """
    causal = causal_of(model)
    head, vocabulary = causal.get_output_embeddings(), causal.config.get_text_config().vocab_size
    cap = getattr(causal.config.get_text_config(), "final_logit_softcapping", None)
    ids, positions, told = (_row if packed else _padded)(batch, causal.device)
    hidden = causal.base_model(input_ids=ids, use_cache=False, **told).last_hidden_state
    hidden, targets = hidden.flatten(0, 1).index_select(0, positions), ids.flatten()[positions + 1]
    return head_losses(head, cap, hidden, targets, max(at_once // vocabulary, 1))


def _row(batch: Sequence[Encoded], device: torch.device) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Token ids [1, Σ T], the positions [Σ losses] whose next token has a loss, and where the sequences begin."""
    lengths = [len(sequence.ids) for sequence in batch]
    starts = accumulate(lengths, initial=0)
    positions = [
        torch.arange(start + sequence.first_target - 1, start + len(sequence.ids) - 1)
        for start, sequence in zip(starts, batch, strict=False)
    ]
    ids = torch.tensor([[token for sequence in batch for token in sequence.ids]], device=device)
    return ids, torch.cat(positions).to(device), end_to_end(lengths, device)


def _padded(batch: Sequence[Encoded], device: torch.device) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Token ids [B, T], the flat positions [Σ losses] whose next token has a loss, and nothing else to tell."""
    width = max(len(sequence.ids) for sequence in batch)
    rows = [[*sequence.ids, *[0] * (width - len(sequence.ids))] for sequence in batch]
    positions = [
        torch.arange(row * width + sequence.first_target - 1, row * width + len(sequence.ids) - 1)
        for row, sequence in enumerate(batch)
    ]
    return torch.tensor(rows, device=device), torch.cat(positions).to(device), {}

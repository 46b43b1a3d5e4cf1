"""Attention within each of several sequences that lie end to end in one row. A torch module: import it in functions.

A flash kernel takes a row and where its sequences begin (`varlen`). transformers gives torch's own attention a mask of
[T, T] for the same: with it a row of T tokens costs as much as one sequence of T. Here it is called once for each
sequence instead, so that nothing is computed between two of them. On a CPU it computes in float32: in bfloat16 the
backward pass of torch's kernel takes four times as long.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from star_loop.models import Pretrained
from star_loop.models.device import device
from star_loop.models.skeleton import skeleton

NAME = "sdpa_by_sequence"
"""Of this attention among transformers' implementations."""


@contextmanager
def attending(model: PreTrainedModel, wanted: str | None, packed: bool) -> Iterator[None]:
    """Have a model compute attention in the wanted way within the context.

    Args:
        model: a causal LM.
        wanted: transformers' name of an implementation; None: the model's own.
        packed: rows will hold several sequences.

    Raises:
        ValueError: there is no such implementation, or it cannot be used here; packed, and the model has layers that
            hand a state on from token to token.
    """
    usual = model.config._attn_implementation
    if packed and model._is_stateful:
        raise ValueError(
            f"trainer.packing=true: {type(model).__name__} has layers that hand a state on from one sequence to the "
            "next in a row: set trainer.packing=false"
        )
    chosen = wanted or usual
    if chosen.startswith("paged|"):
        raise ValueError(
            f"trainer.attention={wanted}: paged attention is for generation, and training keeps no pages: leave "
            "`paged|` out"
        )
    try:
        model.set_attn_implementation(NAME if chosen == "sdpa" and (packed or device() == "cpu") else chosen)
    except (ImportError, ValueError) as error:
        raise ValueError(f"trainer.attention={wanted}: {error}") from error
    try:
        yield
    finally:
        model.set_attn_implementation(usual)


def check_attention(base: Pretrained, wanted: str | None, packed: bool) -> None:
    """Try `attending` on a model without weights.

    Raises:
        ValueError: see `attending`.
    """
    with attending(skeleton(base), wanted, packed):
        pass


def end_to_end(lengths: Sequence[int], device: torch.device) -> dict[str, Any]:
    """Say where in a row the sequences of these lengths begin, as transformers' models take it by name."""
    starts = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
    positions = torch.cat([torch.arange(length, device=device) for length in lengths])
    return {
        "position_ids": positions[None], "cu_seq_lens_q": starts, "cu_seq_lens_k": starts,
        "max_length_q": max(lengths), "max_length_k": max(lengths),
    }  # fmt: skip


def by_sequence(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend within each sequence of a row [1, heads, T, head_dim], as transformers' `sdpa` does in a row of its own.

    Returns:
        [1, T, heads, head_dim], and nothing for the weights. A batch that is not packed is done in one.
    """
    if query.dtype == torch.bfloat16 and query.device.type == "cpu":
        given = query.float(), key.float(), value.float(), attention_mask
        with torch.autocast("cpu", enabled=False):
            exact, _ = by_sequence(module, *given, cu_seq_lens_q=cu_seq_lens_q, **options)
        return exact.to(query.dtype), None
    if cu_seq_lens_q is None:
        whole: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return whole
    lengths = cu_seq_lens_q.diff().tolist()
    parts = zip(*(torch.split(each, lengths, dim=2) for each in (query, key, value)), strict=True)
    found = []
    for (start, end), part in zip(pairwise(cu_seq_lens_q.tolist()), parts, strict=True):
        mask = None if attention_mask is None else attention_mask[:, :, start:end, start:end]
        found.append(sdpa_attention_forward(module, *part, mask, **options)[0])
    return torch.cat(found, dim=1), None


def _mask(*, allow_is_causal_skip: bool = True, local_size: int | None = None, **arguments: Any) -> Tensor | None:
    """Return no mask for a row of several sequences, unless tokens see a part of what lies before them.

    transformers forbids to skip the mask of such a row.
    """
    if not allow_is_causal_skip and local_size is None:
        return None
    mask: Tensor | None = sdpa_mask(allow_is_causal_skip=allow_is_causal_skip, local_size=local_size, **arguments)
    return mask


AttentionInterface.register(NAME, by_sequence)
AttentionMaskInterface.register(NAME, _mask)

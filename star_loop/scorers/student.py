"""Scores by the current student: one forward pass over each rationale, in this process."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from star_loop.errors import counted
from star_loop.models import Model
from star_loop.models.device import lent
from star_loop.protocols import Engine, Progress
from star_loop.records import Rollout, Score
from star_loop.scorers import Scorer
from star_loop.trainers.batches import Encoded, micro_batches

if TYPE_CHECKING:
    from torch import Tensor

Means = tuple[float, float, float]
"""Mean cross-entropy, Brier score and rank."""
RANKS = 100
"""The greatest rank that is told, as in RSR's released code."""
ROWS = 1024
"""Token positions whose logits are held in float32 at once."""


class Student(Scorer):
    """Exact cross-entropy and Brier score over the whole vocabulary, on the GPU if there is one.

    Over what the trainer will learn: the completion and the end of sequence, after the zero-shot prompt, so a rationale
    that was written with a hint is scored without it. Rationales longer than the context have no score. LARK's code
    takes the 50 largest logits instead of all.
    """

    loads_base: ClassVar[bool] = True

    max_tokens_per_batch: Annotated[int, Field(ge=1)] = 2048
    """Tokens, with padding, of one forward pass (or one sequence)."""

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
            ValueError: every rationale is longer than the model's context.
        """
        encoded = encode(rollouts, prompts, model)
        means: dict[int, Means] = {}
        with lent_student(model, engine) as student:
            for group in micro_batches([sequence for _, sequence in encoded], self.max_tokens_per_batch):
                means |= {id(s): both for s, both in zip(group, token_means(student, group), strict=True)}
                if progress:
                    progress(len(group))
        return [
            Score.of(rollout, tokens=sequence.losses, loss=loss, brier=brier, rank=rank)
            for rollout, sequence in encoded
            for loss, brier, rank in [means[id(sequence)]]
        ]


@contextmanager
def lent_student(model: Model, engine: Engine | None) -> Iterator[Any]:
    """Load the merged model where it is computed with, once the engine has given its memory back; then give it back."""
    from star_loop.models.weights import computing_dtype, load_merged

    if engine is not None:
        engine.release()
    with lent(load_merged(model, computing_dtype(model.base))) as student:
        yield student


def token_means(model: Any, group: Sequence[Encoded]) -> list[Means]:
    """Means over the tokens of each sequence that have a loss: cross-entropy in nats, Brier score in [0, 2], and rank.

    Brier = ‖e_y - π‖² = 1 - 2 π_y + Σ_v π_v², which is also the squared norm of the loss gradient by the logits.
    """
    import torch

    width = max(len(s.ids) for s in group)
    ids = torch.tensor([[*s.ids, *[0] * (width - len(s.ids))] for s in group], device=model.device)
    mask = torch.tensor([[1] * len(s.ids) + [0] * (width - len(s.ids)) for s in group], device=model.device)
    means = []
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        for row, s in enumerate(group):
            starts = range(s.first_target, len(s.ids), ROWS)
            ends = [min(start + ROWS, len(s.ids)) for start in starts]
            sums = [_sums(logits[row, a - 1 : b - 1], ids[row, a:b]) for a, b in zip(starts, ends, strict=True)]
            loss, brier, rank = (torch.stack(sums).sum(0) / s.losses).tolist()
            means.append((loss, brier, rank))
    return means


def _sums(logits: "Tensor", targets: "Tensor") -> "Tensor":
    """Cross-entropy, Brier score and rank (at most RANKS), summed over the rows of logits [N, V]."""
    import torch

    logp = logits.float().log_softmax(-1)
    chosen = logp.gather(-1, targets[:, None])[:, 0]
    ranks = 1 + (logp > chosen[:, None]).sum(-1).clamp(max=RANKS - 1)
    return torch.stack([-chosen.sum(), (1 - 2 * chosen.exp() + (2 * logp).exp().sum(-1)).sum(), ranks.sum()])


def encode(rollouts: Sequence[Rollout], prompts: Sequence[str], model: Model) -> list[tuple[Rollout, Encoded]]:
    """Return the rationales that fit the model's context, as the trainer would see them.

    Raises:
        ValueError: there are none.
    """
    from star_loop.models.weights import context_length, encode_completion, encode_prompt, load_config, load_tokenizer

    tokenizer, limit = load_tokenizer(model.base), context_length(load_config(model.base))
    encoded = []
    for rollout, prompt in zip(rollouts, prompts, strict=True):
        before = encode_prompt(tokenizer, prompt, model.base.chat)
        written = rollout.ids or encode_completion(tokenizer, rollout.text, model.base.chat)
        sequence = Encoded(ids=before + written, prompt=len(before))
        if limit is None or len(sequence.ids) <= limit:
            encoded.append((rollout, sequence))
    if not encoded:
        raise ValueError(
            f"none of {counted(len(rollouts), 'rationale')} fits the model's context of {limit} tokens, so none can be "
            "scored: lower generator.max_tokens, shorten the prompts, or take a model with a longer context"
        )
    return encoded

"""A budget for the reasoning of a thinking model: the same rule as vLLM's, for Hugging Face `generate`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class ThinkingBudget:
    """Leaves only the end of reasoning to draw, token by token, once it has taken its budget: a logits processor."""

    def __init__(self, begins: Sequence[int], ends: Sequence[int], budget: int) -> None:
        self.begins, self.ends, self.budget = list(begins), list(ends), budget

    def __call__(self, input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        """Return the scores [B, V] of the next tokens after `input_ids` [B, T]."""
        for row, ids in enumerate(input_ids.tolist()):
            token = self.forced(ids)
            if token is not None:
                kept = scores[row, token].clone()
                scores[row] = -float("inf")
                scores[row, token] = kept
        return scores

    def forced(self, ids: Sequence[int]) -> int | None:
        """Return the token that must come next; None: any may."""
        begun = _last(ids, self.begins)
        if begun < 0:
            return None
        thought = list(ids[begun + len(self.begins) :])
        if _last(thought, self.ends) >= 0:
            return None
        written = next(k for k in range(len(self.ends) - 1, -1, -1) if k == 0 or thought[-k:] == self.ends[:k])
        return self.ends[written] if len(thought) - written >= self.budget else None


def _last(ids: Sequence[int], part: Sequence[int]) -> int:
    """Where `part` stands last; -1: nowhere."""
    places = range(len(ids) - len(part), -1, -1)
    return next((at for at in places if list(ids[at : at + len(part)]) == part), -1)

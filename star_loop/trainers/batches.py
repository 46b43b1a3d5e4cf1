"""Examples as token ids, how they are grouped, and what a step saw of them. No torch here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example as token ids: `ids[prompt:]` is what the model learns to write."""

    ids: Sequence[int]
    prompt: int
    weight: float = 1.0

    @property
    def first_target(self) -> int:
        """Return the index of the first token with a loss; nothing comes before token 0, so it has none."""
        return max(self.prompt, 1)

    @property
    def losses(self) -> int:
        """Count the tokens that have a loss."""
        return len(self.ids) - self.first_target


@dataclass(frozen=True, slots=True)
class Step:
    """Figures of one optimiser step."""

    loss: float
    """Weighted nats per loss token."""
    correct: int
    """Loss tokens that were the most probable."""
    grad_norm: float
    """Before clipping."""


def micro_batches(batch: Sequence[Encoded], max_tokens: int, packed: bool = False) -> list[list[Encoded]]:
    """Cut a step into groups of similar length, of at most `max_tokens` tokens (or one sequence).

    Tokens are counted with the padding of a group to its longest sequence; `packed`: without any.
    """
    groups: list[list[Encoded]] = []
    total = 0
    for sequence in sorted(batch, key=lambda sequence: len(sequence.ids)):
        length = len(sequence.ids)
        total = total + length if packed or not groups else (len(groups[-1]) + 1) * length
        if groups and total <= max_tokens:
            groups[-1].append(sequence)
        else:
            groups.append([sequence])
            total = length
    return groups


def beginnings(sequences: Sequence[Encoded], count: int = 4, tokens: int = 64) -> list[list[int]]:
    """Return the first tokens of a few sequences, spread over all of them: the prompts of the canary."""
    return [list(sequence.ids[:tokens]) for sequence in sequences[:: math.ceil(len(sequences) / count)]]


def normalised(encoded: Sequence[Encoded]) -> list[Encoded]:
    """Return the same with weights scaled to a mean of 1 over all loss tokens.

    Raises:
        ValueError: a negative or infinite weight, or nothing but zeros.
    """
    total = sum(sequence.weight * sequence.losses for sequence in encoded)
    if not (math.isfinite(total) and total > 0 and all(sequence.weight >= 0 for sequence in encoded)):
        found = sorted({sequence.weight for sequence in encoded})
        raise ValueError(f"weights must be finite, not negative and not all 0, found {found[0]} … {found[-1]}")
    scale = sum(sequence.losses for sequence in encoded) / total
    return [replace(sequence, weight=sequence.weight * scale) for sequence in encoded]

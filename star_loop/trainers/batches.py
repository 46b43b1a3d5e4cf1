"""Examples as token ids, how they are grouped, and what a step saw of them. No torch here."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example as token ids: `ids[prompt:]` is what the model learns to write."""

    ids: Sequence[int]
    prompt: int
    weight: float = 1.0
    """Negative: it is a wrong rationale (`trainer.loss`)."""
    against: "Encoded | None" = None
    """Makes it a pair: a wrong rationale of the same question."""

    @property
    def sequences(self) -> tuple["Encoded", ...]:
        """Itself, and what it is paired with."""
        return (self,) if self.against is None else (self, self.against)

    @property
    def room(self) -> int:
        """Count its tokens, padded to one length."""
        return len(self.sequences) * max(len(sequence.ids) for sequence in self.sequences)

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

    Tokens are counted with the padding of a group to its longest sequence; `packed`: without any. A pair stays whole.
    """
    groups: list[list[Encoded]] = []
    total = 0
    for one in sorted(batch, key=lambda one: one.room):
        own = sum(len(sequence.ids) for sequence in one.sequences) if packed else one.room
        total = total + own if packed or not groups else (len(groups[-1]) + 1) * own
        if groups and total <= max_tokens:
            groups[-1].append(one)
        else:
            groups.append([one])
            total = own
    return groups


def beginnings(sequences: Sequence[Encoded], count: int = 4, tokens: int = 64) -> list[list[int]]:
    """Return the first tokens of a few sequences, spread over all of them: the prompts of the canary."""
    return [list(sequence.ids[:tokens]) for sequence in sequences[:: math.ceil(len(sequences) / count)]]


def pairs(positions: Sequence[int], weights: Sequence[float]) -> list[tuple[int, int]]:
    """Return the places of each right rationale with each wrong one, of negative weight, of the same observation.

    Example:
        >>> pairs([7, 7, 8, 7], [1.0, -1.0, 1.0, -1.0])
        [(0, 1), (0, 3)]
    """
    wrong: dict[int, list[int]] = defaultdict(list)
    for place, (position, weight) in enumerate(zip(positions, weights, strict=True)):
        if weight < 0:
            wrong[position].append(place)
    return [
        (place, other)
        for place, (position, weight) in enumerate(zip(positions, weights, strict=True))
        if weight > 0
        for other in wrong[position]
    ]


def paired(encoded: Sequence[Encoded], positions: Sequence[int]) -> list[Encoded]:
    """Return the pairs among the sequences; their weights, the product of both, have a mean of 1.

    Raises:
        ValueError: there are none, or a weight is infinite.
    """
    found = [(encoded[one], encoded[other]) for one, other in pairs(positions, [e.weight for e in encoded])]
    total = sum(right.weight * -wrong.weight for right, wrong in found)
    if not (math.isfinite(total) and total > 0):
        raise ValueError(
            f"no pair of a right and a wrong rationale of the same question among {len(encoded)} examples: take "
            "selectors=pairs and more draws (allocator.rollouts)"
        )
    scale = len(found) / total
    return [replace(right, weight=right.weight * -wrong.weight * scale, against=wrong) for right, wrong in found]


def normalised(encoded: Sequence[Encoded], signed: bool = False) -> list[Encoded]:
    """Return the same with weights whose sizes have a mean of 1 over all loss tokens.

    `signed`: those of wrong rationales are negative.

    Raises:
        ValueError: a negative weight that is not asked for, an infinite one, or none above 0.
    """
    total = sum(abs(sequence.weight) * sequence.losses for sequence in encoded)
    least, greatest = min(e.weight for e in encoded), max(e.weight for e in encoded)
    if not (math.isfinite(total) and total > 0 and (greatest > 0 if signed else least >= 0)):
        wanted = "finite and some of them above 0" if signed else "finite, not negative and not all 0"
        advice = "" if signed or not least < 0 else "; trainer.loss=rift or dpo uses wrong rationales"
        raise ValueError(f"weights must be {wanted}, found {least} … {greatest}{advice}")
    scale = sum(sequence.losses for sequence in encoded) / total
    return [replace(sequence, weight=sequence.weight * scale) for sequence in encoded]

"""Why no answer was found in some rationales: the commonest reasons, with an example of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from star_loop.records import Rollout

CUT = "cut off before an answer: raise generator.max_tokens"
_SHOWN = 6
"""Reasons on the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason, how often it was given, and the first rationale of which it is true."""

    words: str
    count: int
    example: Rollout


def reasons(rollouts: Iterable[Rollout]) -> Sequence[Reason]:
    """Group the rollouts without an answer by the verifier's words; the commonest reason comes first."""
    found: dict[str, Reason] = {}
    for rollout in rollouts:
        if rollout.answer is None and not rollout.correct:
            words = CUT if rollout.finish == "length" else rollout.how
            before = found.setdefault(words, Reason(words=words, count=0, example=rollout))
            found[words] = replace(before, count=before.count + 1)
    return sorted(found.values(), key=lambda reason: -reason.count)[:_SHOWN]

"""Why no answer was found in some rationales: the commonest reasons, with an example of each."""

from collections.abc import Sequence
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


class Reasons:
    """Groups rollouts without an answer by the verifier's words, as they come."""

    def __init__(self) -> None:
        self._found: dict[str, Reason] = {}

    def add(self, rollout: Rollout) -> None:
        """Count a rollout, if no answer was found in it."""
        if rollout.answer is None and not rollout.correct:
            words = CUT if rollout.finish == "length" else rollout.how
            before = self._found.setdefault(words, Reason(words=words, count=0, example=rollout))
            self._found[words] = replace(before, count=before.count + 1)

    def commonest(self) -> Sequence[Reason]:
        """Return the reasons for the page; the commonest comes first."""
        return sorted(self._found.values(), key=lambda reason: -reason.count)[:_SHOWN]

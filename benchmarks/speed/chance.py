"""A verifier for a model that knows nothing: a random model's rationales are right by chance."""

import hashlib

from pydantic import Field

from star_loop.protocols import Verifier
from star_loop.records import Observation, Verdict


class Chance(Verifier):
    """Accepts the gold, and of other texts those whose hash says so. For benchmarks only."""

    share: float = Field(0.5, ge=0, le=1)
    """Of the texts that are accepted."""

    def judge(self, observation: Observation, text: str) -> Verdict:
        """By chance, and always the same."""
        digest = hashlib.sha256(f"{observation.id} {text}".encode()).digest()
        right = text in (observation.rationale, observation.answer) or digest[0] < 256 * self.share
        return Verdict(answer=digest[:2].hex(), correct=right, how="chance")

"""Scores by the live engine, which holds the current model anyway: no second copy of it is loaded."""

from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

from pydantic import Field

from star_loop.models import Model
from star_loop.protocols import Engine, Progress
from star_loop.records import Rollout, Score
from star_loop.scorers import Scorer
from star_loop.scorers.student import encode

CHUNK = 256
"""Rationales of one call."""


@runtime_checkable
class ScoringEngine(Engine, Protocol):
    """An engine that tells how probable a text was."""

    def score(
        self, sequences: Sequence[tuple[Sequence[int], int]], top: int
    ) -> Sequence[tuple[float, float, float] | None]:
        """Score (token ids, index of the first that counts): see `generators.likelihood`; None: too long."""


class FromEngine(Scorer):
    """Cross-entropy and Brier score from vLLM's log-probabilities, over what `scorer=student` looks at.

    The cross-entropy is exact. Of the Brier score only the `top` most probable tokens are seen; the rest is bounded,
    `score/slack` says by how much, and with `top` no less than the vocabulary it is exact too. With
    `generator.adapter=lora` vLLM has no log-probabilities of a prompt, so every token is a request of its own: slow.
    """

    loads_base: ClassVar[bool] = True
    asks_engine: ClassVar[bool] = True

    top: int = Field(20, ge=1)
    """Tokens at each place whose probabilities are asked for."""

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
            ValueError: the engine cannot tell.
        """
        if not isinstance(engine, ScoringEngine):
            raise ValueError("scorer=engine asks vLLM for probabilities: take generator=vllm, or scorer=student")
        engine.serve(model)
        encoded, scores = encode(rollouts, prompts, model), []
        for start in range(0, len(encoded), CHUNK):
            part = encoded[start : start + CHUNK]
            found = engine.score([(s.ids, s.first_target) for _, s in part], self.top)
            scores += [
                Score.of(r, tokens=s.losses, loss=means[0], brier=means[1], slack=means[2])
                for (r, s), means in zip(part, found, strict=True)
                if means is not None
            ]
            if progress:
                progress(len(part))
        return scores

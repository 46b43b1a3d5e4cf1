"""How a model is measured: greedily on held-out observations, optionally with samples beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import Field

from star_loop.accounting.metrics import best_on_validation
from star_loop.config.component import MOST_DRAWS, Component
from star_loop.external import Harness
from star_loop.records import Decoding, Metrics, Observation, Request, Sampling
from star_loop.seeding import seed_for


class Evaluation(Component):
    """pass@1 is always greedy. Decisions see validation only; test is for the record."""

    samples: int = Field(0, ge=0, le=MOST_DRAWS)
    """Sampled answers per question, for maj@k and unbiased pass@k; 0: none."""
    temperature: float = Field(0.7, gt=0)
    """Temperature of those samples."""
    shots: bool = True
    """Measure the base model with the worked examples of collecting too, where the task has any: iteration 0 then says
    how much of what is gained is the form of the answer."""
    max_tokens: int | None = Field(None, ge=1)
    """None: as many as in collecting."""
    limit: int | None = Field(None, ge=1)
    """Ask so many questions of each held-out split, spread evenly over it; None: all."""
    test_every: int = Field(1, ge=1)
    """Measure the test split every so many iterations; always before the first and after the last, which `patience` may
    decide."""
    external: Harness | None = None
    """Benchmarks of lm-eval-harness that are measured beside."""
    patience: int | None = Field(None, ge=1)
    """Stop after so many iterations without a better validation accuracy; null: never."""

    def settled(self, curve: Sequence[Metrics]) -> bool:
        """Tell whether validation accuracy has not risen for `patience` iterations.

        Args:
            curve: the metrics of all iterations, from 0.
        """
        best = best_on_validation(dict(enumerate(curve))) or 0
        return self.patience is not None and len(curve) - 1 - best >= self.patience

    def measures_test(self, iteration: int, *, last: bool) -> bool:
        """Tell whether the test split is measured after this iteration, which may be the run's last."""
        return iteration % self.test_every == 0 or last

    def positions(self, observations: int) -> list[int]:
        """Return which of a split's observations are asked.

        Example:
            >>> Evaluation(limit=3).positions(10), Evaluation(limit=3).positions(2)
            ([0, 3, 6], [0, 1])
        """
        asked = min(observations, self.limit or observations)
        return [k * observations // asked for k in range(asked)]

    def requests(
        self, asked: Mapping[int, tuple[Observation, str, Sampling]], seed: int
    ) -> list[tuple[int, int, Request]]:
        """Return (position, attempt, request) of everything to ask.

        Args:
            asked: observation, prompt and the sampling of collecting, by position.
            seed: the run's.
        """
        kinds = [(Decoding.GREEDY, 1), *([(Decoding.SAMPLED, self.samples)] if self.samples else [])]
        return [
            (position, kind, Request(prompt=prompt, observation=observation, sampling=self._sampling(kind, sampling),
                                     n=n, measures=True, seed=seed_for(seed, "evaluate", observation.id, kind)))
            for kind, n in kinds
            for position, (observation, prompt, sampling) in asked.items()
        ]  # fmt: skip

    def _sampling(self, kind: Decoding, collecting: Sampling) -> Sampling:
        max_tokens = self.max_tokens or collecting.max_tokens
        if kind == Decoding.SAMPLED:
            return replace(collecting, temperature=self.temperature, max_tokens=max_tokens)
        return Sampling(temperature=0.0, max_tokens=max_tokens, stop=collecting.stop, thinking=collecting.thinking)

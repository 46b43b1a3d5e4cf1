"""reasoning-gym (arXiv 2505.24760): a hundred kinds of questions, generated without end."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import Field, PrivateAttr

from star_loop.protocols import Verifier
from star_loop.records import Observation
from star_loop.seeding import seed_for
from star_loop.tasks.prompting import Prompted
from star_loop.tasks.splitting import Subset, by_question, without_leaks
from star_loop.verifiers.gym import Gym, dataset


class ReasoningGym(Prompted):
    """Questions of one procedural data set. Those that repeat a held-out one are left out."""

    verifier: Verifier = Gym()
    dataset: str = "chain_sum"
    """The library's name for it."""
    config: Mapping[str, Any] = {}
    """Its configuration: how hard the questions are."""
    level: str | None = None
    """The entry of a question's metadata that says how hard it is, a whole number: `num_terms` of `chain_sum`."""
    seed: int = Field(default=0, ge=0)
    """Of the questions."""
    train_size: int = Field(default=1000, ge=1)
    """Training observations."""
    validation_size: int = Field(default=100, ge=0)
    """Validation observations."""
    test_size: int = Field(default=200, ge=0)
    """Test observations."""
    instruction: str | None = "Think step by step. Write the final answer between <answer> and </answer>."
    """What follows each question."""

    _findings: Mapping[str, int] = PrivateAttr(default_factory=dict)

    def findings(self) -> Mapping[str, int]:
        """Count questions that repeat a held-out one."""
        _ = self._splits
        return self._findings

    def check(self) -> None:
        """The library must be there and know the data set."""
        super().check()
        _ = self._source

    @property
    def _origin(self) -> dict[str, Any]:
        return {
            "name": self.dataset,
            "size": self.train_size + self.validation_size + self.test_size,
            "seed": seed_for(self.seed, "reasoning_gym", self.dataset, bits=31),
            "config": json.dumps(dict(self.config), sort_keys=True),
        }

    @property
    def _source(self) -> Any:
        return dataset(**self._origin)

    @cached_property
    def _splits(self) -> Mapping[str, Subset]:
        everything = [self._observe(index) for index in range(self._origin["size"])]
        measured = self.validation_size + self.test_size
        parts = {
            "test": everything[: self.test_size],
            "validation": everything[self.test_size : measured],
            "train": everything[measured:],
        }
        clean, self._findings = without_leaks({split: Subset.of(part, by_question) for split, part in parts.items()})
        return clean

    def _observe(self, index: int) -> Observation:
        entry = self._source[index]
        if not str(entry["answer"] or "").strip():
            raise ValueError(
                f"reasoning-gym's {self.dataset} gives no answer to its question {index}: choose another one"
            )
        level = None if self.level is None else entry["metadata"].get(self.level)
        if self.level is not None and not isinstance(level, int):
            numbers = ", ".join(k for k, v in entry["metadata"].items() if isinstance(v, int)) or "none"
            raise ValueError(
                f"task.level={self.level}: not a whole number in {self.dataset}'s metadata; there is {numbers}"
            )
        return Observation(
            id=f"{self.dataset}/{index:06}",
            question=entry["question"],
            answer=str(entry["answer"]),
            skill=self.dataset,
            level=level,
            meta={"source": {**self._origin, "index": index}},
        )

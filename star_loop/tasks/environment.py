"""Environments of the package `verifiers` (Prime Intellect), as far as an episode is one prompt and one reply."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, model_validator

from star_loop.protocols import Verifier
from star_loop.records import TURN, Observation
from star_loop.tasks.prompting import Frame, Prompted
from star_loop.tasks.splitting import Subset, by_question, divide, without_leaks
from star_loop.verifiers.environment import EnvironmentReward, Origin, process_of


class Environment(Prompted):
    """The tasks of a taskset, judged by its own rewards. What takes several turns, tools or a container is refused.

    A system prompt stands before the first message, with an empty line between. Questions that repeat a held-out one
    are left out.
    """

    verifier: Verifier = EnvironmentReward()
    taskset: str | None = None
    """Its id: an installed package with a `Taskset`, such as `my-org/my-taskset`."""
    config: Mapping[str, Any] = {}
    """The keys of its configuration."""
    python: Path | None = None
    """The Python that has `verifiers` and the taskset installed; None: the one that runs."""
    answer: str | None = "answer"
    """The field of a task's data that holds the gold answer; None: there are none (`task.labels=majority`)."""
    skill: str | None = None
    """The field that says what kind of question it is; None: there is none."""
    level: str | None = None
    """The field that says how hard it is, a whole number; None: there is none."""
    seed: int = Field(default=0, ge=0)
    """Of the splits."""
    train_size: int = Field(default=1000, ge=1)
    """Training observations, at most."""
    validation_size: int = Field(default=100, ge=0)
    """Validation observations."""
    test_size: int = Field(default=200, ge=0)
    """Test observations."""
    before: Frame = ""
    """Stands before a question; a rationale ends where it begins again on a new line."""
    after: Frame = ""
    """Stands between a question and its rationale. `\\n` is a new line."""

    _findings: Mapping[str, int] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _with_python(cls, keys: Any) -> Any:
        verifier = keys.get("verifier", EnvironmentReward())
        python = keys.get("python")
        if not isinstance(verifier, EnvironmentReward) or not isinstance(python, str | Path):
            return keys
        return {**keys, "verifier": verifier.model_copy(update={"python": Path(python)})}

    def findings(self) -> Mapping[str, int]:
        """Count questions that repeat a held-out one."""
        _ = self._splits
        return self._findings

    def check(self) -> None:
        """The package must be there, load the taskset, and find each episode to be of one turn."""
        super().check()
        _ = self._tasks

    @property
    def _number(self) -> int:
        return self.train_size + self.validation_size + self.test_size

    @cached_property
    def _tasks(self) -> Subset:
        if self.taskset is None:
            raise ValueError("give task.taskset=<an installed package with a Taskset of verifiers>")
        origin = Origin(self.taskset, json.dumps(dict(self.config), sort_keys=True), self._number)
        rows = process_of(origin, self.python).tasks()
        observations = [self._observe(row, [*origin, index]) for index, row in enumerate(rows)]
        if len(observations) <= self.validation_size + self.test_size:
            raise ValueError(
                f"task.taskset={self.taskset} has {len(observations)} tasks, and {self.validation_size} + "
                f"{self.test_size} are for measuring: lower task.validation_size and task.test_size"
            )
        return Subset.of(observations, by_question)

    @cached_property
    def _splits(self) -> Mapping[str, Subset]:
        rest, test = divide(self._tasks, self.test_size, self.seed, "test")
        train, validation = divide(rest, self.validation_size, self.seed, "validation")
        clean, self._findings = without_leaks({"train": train, "validation": validation, "test": test})
        return clean

    def _observe(self, row: Mapping[str, Any], source: list[Any]) -> Observation:
        answer, level = self._field(row, self.answer, "answer"), self._field(row, self.level, "level")
        if level is not None and not isinstance(level, int):
            raise ValueError(f"task.level={self.level}: not a whole number in {self.taskset}, but {level!r}")
        system = [text for role, text in row["turns"] if role == "system"]
        turns = [text for role, text in row["turns"] if role != "system"]
        first = "\n\n".join([*system, *turns[:1]])
        skill = self._field(row, self.skill, "skill")
        return Observation(
            id=f"{self.taskset}/{source[-1]:06}",
            question=(TURN if self.turns else "\n\n").join([first, *turns[1:]]),
            answer="" if answer is None else str(answer),
            skill=None if skill is None else str(skill),
            level=level,
            meta={"source": source},
        )

    def _field(self, row: Mapping[str, Any], name: str | None, key: str) -> Any:
        if name is None:
            return None
        if row.get(name) is None:
            there = ", ".join(field for field, value in row.items() if value not in (None, [], {}) and field != "turns")
            raise ValueError(f"task.{key}={name}: a task of {self.taskset} has no such field, there is {there}")
        return row[name]

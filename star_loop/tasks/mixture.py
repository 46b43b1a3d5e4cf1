"""Several tasks in one run, each with its own prompts and its own verifier."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import numpy as np
from pydantic import Field, model_validator

from star_loop.protocols import Task, Verifier
from star_loop.records import How, Observation, Verdict
from star_loop.tasks.benchmark import SPLITS
from star_loop.tasks.members import Joined, key_below, keyed, name_of, own
from star_loop.tasks.splitting import SplitTask, Subset, by_question, divide, surveyed, without_leaks

Weight = Annotated[float, Field(gt=0)]
T = TypeVar("T")


class Mixture(SplitTask):
    """Any tasks, by name. An observation's skill is the name of its task, and its id begins with it.

    So every sampler of groups acts on tasks, and each split is measured by task. What would be learned in one task and
    measured in another is left out.
    """

    verifier: Verifier = Field(default_factory=lambda: ByTask())
    """Each task's own: `task.tasks.<name>.verifier`."""
    tasks: Mapping[Annotated[str, Field(pattern=r"^[\w.-]+$")], Task] = {}
    """`+task@task.tasks.gsm8k=gsm8k +task@task.tasks.svamp=svamp`; a task's keys are below `task.tasks.<name>`."""
    weights: Mapping[str, Weight] = {}
    """How many training questions each task has, relative to the others; one that is not named has 1. The largest
    seeded part of them that keeps these shares is learned from. {}: all there are."""
    seed: int = Field(0, ge=0)
    """Of what the weights leave out."""

    @model_validator(mode="before")
    @classmethod
    def _of_tasks(cls, keys: Any) -> Any:
        if "verifier" in keys:
            raise ValueError("each task has its own verifier: give task.tasks.<name>.verifier")
        tasks = keys.get("tasks", {})
        if not isinstance(tasks, Mapping) or not all(isinstance(task, Task) for task in tasks.values()):
            return keys
        labelled = {task.labels for task in tasks.values()}
        if "majority" in labelled and keys.get("labels", "gold" if len(labelled) > 1 else "majority") == "gold":
            raise ValueError(
                "all tasks of a mixture are labelled alike, and one has labels=majority: give task.labels to all"
            )
        return {
            "labels": "majority" if labelled == {"majority"} else "gold",
            **keys,
            "verifier": ByTask(tasks=tasks),
        }

    def in_turns(self, chat: bool) -> Self:
        """Return the mixture of the tasks as they are asked."""
        wanted = chat if self.turns is None else self.turns
        tasks = self._each(lambda task: task.in_turns(wanted) if isinstance(task, SplitTask) else task)
        turns = any(task.turns for task in tasks.values())
        return self.model_copy(update={"tasks": tasks, "turns": turns, "verifier": ByTask(tasks=tasks)})

    def worked_examples(self) -> str | None:
        """Join those of the tasks."""
        found = self._each(lambda task: task.worked_examples() if isinstance(task, SplitTask) else None)
        return " ".join(f"{name}:{each}" for name, each in found.items() if each is not None) or None

    def shown(self) -> Sequence[Observation]:
        """Return those of all tasks."""
        found = self._each(lambda task: task.shown() if isinstance(task, SplitTask) else ())
        return [example for examples in found.values() for example in examples]

    def check(self) -> None:
        """There must be tasks, and weights only of these.

        Raises:
            ValueError: there are none, or a weight is of another.
        """
        if not self.tasks:
            raise ValueError("a mixture needs tasks: add +task@task.tasks.gsm8k=gsm8k +task@task.tasks.svamp=svamp")
        if unknown := sorted(set(self.weights) - set(self.tasks)):
            raise ValueError(f"task.weights.{unknown[0]}: no such task, there is {', '.join(self.tasks)}")

    def prompt(self, observation: Observation, *, hint: bool = False) -> str:
        """Its task's prompt."""
        return self._of(observation).prompt(own(observation), hint=hint)

    def bare_prompt(self, observation: Observation, *, hint: bool = False) -> str:
        """Its task's bare prompt."""
        return self._of(observation).bare_prompt(own(observation), hint=hint)

    def gold_text(self, observation: Observation) -> str:
        """Its task's."""
        return self._of(observation).gold_text(own(observation))

    @property
    def hint_marker(self) -> str | None:
        """Return what the tasks share; where they differ, each verdict heeds its own."""
        markers = {task.hint_marker for task in self.tasks.values()}
        return markers.pop() if len(markers) == 1 else None

    @property
    def stop(self) -> tuple[str, ...]:
        """Return the stop strings of all tasks."""
        return tuple(dict.fromkeys(text for task in self.tasks.values() for text in task.stop))

    def stop_of(self, observation: Observation) -> tuple[str, ...]:
        """Return those of its task."""
        return self._of(observation).stop_of(own(observation))

    def first(self, n: int, observations: Sequence[Observation]) -> Sequence[int]:
        """Return the places of the first `n` of each task, and where one is a mixture itself, of each of its own."""
        seen, places = Counter[str](), []
        for place, id in enumerate(id for rows in surveyed(observations).rows() for id in rows["id"].to_pylist()):
            name = self.path(id)
            seen[name] += 1
            if seen[name] <= n:
                places.append(place)
        return places

    def path(self, id: str) -> str:
        """Return the names of the tasks that an observation belongs to, the outermost first: `words/gsm8k`."""
        name, _, rest = id.partition("/")
        task = self.tasks[name]
        return f"{name}/{task.path(rest)}" if isinstance(task, Mixture) else name

    def own(self, observation: Observation) -> Observation:
        """Return it as its task has it, without the task's name."""
        return self._of(observation).own(own(observation))

    def with_rows(self) -> Self:
        """Return the mixture of the tasks with their rows."""
        tasks = self._each(lambda task: task.with_rows())
        return self.model_copy(update={"tasks": tasks, "verifier": ByTask(tasks=tasks)})

    def findings(self) -> Mapping[str, int]:
        """Say what the tasks say, by name, what leaked from one into another, and what the weights left out."""
        _ = self._splits
        return self._found[1]

    def _each(self, ask: Callable[[Task], T]) -> dict[str, T]:
        """Return what each task says, whose keys are named as they are typed where it refuses."""
        found = {}
        for name, task in self.tasks.items():
            with keyed(key_below(name), task):
                found[name] = ask(task)
        return found

    def _of(self, observation: Observation) -> Task:
        return self.tasks[name_of(observation)]

    @property
    def _splits(self) -> Mapping[str, Subset]:
        return self._found[0]

    @cached_property
    def _found(self) -> tuple[Mapping[str, Subset], Mapping[str, int]]:
        self.check()
        parts = self._each(lambda t: {"train": t.train(), "validation": t.validation(), "test": t.test()})
        joined = {split: Joined(self.tasks, {name: part[split] for name, part in parts.items()}) for split in SPLITS}
        clean, leaks = without_leaks({split: Subset.of(all_, by_question) for split, all_ in joined.items()})
        findings = Counter(leaks)
        for name, found in self._each(lambda task: task.findings()).items():
            for finding, count in found.items():
                split, _, what = finding.partition(": ")
                findings[f"{split}: {name}, {what}"] += count
        if self.weights:
            before = len(clean["train"])
            clean["train"] = self._weighted(clean["train"])
            findings["train: left out by weight"] = before - len(clean["train"])
        return clean, dict(findings)

    def _weighted(self, train: Subset) -> Subset:
        task_of = np.array([name for rows in train.rows() for name in rows["skill"].to_pylist()], np.str_)
        sizes = {name: int((task_of == name).sum()) for name in self.tasks}
        each = min(size / self.weights.get(name, 1.0) for name, size in sizes.items())
        chosen = np.zeros(len(train), bool)
        for name, size in sizes.items():
            wanted, own = round(each * self.weights.get(name, 1.0)), train.where(task_of == name)
            part = own if wanted >= size else divide(own, wanted, self.seed, f"weight of {name}")[1]
            chosen |= np.isin(train.indices, part.indices)
        return train.where(chosen)


class ByTask(Verifier):
    """Judges each observation as its own task does; a text that quotes its task's hint is wrong."""

    tasks: Mapping[str, Task] = {}
    """Those of the mixture."""

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Judge as the task's verifier does."""
        return self.judge_all([(observation, text)])[0]

    def judge_all(self, asked: Sequence[tuple[Observation, str]]) -> list[Verdict]:
        """Give each verifier its own texts at once."""
        verdicts: dict[int, Verdict] = {}
        for name, task in self.tasks.items():
            places = [k for k, (observation, _) in enumerate(asked) if name_of(observation) == name]
            theirs = [(own(asked[k][0]), asked[k][1]) for k in places]
            with keyed(key_below(name), task):
                found = task.verifier.judge_all(theirs) if theirs else []
            verdicts |= {k: _vetoed(task, asked[k][1], verdict) for k, verdict in zip(places, found, strict=True)}
        return [verdicts[k] for k in range(len(asked))]

    def choose(self, observation: Observation) -> Verifier:
        """Return the one that its task's verifier chooses."""
        return self.tasks[name_of(observation)].verifier.choose(own(observation))

    def keep(self, folder: Path) -> None:
        """Have each task's verifier keep it in a folder of its own."""
        for name, task in self.tasks.items():
            task.verifier.keep(folder / name)

    def paid(self, folder: Path) -> Mapping[str, float]:
        """Add up what the tasks' verifiers have cost."""
        total = Counter[str]()
        for name, task in self.tasks.items():
            total.update(dict(task.verifier.paid(folder / name)))
        return total

    def by_gold(self, observation: Observation, text: str) -> bool | None:
        """Compare as its task's verifier does."""
        return self.tasks[name_of(observation)].verifier.by_gold(own(observation), text)

    def probe(self, observation: Observation, text: str) -> Verdict:
        """Probe its task's verifier."""
        name = name_of(observation)
        with keyed(key_below(name), self.tasks[name]):
            verdict = self.tasks[name].verifier.probe(own(observation), text)
        return _vetoed(self.tasks[name], text, verdict)

    def fingerprint(self) -> str | None:
        """Join those of the tasks' verifiers."""
        found = {name: task.verifier.fingerprint() for name, task in self.tasks.items()}
        return " ".join(f"{name}:{each}" for name, each in found.items() if each is not None) or None

    def statement(self, observation: Observation) -> str:
        """Return the statement that its task's verifier wants."""
        return self.tasks[name_of(observation)].verifier.statement(own(observation))

    def instruction(self, observation: Observation) -> str:
        """Return the instruction of its task's verifier."""
        return self.tasks[name_of(observation)].verifier.instruction(own(observation))


def key_of(task: Task, observation: Observation) -> str:
    """Return the key below which the task stands that an observation belongs to: in a mixture `task.tasks.<name>`."""
    return key_below(task.path(observation.id)) if isinstance(task, Mixture) else "task"


def _vetoed(task: Task, text: str, verdict: Verdict) -> Verdict:
    quoted = task.hint_marker is not None and task.hint_marker in text
    return replace(verdict, correct=False, how=How.HINT_LEAK) if quoted else verdict

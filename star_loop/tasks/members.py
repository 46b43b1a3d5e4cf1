"""The tasks of a mixture by their names: their observations in one sequence, their keys, and what they refuse."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from star_loop.protocols import Task
from star_loop.records import Observation


class Joined(Sequence[Observation]):
    """The observations of several tasks, one task after another, each made when it is asked for."""

    def __init__(self, tasks: Mapping[str, Task], parts: Mapping[str, Sequence[Observation]]) -> None:
        self.tasks, self.names, self.parts = tasks, list(parts), list(parts.values())
        self.ends = np.cumsum([len(part) for part in self.parts])

    def __len__(self) -> int:
        """Number of observations."""
        return int(self.ends[-1])

    def __getitem__(self, index: Any) -> Any:
        """Return one observation, under the name of its task."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        k = int(np.searchsorted(self.ends, index, side="right"))
        part, name = self.parts[k], self.names[k]
        with keyed(key_below(name), self.tasks[name]):
            each: Observation = part[index - int(self.ends[k]) + len(part)]
        kept = {"skill": each.skill, "meta": each.meta}
        return replace(each, id=f"{name}/{each.id}", skill=name, meta=kept)

    def __iter__(self) -> Iterator[Observation]:
        """Yield them in order."""
        return (self[index] for index in range(len(self)))


@contextmanager
def keyed(key: str, task: Task) -> Iterator[None]:
    """Have what a task of a mixture raises name its keys as they are typed: `task.tasks.<name>.path`, not `task.path`.

    Args:
        key: below which the task stands.
        task: whose keys are meant; what else looks like one, such as a file `task.tsv`, stays.
    """
    try:
        yield
    except Exception as error:
        if error.args and isinstance(error.args[0], str):
            keys = "|".join(type(task).model_fields)
            told = re.sub(rf"(?<![\w./'\"])task\.(?=(?:{keys})\b)", lambda _: f"{key}.", error.args[0])
            error.args = (told, *error.args[1:])
        raise


def key_below(path: str) -> str:
    """Return the key of a task by its name, or by the names of mixtures in mixtures: `words/gsm8k`."""
    return f"task.tasks.{path.replace('/', '.tasks.')}"


def name_of(observation: Observation) -> str:
    """Return the name of the task that an observation belongs to."""
    return observation.id.partition("/")[0]


def own(observation: Observation) -> Observation:
    """Return the observation as its task has made it."""
    id, kept = observation.id.partition("/")[2], observation.meta
    return replace(observation, id=id, skill=kept["skill"], meta=kept["meta"])

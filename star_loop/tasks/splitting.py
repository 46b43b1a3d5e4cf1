"""Who is learned from, who is measured: seeded splits, and the guard against leaks between them."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from star_loop.protocols import Task
from star_loop.records import Observation
from star_loop.seeding import seed_for
from star_loop.tasks.survey import Digests, Group, Indices, Survey, survey
from star_loop.verifiers.guess import named

MOST_DRAWN = 10_000
"""Questions of a level that a generated task draws: more of them would take minutes."""


class SplitTask(Task):
    """A task that makes its three splits at once, when the first of them is needed."""

    @field_validator("verifier", mode="before", check_fields=False)
    @classmethod
    def _named(cls, verifier: Any) -> Any:
        return named(verifier)

    def in_turns(self, chat: bool) -> Self:
        """Return the task as a model with a chat template, or one without, is asked, where nothing else is said."""
        return self.model_copy(update={"turns": chat}) if self.turns is None else self

    def worked_examples(self) -> str | None:
        """Return what changes with worked examples of the user's own; None: there are none.

        Raises:
            ValueError: they cannot be read.
        """
        return None

    def shown(self) -> Sequence[Observation]:
        """Return the worked examples of the user's own, whose answers prompts show."""
        return ()

    @property
    @abstractmethod
    def _splits(self) -> Mapping[str, Sequence[Observation]]:
        """`train`, `validation` and `test`; a subclass keeps them (`cached_property`)."""

    def train(self) -> Sequence[Observation]:
        """Return the questions to learn from."""
        return self._splits["train"]

    def validation(self) -> Sequence[Observation]:
        """Held-out questions for decisions."""
        return self._splits["validation"]

    def test(self) -> Sequence[Observation]:
        """Held-out questions for the record."""
        return self._splits["test"]


class Source(Sequence[Observation]):
    """Observations, and what one pass over them finds when it is first needed."""

    def __init__(self, observations: Sequence[Observation], group: Group) -> None:
        self.observations, self.group = observations, group

    def __len__(self) -> int:
        """Number of observations."""
        return len(self.observations)

    def __getitem__(self, index: Any) -> Any:
        """Return one observation."""
        return self.observations[index]

    @cached_property
    def survey(self) -> Survey:
        """Return what the pass found."""
        return survey(self.observations, self.group)


class Subset(Sequence[Observation]):
    """Some of a source's observations in its order, without holding them."""

    def __init__(self, source: Source, indices: Indices) -> None:
        self.source, self.indices = source, indices

    @classmethod
    def of(cls, observations: Sequence[Observation], group: Group) -> "Subset":
        """Return all of them."""
        return cls(Source(observations, group), np.arange(len(observations), dtype=np.int64))

    def __len__(self) -> int:
        """Number of chosen observations."""
        return len(self.indices)

    @overload
    def __getitem__(self, index: int) -> Observation: ...
    @overload
    def __getitem__(self, index: slice) -> "Subset": ...
    def __getitem__(self, index: int | slice) -> "Observation | Subset":
        """Return one observation, or a smaller subset."""
        if isinstance(index, slice):
            return Subset(self.source, self.indices[index])
        found: Observation = self.source[int(self.indices[index])]
        return found

    def __iter__(self) -> Iterator[Observation]:
        """Yield them in order."""
        return (self.source[int(index)] for index in self.indices)

    def where(self, chosen: NDArray[np.bool_]) -> "Subset":
        """Return those of them that are chosen."""
        return Subset(self.source, self.indices[chosen])

    @property
    def digests(self) -> Digests:
        """Return uint64 [n, 2]: of the id, of the group."""
        return self.source.survey.digests[self.indices]

    @property
    def hashes(self) -> NDArray[np.int64]:
        """Return int64 [n, 4]: see `Survey`; of this process."""
        return self.source.survey.hashes[self.indices]

    @property
    def besides(self) -> NDArray[np.uint64]:
        """Return uint64 [n]: of the options and of what else answers are judged by; 0: there is neither."""
        return self.source.survey.besides[self.indices]

    def rows(self) -> Iterator[Any]:
        """`pyarrow.RecordBatch`es of `star_loop.tasks.survey.FIELDS`, in order."""
        return self.source.survey.rows(self.indices)


def surveyed(observations: Sequence[Observation]) -> Subset:
    """Return the observations with what a pass over them finds; what a task has surveyed is not surveyed again."""
    return observations if isinstance(observations, Subset) else Subset.of(observations, by_question)


def by_question(observation: Observation) -> str:
    """Return the question without its options."""
    return observation.question


def divide(observations: Subset, size: float, seed: int, purpose: str) -> tuple[Subset, Subset]:
    """Return (the rest, about `size` held-out ones): an integer is a number of observations, a fraction a share.

    Whole groups go to one side. Membership depends on the ids and the seed; only which row names a group depends on the
    order of the rows.
    """
    wanted = size if isinstance(size, int) else round(size * len(observations))
    ids, groups = observations.digests.T
    _, first, members, counts = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(_shuffled(ids[first], seed_for(seed, "split", purpose)), kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    held = np.zeros(len(first), bool)
    held[order[before < wanted]] = True
    return observations.where(~held[members]), observations.where(held[members])


def _shuffled(values: Digests, seed: int) -> Digests:
    """Mix each value with the seed (the finaliser of SplitMix64), so that sorting by it is a seeded order."""
    mixed = values ^ np.uint64(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def without_leaks(splits: Mapping[str, Subset]) -> tuple[dict[str, Subset], dict[str, int]]:
    """The splits without what they share, by id or by group, with a split that is measured; and how many that were.

    `test` loses nothing, `validation` what it shares with test, `train` what it shares with either.
    """
    clean: dict[str, Subset] = {}
    counts: dict[str, int] = {}
    measured = np.zeros((0, 2), np.uint64)
    for split in ("test", "validation", "train"):
        observations = splits[split]
        digests = observations.digests
        same_id = np.isin(digests[:, 0], measured[:, 0])
        same_text = np.isin(digests[:, 1], measured[:, 1]) & ~same_id
        clean[split] = observations.where(~(same_id | same_text))
        counts[f"{split}: left out, same id as a held-out one"] = int(same_id.sum())
        counts[f"{split}: left out, same text as a held-out one"] = int(same_text.sum())
        measured = np.concatenate([measured, digests])
    return clean, {name: count for name, count in counts.items() if count}


def contradictions(observations: Subset) -> list[tuple[int, int]]:
    """Find pairs of places whose questions, options included, are the same and whose gold answers are not."""
    asked, golds = observations.hashes[:, 2:].T
    order = np.lexsort((np.arange(len(asked)), golds, asked))
    differ = (asked[order][1:] == asked[order][:-1]) & (golds[order][1:] != golds[order][:-1])
    return sorted(zip(order[:-1][differ].tolist(), order[1:][differ].tolist(), strict=True))

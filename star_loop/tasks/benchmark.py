"""What the six benchmarks share: where their rows come from, how they are split, and what was found in them."""

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr

from star_loop.records import Observation
from star_loop.tasks.cells import Row, RowError
from star_loop.tasks.prompting import EXEMPLARS, Prompted
from star_loop.tasks.splitting import Subset, by_question, divide, without_leaks
from star_loop.tasks.table import Table, hub, read
from star_loop.verifiers.multiple_choice import LETTERS

logger = logging.getLogger(__name__)

Size = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)]
"""A number of observations, or a share of them."""
SPLITS = ("train", "validation", "test")


class Benchmark(Prompted):
    """A published data set, from the Hub or from local files.

    A split that the source lacks is cut from the training rows by id and seed. Rows for learning that share an id or a
    text with a held-out row are left out; what is left out or rewritten is counted and logged.
    """

    path: Path | None = None
    """A folder with the files as published, or one file to be split; None: from the Hugging Face Hub."""
    seed: int = Field(default=0, ge=0)
    """Of the splits that are cut here."""
    train_size: Size | None = None
    """Seeded subset of the training rows; None: all."""
    validation_size: Size | None = None
    """Cut from the training rows, where the source has no validation split; None: 200, at most a fifth of them."""
    test_size: Size | None = None
    """Seeded subset of the test split, None: all of it. Without a test split: cut from the rows, None: a fifth."""
    name: ClassVar[str]
    repository: ClassVar[str]
    """On the Hub."""
    configuration: ClassVar[str | None] = None
    hub_splits: ClassVar[Mapping[str, str]] = {"train": "train", "test": "test"}
    files: ClassVar[Mapping[str, tuple[str, ...]]] = {"train": ("train.jsonl",), "test": ("test.jsonl",)}
    """Names that a split's file may have; the first one that exists and is not taken."""
    examples: ClassVar[str]
    """The worked examples of this project's own writing."""
    _findings: Counter[str] = PrivateAttr(default_factory=Counter)

    @abstractmethod
    def observe(self, row: Row, place: str, id: str) -> Iterator[Observation | str]:
        """Return the observation of a row, and what is worth counting about it. `id` is for rows that have none.

        Raises:
            RowError: the row is not as published.
        """

    def group(self, observation: Observation) -> str:
        """Return the text that must not be both learned from and measured with."""
        return by_question(observation)

    def findings(self) -> Mapping[str, int]:
        """Say what was rewritten or left out, and how often."""
        _ = self._splits
        return dict(self._findings)

    def check(self) -> None:
        """The files, or the Hub, must be there, and the worked examples in order."""
        super().check()
        _ = self._tables

    def exemplars_path(self) -> Path | None:
        """Return the user's file, or the project's own."""
        return self.exemplars or EXEMPLARS / f"{self.examples}.jsonl"

    @cached_property
    def _splits(self) -> Mapping[str, Subset]:
        self._findings.clear()
        found = {split: Subset.of(self._observe(split, table), self.group) for split, table in self._tables.items()}
        train = found["train"]
        if "test" not in found:
            train, found["test"] = cut(train, self.test_size or 0.2, self.seed, "test", self._findings)
        elif self.test_size:
            found["test"] = divide(found["test"], self.test_size, self.seed, "test")[1]
        nobody = train[:0]
        found = {"validation": nobody} | found | {"train": train}
        clean, left_out = without_leaks(found)
        self._findings.update(left_out)
        if not clean["validation"]:
            size = self.validation_size or min(200, max(1, len(clean["train"]) // 5))
            clean["train"], clean["validation"] = cut(clean["train"], size, self.seed, "validation", self._findings)
        if self.train_size:
            clean["train"] = divide(clean["train"], self.train_size, self.seed, "train")[1]
        sizes = ", ".join(f"{len(clean[split]):,} {split}" for split in SPLITS)
        notes = "".join(f"; {count:,} {finding}" for finding, count in self._findings.items())
        logger.info("%s: %s%s", self.name, sizes, notes)
        return clean

    def _observe(self, split: str, table: Table) -> list[Observation]:
        observations = []
        for index in range(len(table)):
            for found in self.observe(table[index], table.place(index), f"{split}/{index:05}"):
                if isinstance(found, str):
                    self._findings[f"{split}: {found}"] += 1
                else:
                    observations.append(found)
        return observations

    @cached_property
    def _tables(self) -> dict[str, Table]:
        if self.path is None:
            return {split: hub(self.repository, self.configuration, name) for split, name in self.hub_splits.items()}
        if self.path.is_file():
            return {"train": read(self.path)}
        taken: dict[str, Path] = {}
        for split, names in self.files.items():
            there = [self.path / name for name in names if (self.path / name).is_file()]
            if free := [path for path in there if path not in taken.values()]:
                taken[split] = free[0]
        if "train" not in taken:
            there_is = ", ".join(sorted(path.name for path in self.path.glob("*"))) or "nothing"
            wanted = " or ".join(self.files["train"])
            raise ValueError(f"task.path={self.path}: expected a file, or a folder with {wanted}; found {there_is}")
        return {split: read(path) for split, path in taken.items()}


def cut(rows: Subset, size: float, seed: int, purpose: str, found: Counter[str]) -> tuple[Subset, Subset]:
    """Return (what is left to learn from, a held-out split), see `divide`; what took all of them is in `found`."""
    left, held = divide(rows, size, seed, purpose)
    if len(held) and not len(left):
        found[f"train: cut off by task.{purpose}_size={size}, equal questions together"] += len(held)
    return left, held


def options(choices: Any, key: str, place: str) -> tuple[tuple[str, ...], str, bool]:
    """Return (options' words, gold letter, whether key or letters had to be rewritten) of ARC's and CQA's two schemas.

    Raises:
        RowError: no options, or the key is none of their labels.
    """
    pairs = choices if isinstance(choices, list) else [
        {"label": label, "text": text} for label, text in zip(choices["label"], choices["text"], strict=True)
    ]  # fmt: skip
    labels = [str(pair["label"]) for pair in pairs]
    if key not in labels:
        raise RowError(f"{place}, column 'answerKey': {key!r} is none of the labels {labels}")
    letters = list(LETTERS[: len(labels)])
    return tuple(str(pair["text"]) for pair in pairs), letters[labels.index(key)], labels != letters

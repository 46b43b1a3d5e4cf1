"""Your own questions: a file, or a data set on the Hub, and the names of its columns."""

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from pydantic import Field, PrivateAttr

from star_loop.records import Observation
from star_loop.tasks.benchmark import SPLITS, Size, cut
from star_loop.tasks.golds import Counted, how_counted
from star_loop.tasks.rows import Columned, Rows
from star_loop.tasks.splitting import Subset, by_question, contradictions, without_leaks
from star_loop.tasks.table import Table, hub, read
from star_loop.verifiers.guess import Guess

logger = logging.getLogger(__name__)
_GUESSED = 1000
"""Golds that a guessed verifier is reported for."""
_CUT = 1000
"""Observations of a split that is cut where nobody says how many."""
_SHOWN = 20
"""Golds that the log shows as they were read."""
_FEW = 100
"""Questions of a held-out split below which the log says how little it can tell."""


class File(Columned):
    """Rows of JSON Lines, JSON, CSV, Parquet or a Hub data set, read when they are needed and not held.

    Column names reach into nested values by dots (`question.stem`). Splits without a file of their own are cut from the
    rows by id and seed, whole groups of equal questions together; rows that leak into a held-out split are left out.
    Without worked examples the question is preceded by how to state the answer.

    A gold answer that is a whole solution with `#### 72` or `\\boxed{72}` serves as rationale too; of a list of one it
    is the element. Where there are options, a number is an option's words or its place, as the rows prove it.
    """

    path: Path | None = None
    """The training questions: JSON Lines, JSON, CSV or Parquet."""
    validation_path: Path | None = None
    """The same for validation; None: split off."""
    test_path: Path | None = None
    """The same for the test; None: split off."""
    repository: str | None = None
    """On the Hugging Face Hub; read where `path` is not given."""
    configuration: str | None = None
    """The Hub data set's configuration, where it has several."""
    split: str = "train"
    """Of the Hub data set, to learn from."""
    validation_split: str | None = None
    """The Hub data set's split for validation; None: split off."""
    test_split: str | None = None
    """The Hub data set's split for the test; None: split off."""
    seed: int = Field(default=0, ge=0)
    """Of what is split off."""
    validation_size: Size | None = None
    """Cut from the rows for learning, where there is no validation split. None: a tenth of them, at most 1,000."""
    test_size: Size | None = None
    """Cut from the rows for learning, where there is no test split. None: a tenth of them, at most 1,000."""

    _findings: Counter[str] = PrivateAttr(default_factory=Counter)

    def findings(self) -> Mapping[str, int]:
        """Say what leaked into a held-out split, has no level, or contradicts another row, and how often."""
        _ = self._splits
        return dict(self._findings)

    def check(self) -> None:
        """The files must be there; one row tells whether the columns are."""
        super().check()
        for split, table in self._tables.items():
            _ = Rows(self, split, table)[0]

    @cached_property
    def _tables(self) -> Mapping[str, Table]:
        if self.path is not None:
            keys = {"train": "path", "validation": "validation_path", "test": "test_path"}
            paths = {split: (getattr(self, key), f"task.{key}") for split, key in keys.items()}
            return {split: read(path, key) for split, (path, key) in paths.items() if path is not None}
        if self.repository is None:
            raise ValueError(
                "give task.path=<file>, or task.repository=<owner/name> of a data set on the Hugging Face Hub"
            )
        splits = {"train": self.split, "validation": self.validation_split, "test": self.test_split}
        return {ours: hub(self.repository, self.configuration, name) for ours, name in splits.items() if name}

    @cached_property
    def _splits(self) -> Mapping[str, Subset]:
        found = {split: Subset.of(Rows(self, split, table), by_question) for split, table in self._tables.items()}
        left_out: Counter[str] = Counter()
        if "test" not in found:
            found["train"], found["test"] = _cut(found["train"], self.test_size, self.seed, "test", left_out)
        if "validation" not in found:
            clean, counts = without_leaks({"validation": found["train"][:0], **found})
            left_out.update(counts)
            found["train"], found["validation"] = _cut(
                clean["train"], self.validation_size, self.seed, "validation", left_out
            )
        clean, counts = without_leaks(found)
        left_out.update(counts)
        for split in SPLITS:
            left_out.update({f"{split}: {what}": n for what, n in self._oddities(clean[split]).items() if n})
        self._findings.clear()
        self._findings.update(left_out)
        self._log(clean)
        return clean

    def _oddities(self, split: Subset) -> Mapping[str, int]:
        found = contradictions(split)
        if found:
            one, other = (split[place] for place in found[0])
            logger.warning(
                "%s: the same question has two gold answers, in %s and %s: %r and %r (%d such pairs)",
                self.path or self.repository, one.id, other.id, one.answer, other.answer, len(found),
            )  # fmt: skip
        bare = 0 if self.level is None else sum(rows["level"].null_count for rows in split.rows())
        return {"equal questions with different golds": len(found), "without a level": bare}

    def _log(self, splits: Mapping[str, Subset]) -> None:
        source, train = self.path or self.repository, splits["train"]
        notes = [f"{len(splits[split]):,} {split}" for split in SPLITS]
        notes += [f"{count:,} {finding}" for finding, count in self._findings.items()]
        if isinstance(self.verifier, Guess):
            guessed = Counter(type(self.verifier.choose(o)).__name__ for o in train[:_GUESSED])
            notes += [f"verifier guessed from the golds: {name} for {count:,}" for name, count in guessed.most_common()]
        logger.info("%s: %s", source, "; ".join(notes))
        if self.answer is not None:
            logger.info("%s: the first golds as they were read: %s", source, "; ".join(self._golds()))
        for split in ("validation", "test"):
            n, cut = len(splits[split]), split not in self._tables
            if cut and not n:
                logger.warning(
                    "%s: too few rows to cut a %s split from, so no accuracy on it is measured: give task.%s_path",
                    source, split, split,
                )  # fmt: skip
            elif 0 < n < _FEW:
                logger.warning(
                    "%s: the %s split has %d question%s, so an accuracy on it is known to ±%.0f points at best: give "
                    "task.%s_path, or task.%s_size", source, split, n, "s" * (n > 1), 98 / math.sqrt(n), split, split,
                )  # fmt: skip

    def _golds(self) -> Iterator[str]:
        """Yield a few golds of the training file, and what was made of them."""
        rows = Rows(self, "train", self._tables["train"])
        for index in range(min(_SHOWN, len(rows))):
            written, gold = str(rows.written_gold(index)).strip(), rows[index].answer
            short = written if len(written) <= 40 else f"…{written[-40:]}"
            yield repr(gold) if written == gold else f"{short!r} → {gold!r}"

    @cached_property
    def counted(self) -> Counted:
        """Tell what numbers among the golds mean, where there are options.

        Raises:
            RowError: nothing proves it.
        """
        if self.first_choice is not None:
            return "from 1" if self.first_choice else "from 0"
        tables = self._tables.items()
        numbered = (row for split, table in tables for row in Rows(self, split, table).numbered())
        return how_counted(numbered, self.answer or "", str(self.path or self.repository))

    def _opening(self, observation: Observation) -> str:
        said = self.instruction
        if said is None and not self._exemplars:
            said = self.verifier.instruction(observation)
        return f"{said}\n\n" if said else ""


def _cut(rows: Subset, size: float | None, seed: int, purpose: str, found: Counter[str]) -> tuple[Subset, Subset]:
    return cut(rows, min(_CUT, round(len(rows) / 10)) if size is None else size, seed, purpose, found)

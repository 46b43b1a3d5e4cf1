"""ANLI, round 1 (arXiv 1910.14599): does a premise entail or contradict a hypothesis written to mislead?"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from star_loop.protocols import Verifier
from star_loop.records import Observation
from star_loop.tasks.benchmark import Benchmark
from star_loop.tasks.cells import Row, RowError, text
from star_loop.verifiers.label import Label

LABELS = {"entailment": ("0", "e"), "neutral": ("1", "n"), "contradiction": ("2", "c")}
ASKED = "Is the hypothesis an entailment, neutral or a contradiction?"
_BY_SPELLING = {spelling: label for label, others in LABELS.items() for spelling in (label, *others)}


class AnliR1(Benchmark):
    """16,946 training pairs, 1,000 for development and 1,000 for the test; no premise is on both sides.

    Where there is no training file, the development pairs whose premise the test lacks are what is learned from.
    AdaSTaR learns from 10,000 (`train_size=10000`) and answers with 0, 1 and 2, which are understood here too.
    """

    verifier: Verifier = Label(labels=LABELS)
    name: ClassVar[str] = "anli_r1"
    repository: ClassVar[str] = "facebook/anli"
    hub_splits: ClassVar[Mapping[str, str]] = {"train": "train_r1", "validation": "dev_r1", "test": "test_r1"}
    files: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "train": ("train_r1.jsonl", "train.jsonl", "dev_r1.jsonl", "dev.jsonl"),
        "validation": ("dev_r1.jsonl", "dev.jsonl"),
        "test": ("test_r1.jsonl", "test.jsonl"),
    }
    examples: ClassVar[str] = "anli"

    def observe(self, row: Row, place: str, id: str) -> Iterator[Observation | str]:
        """`uid`, `premise` (`context` in the release), `hypothesis`, `label` (number, letter or word), `reason`."""
        column = "premise" if "premise" in row else "context"
        premise, hypothesis = text(row.get(column), column, place), text(row.get("hypothesis"), "hypothesis", place)
        label = text(row.get("label"), "label", place).casefold()
        if label not in _BY_SPELLING:
            raise RowError(f"{place}, column 'label': expected one of {', '.join(_BY_SPELLING)}, found {label!r}")
        if isinstance(row["label"], str):
            yield "labels that are strings"
        gold, reason = _BY_SPELLING[label], str(row.get("reason") or "").strip()
        yield Observation(
            id=str(row.get("uid", id)),
            question=f"{premise}\nHypothesis: {hypothesis}\n{ASKED}",
            answer=gold,
            rationale=f"{reason}\nThe answer is {gold}." if reason else None,
            meta={"premise": premise},
        )

    def group(self, observation: Observation) -> str:
        """Return the premise."""
        return str(observation.meta["premise"])

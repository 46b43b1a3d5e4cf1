"""CLadder 1.5 (arXiv 2312.04350): yes/no questions of causal inference in small worlds described in words."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from star_loop.protocols import Verifier
from star_loop.records import Observation
from star_loop.tasks.benchmark import Benchmark
from star_loop.tasks.cells import Row, RowError, text
from star_loop.verifiers.label import YesNo


class Cladder(Benchmark):
    """`skill` is the type of query, `level` the rung of the ladder of causation (1 … 3)."""

    verifier: Verifier = YesNo()
    name: ClassVar[str] = "cladder"
    repository: ClassVar[str] = "causalNLP/cladder"
    hub_splits: ClassVar[Mapping[str, str]] = {"train": "full_v1.5_default"}
    files: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "train": ("train.jsonl", "pool.jsonl"),
        "test": ("test.jsonl", "eval500.jsonl"),
    }
    examples: ClassVar[str] = "cladder"

    def observe(self, row: Row, place: str, id: str) -> Iterator[Observation | str]:
        """`question` and `answer` (on the Hub `prompt` and `label`), `reasoning`, `query_type`, `rung`."""
        question, answer = ("prompt", "label") if "prompt" in row else ("question", "answer")
        gold = text(row.get(answer), answer, place).casefold()
        if gold not in ("yes", "no"):
            raise RowError(f"{place}, column {answer!r}: expected yes or no, found {gold!r}")
        reasoning = str(row.get("reasoning") or "nan").strip()
        if missing := set(reasoning.casefold().split()) <= {"nan"}:
            yield "rows without reasoning"
        yield Observation(
            id=str(row.get("id", id)),
            question=text(row.get(question), question, place),
            answer=gold,
            rationale=None if missing else f"{reasoning}\nThe answer is {gold}.",
            skill=row.get("query_type"),
            level=None if row.get("rung") is None else int(row["rung"]),
        )

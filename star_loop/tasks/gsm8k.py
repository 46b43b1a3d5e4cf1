"""GSM8K (arXiv 2110.14168): grade-school word problems; answers behind `####`."""

from collections.abc import Iterator
from typing import ClassVar

from star_loop.protocols import Verifier
from star_loop.records import Observation
from star_loop.tasks.benchmark import Benchmark
from star_loop.tasks.cells import Row, RowError, text
from star_loop.verifiers.exact import Exact, normalise


class Gsm8k(Benchmark):
    """7,473 training and 1,319 test problems. The gold rationale keeps its `<<48/2=24>>` annotations."""

    verifier: Verifier = Exact(units=True)
    name: ClassVar[str] = "gsm8k"
    repository: ClassVar[str] = "openai/gsm8k"
    configuration: ClassVar[str | None] = "main"
    examples: ClassVar[str] = "word_problems"

    def observe(self, row: Row, place: str, id: str) -> Iterator[Observation | str]:
        """`question`, and `answer`: the rationale with its `#### 72`."""
        rationale = text(row.get("answer"), "answer", place)
        _, marker, gold = rationale.rpartition("####")
        if not marker:
            raise RowError(f"{place}, column 'answer': there is no '####' in {rationale[-40:]!r}")
        if "," in gold:
            yield "answers with thousands separators"
        yield Observation(
            id=id, question=text(row.get("question"), "question", place), answer=normalise(gold), rationale=rationale
        )

"""SVAMP (arXiv 2103.07191): short word problems, varied so that shallow cues mislead."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from star_loop.protocols import Verifier
from star_loop.records import Observation
from star_loop.tasks.benchmark import Benchmark
from star_loop.tasks.cells import Row, text
from star_loop.verifiers.exact import Exact, normalise


class Svamp(Benchmark):
    """1,000 problems; the question is body and question together. `skill` is the operation.

    Reads the release's `SVAMP.json`, which has no split, and files split beforehand.
    """

    verifier: Verifier = Exact(units=True)
    name: ClassVar[str] = "svamp"
    repository: ClassVar[str] = "ChilleD/SVAMP"
    files: ClassVar[Mapping[str, tuple[str, ...]]] = {"train": ("train.jsonl", "SVAMP.json"), "test": ("test.jsonl",)}
    examples: ClassVar[str] = "word_problems"

    def observe(self, row: Row, place: str, id: str) -> Iterator[Observation | str]:
        """`ID`, `Body`, `Question`, `Answer` (a float in the release), `Equation`, `Type`; case of names varies."""
        cells = {name.casefold(): value for name, value in row.items()}
        body, question = (text(cells.get(name), name, place) for name in ("body", "question"))
        kind = text(cells.get("type"), "type", place)
        if kind == "Common-Divison":
            kind = "Common-Division"
            yield "operations misspelt"
        yield Observation(
            id=text(cells.get("id"), "ID", place),
            question=f"{body.rstrip('. ')}. {question}" if body[-1] not in ".?!,;" else f"{body} {question}",
            answer=normalise(text(cells.get("answer"), "answer", place)),
            skill=kind,
            meta={"equation": str(cells.get("equation", ""))},
        )

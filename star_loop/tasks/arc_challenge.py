"""ARC-Challenge (arXiv 1803.05457): science questions with three to five options."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from star_loop.protocols import Verifier
from star_loop.records import Observation
from star_loop.tasks.benchmark import Benchmark, options
from star_loop.tasks.cells import Row, pick, text
from star_loop.verifiers.multiple_choice import MultipleChoice


class ArcChallenge(Benchmark):
    """1,119 training, 299 validation and 1,172 test questions. AdaSTaR learns from the validation split as well."""

    verifier: Verifier = MultipleChoice()
    name: ClassVar[str] = "arc_challenge"
    repository: ClassVar[str] = "allenai/ai2_arc"
    configuration: ClassVar[str | None] = "ARC-Challenge"
    hub_splits: ClassVar[Mapping[str, str]] = {"train": "train", "validation": "validation", "test": "test"}
    files: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "train": ("train.jsonl",),
        "validation": ("validation.jsonl", "dev.jsonl"),
        "test": ("test.jsonl",),
    }
    examples: ClassVar[str] = "arc_challenge"

    def observe(self, row: Row, place: str, id: str) -> Iterator[Observation | str]:
        """`id`, `question`, `choices`, `answerKey`: a letter, or a number where the options are numbered."""
        choices, answer, numbered = options(
            pick(row, "choices", place), text(row.get("answerKey"), "answerKey", place), place
        )
        if numbered:
            yield "numbered options given letters"
        if len(choices) != 4:
            yield f"questions with {len(choices)} options"
        question = text(row.get("question"), "question", place)
        yield Observation(id=text(row.get("id"), "id", place), question=question, answer=answer, choices=choices)

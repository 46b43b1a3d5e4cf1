"""CommonsenseQA (arXiv 1811.00937): questions about everyday things with five options."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from star_loop.protocols import Verifier
from star_loop.records import Observation
from star_loop.tasks.benchmark import Benchmark, options
from star_loop.tasks.cells import Row, pick, text
from star_loop.verifiers.multiple_choice import MultipleChoice


class CommonsenseQA(Benchmark):
    """9,741 training questions; measured with the 1,221 of the development split, as the test split has no answers."""

    verifier: Verifier = MultipleChoice()
    name: ClassVar[str] = "commonsenseqa"
    repository: ClassVar[str] = "tau/commonsense_qa"
    hub_splits: ClassVar[Mapping[str, str]] = {"train": "train", "test": "validation"}
    files: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "train": ("train_rand_split.jsonl", "train.jsonl"),
        "test": ("dev_rand_split.jsonl", "dev.jsonl", "validation.jsonl"),
    }
    examples: ClassVar[str] = "commonsenseqa"

    def observe(self, row: Row, place: str, id: str) -> Iterator[Observation | str]:
        """`id`, `answerKey`, and question and options nested (the release) or flat (the Hub)."""
        nested = isinstance(row.get("question"), dict)
        given = pick(row, "question.choices" if nested else "choices", place)
        choices, answer, _ = options(given, text(row.get("answerKey"), "answerKey", place), place)
        if len({choice.casefold() for choice in choices}) < len(choices):
            yield "questions with two options of the same words"
        column = "question.stem" if nested else "question"
        yield Observation(
            id=text(row.get("id"), "id", place),
            question=text(pick(row, column, place), column, place),
            answer=answer,
            choices=choices,
        )

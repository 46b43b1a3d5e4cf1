"""What is known of all observations before anything starts: found in one pass, and the same as by hand."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_loop.records import Observation
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import parquet_bytes
from star_loop.run.guard import fingerprint
from star_loop.stages import load, proof
from star_loop.tasks import survey as surveys
from star_loop.tasks.file import File
from star_loop.tasks.splitting import Subset, by_question, surveyed
from star_loop.tasks.table import read
from tests.quiz import Quiz

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=9)
OBSERVATION = st.builds(
    Observation, id=TEXT, question=TEXT, answer=TEXT, skill=st.none() | st.sampled_from("abc"),
    level=st.none() | st.integers(0, 99),
)  # fmt: skip
SPLITS = st.fixed_dictionaries({split: st.lists(OBSERVATION, max_size=6) for split in ("train", "validation", "test")})


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveys, "BATCH", 4)


@given(SPLITS)
def test_the_fingerprint_is_that_of_the_json_of_every_row(splits: dict[str, list[Observation]]) -> None:
    digest = hashlib.sha256()
    for split, observations in splits.items():
        digest.update(f"{split}\n".encode())
        for o in observations:
            digest.update(json.dumps([o.id, o.question, o.answer]).encode())
    assert fingerprint(splits) == digest.hexdigest()


@given(st.lists(OBSERVATION, max_size=12))
def test_columns_are_those_of_every_row(observations: list[Observation]) -> None:
    names = list(dict.fromkeys(o.skill for o in observations if o.skill is not None))
    found = load.columns(observations)
    assert found["skill"].tolist() == [-1 if o.skill is None else names.index(o.skill) for o in observations]
    assert found["level"].tolist() == [-1 if o.level is None else o.level for o in observations]
    assert found["length"].tolist() == [len(o.question) for o in observations]
    assert found["skill_names"].tolist() == names
    assert {found[name].dtype for name in ("skill", "level", "length")} == {np.dtype(np.int32)}


def plain(splits: dict[str, list[Observation]]) -> dict[str, list[Any]]:
    rows = [(split, k, o) for split, items in splits.items() for k, o in enumerate(items)]
    return {
        "split": [split for split, _, _ in rows], "position": [k for _, k, _ in rows],
        **{name: [getattr(o, name) for _, _, o in rows] for name in surveys.FIELDS},
    }  # fmt: skip


@settings(max_examples=30)
@given(splits=SPLITS)
@pytest.mark.parametrize("row_group", [1 << 17, 5])
def test_the_published_rows_are_those_of_the_splits(
    splits: dict[str, list[Observation]], row_group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surveys, "ROW_GROUP", row_group)
    path = tmp_path / "observations.parquet"
    path.unlink(missing_ok=True)
    RunDirectory(tmp_path).publish_observations(splits)
    written, expected = path.read_bytes(), plain(splits)
    assert parquet.read_table(path).to_pydict() == expected
    if row_group > 18 and expected["id"]:  # in one group, byte for byte as Arrow writes the whole table
        assert written == parquet_bytes(expected)


@given(st.lists(OBSERVATION, min_size=1, max_size=15), st.data())
def test_a_subset_has_its_own_rows_only(observations: list[Observation], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.booleans(), min_size=len(observations), max_size=len(observations)))
    subset = Subset.of(observations, by_question).where(np.array(chosen))
    wanted = [o for o, c in zip(observations, chosen, strict=True) if c]
    rows = [row for batch in subset.rows() for row in batch.to_pylist()]
    assert rows == [{name: getattr(o, name) for name in surveys.FIELDS} for o in wanted] == [
        {name: getattr(o, name) for name in surveys.FIELDS} for o in subset
    ]  # fmt: skip
    assert surveyed(subset) is subset


class Few(Quiz):
    """Three splits as given."""

    splits: Any

    def train(self) -> Sequence[Observation]:
        return self.splits["train"]

    def validation(self) -> Sequence[Observation]:
        return self.splits["validation"]

    def test(self) -> Sequence[Observation]:
        return self.splits["test"]


FEW = st.builds(
    lambda id, question: Observation(id=id, question=question, answer="1", rationale="#### 1"),
    st.sampled_from("abcdefghij"), st.sampled_from("pqrstuvwxyz"),
)  # fmt: skip


@given(st.fixed_dictionaries({split: st.lists(FEW, max_size=4) for split in ("train", "validation", "test")}))
def test_ids_and_questions_that_come_twice_are_found(splits: dict[str, list[Observation]]) -> None:
    ids = Counter(o.id for items in splits.values() for o in items)
    questions = Counter(q for items in splits.values() for q in {o.question for o in items})
    fault = (
        "the training set is empty" if not splits["train"]
        else "duplicate id" if max(ids.values()) > 1
        else "asks the same as" if max(questions.values()) > 1
        else None
    )  # fmt: skip
    try:
        load.load(Few(splits=splits))
    except ValueError as error:
        assert fault is not None
        assert fault in str(error)
    else:
        assert fault is None


class Counted(Sequence[Observation]):
    """Remembers which rows were read."""

    def __init__(self, n: int, split: str) -> None:
        self.n, self.split, self.read = n, split, Counter[int]()

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: Any) -> Any:
        self.read[index] += 1
        return Observation(id=f"{self.split}/{index}", question=f"{self.split} {index}?", answer="1", skill="s")


def test_each_row_is_read_once_and_the_golds_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "GOLDS_PROVEN", 3)
    rows = {split: Counted(11, split) for split in ("train", "validation", "test")}
    splits = load.load(Few(splits=rows))
    fingerprint(splits)
    RunDirectory(tmp_path).publish_observations(splits)
    load.columns(splits["train"])
    assert [[part.read[k] for k in range(11)] for part in rows.values()] == [[2, 2, 2] + [1] * 8] * 3


@pytest.mark.parametrize("name", ["big.jsonl", "big.parquet"])
def test_a_large_file_is_mapped_and_not_held(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveys, "BATCH", 256)
    rows = [{"question": f"{k} " + "long " * 200, "answer": str(k)} for k in range(4000)]
    path = tmp_path / name
    if path.suffix == ".parquet":
        parquet.write_table(arrow.Table.from_pylist(rows), path, row_group_size=700)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text, before = sum(len(row["question"]) for row in rows), arrow.total_allocated_bytes()
    table, splits = read(path), load.load(File(path=path))
    assert arrow.total_allocated_bytes() - before < text / 20
    assert [table[k] for k in (0, 699, 700, 3999)] == [rows[k] for k in (0, 699, 700, 3999)]
    assert {split: len(part) for split, part in splits.items()} == {"train": 3240, "validation": 360, "test": 400}
    for part in splits.values():
        assert all(rows[int(o.id.partition("/")[2])]["question"].strip() == o.question for o in part)


def test_what_is_cut_by_default_is_a_tenth_at_most_a_thousand(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps({"question": f"{k}?", "answer": k}) + "\n" for k in range(12_000)))
    splits = load.load(File(path=path))
    assert {split: len(part) for split, part in splits.items()} == {"train": 10_000, "validation": 1000, "test": 1000}

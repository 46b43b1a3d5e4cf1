"""Outside benchmarks: measured by the real harness on the tiny model, looked for in the training pool, and shown."""

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from star_loop.config.build import build
from star_loop.errors import EngineError
from star_loop.external import Harness
from star_loop.external.overlap import FEWEST, RUN, occurring
from star_loop.models import Model, Pretrained
from star_loop.report import write
from star_loop.run.directory import FREE_KEYS, RunDirectory
from star_loop.stages.external import look
from star_loop.stages.load import load
from tests.quiz import QUIZ, configure, play
from tests.report.test_comparison import make, rows

TASK = """\
task: legs
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: {kind}
test_split: test
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{gold}}}}"
{more}
metadata: {{version: 1.0}}
"""
CHOICES = "doc_to_choice: [a, b]\nmetric_list: [{metric: acc}]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task of one's own with two options, and its data."""
    place = tmp_path_factory.mktemp("own tasks")
    data = place / "legs.jsonl"
    data.write_text("".join(json.dumps({"q": f"What is {k} in train?", "gold": k % 2}) + "\n" for k in range(3)))
    (place / "legs.yaml").write_text(TASK.format(data=data, kind="multiple_choice", more=CHOICES))
    return place


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path_factory.getbasetemp() / "datasets"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


# ---------------------------------------------------------------------------------------------------- the real one


@pytest.mark.engine
def test_the_harness_measures_the_tiny_model(folder: Path, tmp_path: Path) -> None:
    found = Harness(tasks="legs", folder=folder).measure(Model(base=Pretrained(name_or_path="tiny")), tmp_path / "log")
    assert set(found) == {"legs/acc", "legs/acc_stderr"}
    assert found["legs/acc"] in {k / 3 for k in range(4)} and (tmp_path / "log").stat().st_size


@pytest.mark.engine
def test_a_benchmark_that_is_learned_from_is_named_before_anything_starts(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ("evaluation.external.tasks=legs", f"evaluation.external.folder={folder}")
    experiment = build(configure(*QUIZ, *keys))
    with caplog.at_level(logging.WARNING):
        look(experiment, RunDirectory(tmp_path), load(experiment.task))
    assert "3 of the 12 training questions occur in legs (train/0, train/1, train/2)" in caplog.text


@pytest.mark.engine
def test_a_task_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"evaluation\.external: lm-eval-harness has no task 'legz': did you mean legs\?"
    ):
        Harness(tasks="legz", folder=folder).questions(tmp_path / "log")


# -------------------------------------------------------------------------------------------------- without it


class Counted(Harness):
    """Gives figures that grow with each measurement, and keeps count of them in a file."""

    notes: Path

    @property
    def needs_base(self) -> bool:
        return False

    def questions(self, log: Path) -> Mapping[str, list[str]]:
        return {name: ["nothing of the quiz"] for name in self.tasks}

    def measure(self, model: Model, log: Path) -> Mapping[str, float]:
        before = self.notes.read_text() if self.notes.exists() else ""
        self.notes.write_text(before + "x")
        return {"legs/acc": 0.25 + 0.125 * len(before), "legs/acc_stderr": 0.1}


def counted(notes: Path, *more: str) -> tuple[str, ...]:
    key = "evaluation.external"
    return (f"{key}._target_=tests.external.test_external.Counted", f"{key}.tasks=legs", f"{key}.notes={notes}", *more)


def test_it_is_measured_every_so_often_and_never_twice(tmp_path: Path) -> None:
    notes, run = tmp_path / "notes", tmp_path / "run"
    play(run, *counted(notes, "evaluation.external.every=2", "iterations=1"))
    play(run, *counted(notes, "evaluation.external.every=2", "iterations=3"))
    play(run, *counted(notes, "evaluation.external.every=2", "iterations=3"))
    figures = [m.get("external/legs/acc") for m in RunDirectory(run).committed_metrics()]
    assert figures == [0.25, 0.375, 0.5, 0.625]  # 1: the last of its launch
    assert notes.read_text() == "xxxx"
    assert "evaluation.external" in FREE_KEYS
    page = write(run).read_text(encoding="utf-8")
    assert "Outside benchmarks" in page and "<td>0.25 ± 0.1</td><td>0.375 ± 0.1</td>" in page


def test_nothing_is_measured_where_nothing_is_named(tmp_path: Path) -> None:
    play(tmp_path, "iterations=1")
    assert not list(tmp_path.glob("iterations/*/external.json"))
    assert (
        not Harness().due(0, last=True)
        and Harness(tasks=("a",), every=3).due(4, last=True)
        and not Harness(tasks="a", every=3).due(4, last=False)
    )


def test_the_iteration_at_which_patience_ends_a_run_is_measured(tmp_path: Path) -> None:
    notes, run = tmp_path / "notes", tmp_path / "run"
    still = ("schedule.growth=1", "trainer.rate=0", "iterations=9", "evaluation.patience=2")
    play(run, *counted(notes, *still, "evaluation.external.every=9"))
    figures = [m.get("external/legs/acc") for m in RunDirectory(run).committed_metrics()]
    assert figures == [0.25, None, 0.375]


def test_the_comparison_has_its_rows(tmp_path: Path) -> None:
    from star_loop.report import write_comparison

    for seed in (0, 1):
        make(tmp_path / f"run{seed}", (0.2, 0.4), seed, more={"external/legs/acc": 0.5 + 0.25 * seed})
    write_comparison([tmp_path])
    (row,) = [r for r in rows(tmp_path) if r["row"] == "benchmark"]
    assert (row["label"].rpartition(": ")[2], row["n"], float(row["first"]), float(row["last"])) == (
        "legs/acc", "2", 0.625, 0.625,
    )  # fmt: skip
    assert "| legs/acc | 2 | 0.625 → 0.625 | +0 |" in (tmp_path / "comparison.md").read_text(encoding="utf-8")


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"evaluation\.external\.folder=.*nowhere: there is no such folder"):
        Harness(tasks="a", folder=tmp_path / "nowhere").check()
    monkeypatch.setitem(sys.modules, "lm_eval", None)  # how Python says that there is none
    Harness().check()
    with pytest.raises(ValueError, match=r'needs lm-eval: pip install "star_loop\[external\]"'):
        Harness(tasks="a").check()
    monkeypatch.setattr("star_loop.external.harness._CHILD", ["sh", "-c", "read line; exit 3"])
    with pytest.raises(EngineError, match=r"lm-eval-harness ended \(exit code 3\): .*log"):
        Harness(tasks="a").questions(tmp_path / "log")
    monkeypatch.setattr("star_loop.external.harness._CHILD", ["sleep", "60"])
    with pytest.raises(EngineError, match=r"evaluation\.external\.timeout: no result in 0\.1 s"):
        Harness(tasks="a", timeout=0.1).questions(tmp_path / "log")


# ------------------------------------------------------------------------------------------------------- overlap

TEXTS = some.lists(some.text(alphabet="ab .", max_size=60), max_size=4)


@given(TEXTS, TEXTS)
def test_what_occurs_is_what_a_search_by_hand_finds(pool: list[str], texts: list[str]) -> None:
    def runs(words: list[str], n: int) -> set[tuple[str, ...]]:
        return {tuple(words[k : k + n]) for k in range(len(words) - n + 1)}

    def occurs(question: str) -> bool:
        words = question.replace(".", " ").split()
        n = min(len(words), RUN)
        return n >= FEWEST and any(runs(words, n) & runs(text.replace(".", " ").split(), n) for text in texts)

    named = [(str(k), question) for k, question in enumerate(pool)]
    assert list(occurring(named, texts)) == [name for name, question in named if occurs(question)]


def test_case_punctuation_and_what_stands_around_do_not_hide_a_question() -> None:
    pool = [("same", "How many legs have 3 cats?"), ("other", "How many legs have 4 cats?"), ("short", "Legs of cats")]
    assert list(occurring(pool, ["Question: how many LEGS have 3 cats -- in all?\nAnswer:", "legs of cats"])) == [
        "same"
    ]

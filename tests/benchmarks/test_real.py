"""What is said of `make real` is what the kept rows say, and a row is what its runs left."""

import json
from pathlib import Path

import pytest

from benchmarks.real import page, rows
from star_loop.config.build import build
from star_loop.launch import launch
from star_loop.run.directory import RunDirectory
from tests.quiz import configure

README = page.DOCS.parent / "README.md"
SMALL = ("task=word_problems", "task.train_per_level=8", "task.validation_per_level=1", "task.test_per_level=1")


def test_the_page_and_the_front_page_say_what_the_rows_say() -> None:
    assert page.PAGE.read_text(encoding="utf-8").endswith(page.rendered())
    if found := rows.rows():
        assert page.caption(found) in README.read_text(encoding="utf-8")


def test_a_row_is_what_the_runs_left(tmp_path: Path) -> None:
    config = configure("experiment=smoke", *SMALL, "iterations=2")
    launch(config, tmp_path)
    run, levels = RunDirectory(tmp_path), [o.level for o in build(config).task.train()]
    row = rows.reduced(run, run, levels)
    metrics = run.committed_metrics()
    assert row["measured"]["end"]["accuracy"] == pytest.approx(metrics[2]["evaluation/accuracy"], abs=1e-6)
    assert row["measured"]["chat_shots"] == row["measured"]["shots"] != {}
    for point, figures in zip(row["curve"][1:], metrics[1:], strict=True):
        asked, right, trained = map(sum, zip(*point["levels"].values(), strict=True))
        assert asked == figures["collect/rollouts"] + figures["collect/surplus"] and right >= trained
        assert trained == figures["train/examples"]
    assert json.loads(json.dumps(row)) == row


def test_only_rows_of_the_present_settings_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "RESULTS", tmp_path / "results.jsonl")
    assert rows.rows() == []
    for seed, settings in ((2, rows.experiment()), (1, rows.experiment()), (3, {"iterations": 1})):
        rows.keep({"seed": seed, "experiment": settings})
    assert [row["seed"] for row in rows.rows()] == [1, 2]


def test_the_gain_is_over_the_best_baseline() -> None:
    share = {"accuracy_low": 0.0, "accuracy_high": 1.0}
    accuracies = {"base": 0.1, "shots": 0.2, "chat": 0.3, "chat_shots": 0.05, "end": 0.9}
    row = {"measured": {name: {"accuracy": value, **share} for name, value in accuracies.items()}}
    assert (page.best(row), page.gain(row)) == pytest.approx((0.3, 0.6))

"""The page's tables and figures add up to what the run says of itself, whatever it was made of."""

from pathlib import Path

import pytest

from star_loop.config.build import build
from star_loop.launch import advance
from star_loop.records import Metrics
from star_loop.report import write
from star_loop.report.tables import method_rows, phase_rows
from star_loop.run.directory import RunDirectory
from tests.quiz import QUIZ, configure, play
from tests.report.test_comparison import make
from tests.report.test_report import Page

RUNS = {
    "search": (*QUIZ, "search=balance", "search.temperatures=[0.5,1.0]", "search.questions=3"),
    "pilots of an iteration": (*QUIZ, "sampler=cures_pilots"),
    "a preparation": (*QUIZ, "preparation=pilots", "sampler=cures"),
    "scores": (*QUIZ, "scorer=scripted", "selectors=lark"),
    "worked examples": ("experiment=smoke", "task=word_problems", "schedule.shots_until=auto"),
}


@pytest.fixture(scope="module", params=RUNS)
def metrics(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Metrics]:
    config, run = configure(*RUNS[request.param], "iterations=2"), RunDirectory(tmp_path_factory.mktemp("run"))
    with run.locked():
        advance(build(config), run, config)
    return run.committed_metrics()


def test_every_phase_and_everything_that_was_spent_has_a_row(metrics: list[Metrics]) -> None:
    rows = phase_rows(metrics)
    timed = {name.removeprefix("seconds/") for m in metrics for name in m if name.startswith("seconds/")} - {"total"}
    assert timed <= {row.name for row in rows}
    assert sum(row.share or 0.0 for row in rows) == pytest.approx(1)
    spent = sum(v for m in metrics for name, v in m.items() if name.startswith("flops/") and "cumulative" not in name)
    assert sum(row.flops or 0.0 for row in rows) == pytest.approx(spent)
    asides = sum(row.flops or 0.0 for row in rows if row.name != "evaluate")
    assert asides == pytest.approx(metrics[-1]["flops/cumulative"])


def test_figures_of_evaluation_are_not_the_methods(metrics: list[Metrics]) -> None:
    names = [name for name, _ in method_rows(metrics)]
    assert names and not [name for name in names if name.startswith(("evaluation", "validation"))]


def test_what_the_base_did_with_worked_examples_begins_every_count(tmp_path: Path) -> None:
    """The headline, the change and accuracy for compute begin with the better baseline; the page says which."""
    make(tmp_path / "examples", (0.2, 0.4), 0, shots=0.3)
    make(tmp_path / "bare", (0.2, 0.4), 0)
    labels = [value for name, value in shown(tmp_path / "examples").attributes if name == "aria-label"]
    assert "test accuracy from 30 % to 40 % at 1.00e12 FLOPs" in labels
    assert "begins with the better of the base model's two baselines" in shown(tmp_path / "examples").text
    assert "30.0 % → 40.0 %" in shown(tmp_path / "examples").text
    assert "baselines" not in shown(tmp_path / "bare").text


def test_a_table_of_skills_says_how_the_questions_were_asked(tmp_path: Path) -> None:
    play(tmp_path, "iterations=1")
    text = shown(tmp_path).text
    assert "Per cent of the test questions, asked zero-shot, iteration 0 → 1" in text
    assert "Test questions, asked zero-shot and answered greedily by iteration 0 and by iteration 1" in text
    assert "1 iteration " in text and "1 iterations" not in text


def shown(run: Path) -> Page:
    return Page(write(run).read_text(encoding="utf-8"))

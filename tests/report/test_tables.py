"""The page's tables and figures add up to what the run says of itself, whatever it was made of."""

import pytest

from star_loop.config.build import build
from star_loop.launch import advance
from star_loop.records import Metrics
from star_loop.report.tables import method_rows, phase_rows
from star_loop.run.directory import RunDirectory
from tests.quiz import QUIZ, configure

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

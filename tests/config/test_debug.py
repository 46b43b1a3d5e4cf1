"""`debug=` makes any configuration small, and leaves its method as it is."""

import json
from collections import Counter
from pathlib import Path

import pytest

from star_loop.config.build import build
from star_loop.config.hydra import CONF
from star_loop.launch import launch
from star_loop.records import Rollout
from star_loop.report.summary import read
from tests.quiz import configure

SCRIPTED = ("model=scripted", "generator=scripted", "trainer=scripted", "~tracker.console", "~tracker.tensorboard")


def rollouts(path: Path) -> list[Rollout]:
    return [Rollout.from_json(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("debug", sorted(path.stem for path in (CONF / "debug").glob("*.yaml")))
def test_it_is_the_same_method_in_a_run_of_its_own(debug: str) -> None:
    plain, small = (build(configure("experiment=cures", *keys)) for keys in ((), (f"debug={debug}",)))
    for part in ("sampler", "allocator", "selectors", "scorer", "task", "model", "trainer"):
        assert getattr(plain, part) == getattr(small, part)
    assert small.name.startswith(f"debug_{debug}-") and small.iterations <= 2
    assert build(configure(f"debug={debug}", "iterations=5", "name=mine")).iterations == 5


def test_fast_trains_by_what_is_configured() -> None:
    assert build(configure("experiment=star_acc_full", "debug=fast")).schedule.train_by == "epochs"


@pytest.mark.parametrize("experiment", ["adastar", "star_full", "star_acc_full"])
def test_fast_goes_through_every_stage_with_little_to_do(tmp_path: Path, experiment: str) -> None:
    launch(configure(f"experiment={experiment}", "debug=fast", *SCRIPTED), tmp_path)
    for t in range(3):
        here = tmp_path / f"iterations/{t:04}"
        assert len(rollouts(here / "evaluation.jsonl")) == len(rollouts(here / "validation.jsonl")) == 16
    figures = json.loads((tmp_path / "iterations/0002/metrics.json").read_text())
    assert 0 < figures["train/examples"] <= 32
    asked = Counter(r.id.split("/")[0] for r in rollouts(tmp_path / "iterations/0000/evaluation.jsonl"))
    assert len(asked) >= 3  # spread over the split, not its beginning
    summary = read(tmp_path)
    assert sum(summary.questions.values()) == 16


def test_profile_says_where_the_time_went(tmp_path: Path) -> None:
    launch(configure("debug=profile", "schedule.quota=8", *SCRIPTED), tmp_path)
    text = (tmp_path / "profile.txt").read_text()
    assert "cumulative" in text and "collect.py" in text and (tmp_path / "profile.prof").exists()

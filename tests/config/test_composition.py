"""Every stage and every kind of policy at once: a search, a mixture, an order within it, an allocator, a scorer."""

from pathlib import Path

import numpy as np
import pytest

from star_loop.launch import launch
from star_loop.records import Rollout
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import Disk
from tests.quiz import QUIZ, configure, contents
from tests.run.test_resume import FailingDisk, Interrupted, run_with

EVERYTHING = (
    *QUIZ, "experiment=skill_it", "model=scripted", "generator=scripted", "trainer=scripted", "iterations=1",
    "sampler.by=[level]", "sampler.mixture.loss=train", "sampler@sampler.within=cures", "allocator=neyman",
    "scorer=scripted", "scorer.diagnose=true", "selectors=lark", "search=balance", "search.temperatures=[0.5,1.0]",
    "search.questions=3", "second_try=none", "schedule.steps=3", "sampler.within.pilot_rollouts=1",
)  # fmt: skip


def test_an_interruption_anywhere_in_a_run_of_everything_changes_no_byte(tmp_path: Path) -> None:
    config, disk = configure(*EVERYTHING), FailingDisk()
    run_with(disk, tmp_path / "whole", config)
    expected = contents(tmp_path / "whole")
    made = {"scores.jsonl", "scores_after.jsonl", "pilots/0.5.jsonl", "pilots/1.jsonl", "pilots/wave_000.jsonl"}
    assert made <= {name.removeprefix("iterations/0001/") for name in expected}
    for at in range(0, disk.effects, 6):
        with pytest.raises(Interrupted):
            run_with(FailingDisk(at), tmp_path / str(at), config)
        run_with(Disk(), tmp_path / str(at), config)
        assert contents(tmp_path / str(at)) == expected, f"interrupted at effect {at}"


def test_every_part_says_that_it_acted(tmp_path: Path) -> None:
    launch(configure(*EVERYTHING, "iterations=2"), tmp_path)
    figures = RunDirectory(tmp_path).iteration(2).metrics()
    assert {name.split("/")[0] for name in figures} >= {"search", "sampler", "allocator", "score", "select"}
    assert {"sampler/entropy", "sampler/wanted/level_3", "sampler/level_3/tau"} <= set(figures)


def test_what_samplers_of_groups_believe_reaches_the_allocator(tmp_path: Path) -> None:
    """Each group's own posterior, from pilots before anything was asked, says how many rollouts an observation gets."""
    launch(configure(*(o for o in EVERYTHING if "search" not in o), "task.n=60", "generator.table=[0.97,0.5,0.03]", "sampler.within.pilot_rollouts=30",
                     "schedule.quota=null", "allocator.rollouts=10", "schedule.wave=60"), tmp_path)  # fmt: skip
    here = RunDirectory(tmp_path).iteration(1)
    pilots = [Rollout.from_json(line) for line in (here.path / "pilots/wave_000.jsonl").read_text().splitlines()]
    wins = np.bincount([r.position for r in pilots if r.correct], minlength=60)
    drawn = np.bincount([r.position for r in here.rollouts()], minlength=60)
    p = (wins + 1) / 32
    assert (np.abs(drawn - 600 * np.sqrt(p * (1 - p)) / np.sqrt(p * (1 - p)).sum()) < 1.5).all()
    assert drawn.std() > 2

"""Every stage and every kind of policy at once: a search, a mixture, an order within it, an allocator, a scorer."""

from pathlib import Path

import pytest

from star_loop.disk import Disk
from star_loop.launch import launch
from star_loop.store import RunDirectory
from tests.quiz import QUIZ, configure, contents
from tests.test_resume import FailingDisk, Interrupted, run_with

EVERYTHING = (
    *QUIZ, "experiment=skill_it", "model=scripted", "generator=scripted", "trainer=scripted", "iterations=1",
    "sampler.by=[level]", "sampler.mixture.loss=train", "sampler@sampler.within=cures", "allocator=neyman",
    "scorer=scripted", "scorer.diagnose=true", "selectors=lark", "search=balance", "search.temperatures=[0.5,1.0]",
    "search.questions=3", "second_try=none", "schedule.steps=3",
)  # fmt: skip


def test_an_interruption_anywhere_in_a_run_of_everything_changes_no_byte(tmp_path: Path) -> None:
    config, disk = configure(*EVERYTHING), FailingDisk()
    run_with(disk, tmp_path / "whole", config)
    expected = contents(tmp_path / "whole")
    assert {"scores.jsonl", "scores_after.jsonl", "pilots/0.5.jsonl", "pilots/1.jsonl"} <= {
        name.removeprefix("iterations/0001/") for name in expected
    }
    for at in range(0, disk.effects, 4):
        with pytest.raises(Interrupted):
            run_with(FailingDisk(at), tmp_path / str(at), config)
        run_with(Disk(), tmp_path / str(at), config)
        assert contents(tmp_path / str(at)) == expected, f"interrupted at effect {at}"


def test_every_part_says_that_it_acted(tmp_path: Path) -> None:
    launch(configure(*EVERYTHING, "iterations=2"), tmp_path)
    figures = RunDirectory(tmp_path).iteration(2).metrics()
    assert {name.split("/")[0] for name in figures} >= {"search", "sampler", "allocator", "score", "select"}
    assert {"sampler/entropy", "sampler/wanted/level_3", "sampler/level_3/tau"} <= set(figures)

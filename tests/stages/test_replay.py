"""Replay: what is trained on again, against a loop over everything that was ever written."""

from pathlib import Path

import pytest

from star_loop.records import Example
from star_loop.run.directory import RunDirectory
from tests.quiz import play

SCRIPTED = ("experiment=replay", "model=scripted", "generator=scripted", "trainer=scripted", "trainer.rate=0", "task.n=60",
            "generator.table=[0.7,0.4,0.2]", "schedule.steps=2", "schedule.growth=1", "schedule.wave=1", "iterations=5")  # fmt: skip


def examples(run: RunDirectory, iteration: int) -> list[Example]:
    path = run.iteration(iteration).path / "examples.jsonl"
    return [Example.from_json(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("age", [0, 1, 3])
def test_the_newest_rationale_of_every_observation_within_the_age_is_trained_on(tmp_path: Path, age: int) -> None:
    play(tmp_path, *SCRIPTED, f"schedule.replay={age}")
    run = RunDirectory(tmp_path)
    own: dict[int, dict[int, str]] = {}
    replays = 0
    for t in range(1, 6):
        texts = {(r.position, r.text) for r in run.iteration(t).rollouts() if r.correct}
        found = examples(run, t)
        own[t] = {e.position: e.completion for e in found if (e.position, e.completion) in texts}
        expected: dict[int, str] = {}
        for earlier in range(max(t - age, 1), t + 1):
            expected |= own[earlier]
        assert {e.position: e.completion for e in found} == expected
        assert len(found) == len(expected)
        old = len(expected) - len(own[t])
        assert run.iteration(t).metrics().get("select/replayed", 0.0) == old
        replays += old
    assert (replays > 0) is (age > 0)


def test_replay_goes_on_as_it_was_after_an_interruption(tmp_path: Path) -> None:
    play(tmp_path / "whole", *SCRIPTED)
    play(tmp_path / "parts", *SCRIPTED, "iterations=3")
    play(tmp_path / "parts", *SCRIPTED)
    runs = [RunDirectory(tmp_path / name) for name in ("whole", "parts")]
    assert examples(runs[0], 5) == examples(runs[1], 5)

"""What the loop does, followed by hand. If a change breaks one of these, it changes what users' runs do: do not mend
the test without deciding that.

The scripted generator solves levels 1 and 2 always and level 3 (observations 2, 5, 8, 11) never; β_t = 4 correct
rationales; waves of 4 observations; AdaSTaR with p = 2.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest

from star_loop.protocols import BootstrapError, TrainingError
from star_loop.records import Example, Rollout
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import Disk
from tests.quiz import HINT, QUIZ, configure, contents, play
from tests.run.test_resume import FailingDisk, Interrupted, run_with

ALWAYS_OR_NEVER = ("generator.table=[1.0,1.0,0.0]", "schedule.growth=1.0", "trainer.rate=0")


def rollouts(run: Path, t: int) -> list[Rollout]:
    waves = sorted((run / f"iterations/{t:04d}/waves").iterdir())
    return [Rollout.from_json(line) for wave in waves for line in wave.read_text().splitlines()]


def examples(run: Path, t: int) -> list[Example]:
    return [Example.from_json(line) for line in (run / f"iterations/{t:04d}/examples.jsonl").read_text().splitlines()]


def metrics(run: Path, t: int) -> dict[str, float]:
    return json.loads((run / f"iterations/{t:04d}/metrics.json").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("golden")
    play(directory, *ALWAYS_OR_NEVER, "second_try=resample")
    return directory


def test_1_observations_are_visited_in_the_frozen_order_wave_by_wave_failures_twice(run: Path) -> None:
    visited = [[(r.position, r.attempt, r.correct) for r in rollouts(run, t)] for t in (1, 2, 3)]
    y, n = True, False
    assert visited[0] == [
        (4, 0, y), (0, 0, y), (5, 0, n), (1, 0, y), (5, 1, n),
        (11, 0, n), (2, 0, n), (8, 0, n), (6, 0, y), (11, 1, n), (2, 1, n), (8, 1, n),
    ]  # fmt: skip
    assert visited[1] == [
        (3, 0, y), (1, 0, y), (5, 0, n), (6, 0, y), (5, 1, n),
        (11, 0, n), (10, 0, y), (7, 0, y), (9, 0, y), (11, 1, n),
    ]  # fmt: skip


def test_2_collecting_stops_at_the_first_prefix_with_four_correct(run: Path) -> None:
    assert [metrics(run, t)["collect/observations"] for t in (1, 2, 3)] == [8, 6, 5]
    assert [metrics(run, t)["collect/accepted"] for t in (1, 2, 3)] == [4, 4, 4]


def test_3_what_lies_past_the_prefix_is_surplus_kept_and_counted_in_tokens_only(run: Path) -> None:
    assert [metrics(run, t)["collect/surplus"] for t in (1, 2, 3)] == [0, 2, 6]
    assert [metrics(run, t)["tokens/generated"] for t in (1, 2, 3)] == [12 * 16, 10 * 16, 12 * 16]
    statistics = RunDirectory(run).iteration(2).statistics()
    assert statistics.last_sampled.tolist() == [1, 2, 1, 2, 1, 2, 2, 0, 1, 0, 2, 2]


def test_4_one_rationale_per_observation_in_the_visited_order_is_trained_on(run: Path) -> None:
    assert [e.position for e in examples(run, 1)] == [4, 0, 1, 6]
    assert [e.position for e in examples(run, 2)] == [3, 1, 6, 10]
    assert [e.position for e in examples(run, 3)] == [6, 7, 9, 10]
    assert examples(run, 1)[0] == Example(
        position=4, id="train/4", prompt="Q: What is 4 in train?\nA: ", completion="It is 4.\n#### 4", weight=1.0
    )


def test_5_the_first_floor_of_m_alpha_squared_visits_are_committed(run: Path) -> None:
    # ⌊8·(4/8)²⌋ = 2, ⌊6·(4/6)²⌋ = 2, ⌊5·(4/5)²⌋ = 3
    assert [metrics(run, t)["sampler/committed"] for t in (1, 2, 3)] == [2, 2, 3]
    beliefs = [RunDirectory(run).iteration(t).beliefs()["last"] for t in (1, 2, 3)]
    assert np.flatnonzero(beliefs[0] == 1).tolist() == [0, 4]
    assert np.flatnonzero(beliefs[1] == 2).tolist() == [1, 3]
    assert np.flatnonzero(beliefs[2] == 3).tolist() == [6, 7, 9]


def test_6_facts_count_every_visit_and_attempt(run: Path) -> None:
    table = parquet.read_table(run / "iterations/0003/statistics.parquet").to_pydict()
    assert table["attempts"] == [1, 2, 4, 1, 1, 4, 3, 1, 2, 1, 2, 4]
    assert table["wins"] == [1, 2, 0, 1, 1, 0, 3, 1, 0, 1, 2, 0]
    assert sum(table["hinted_attempts"]) == 0


def test_7_the_files_of_an_iteration(run: Path) -> None:
    names = sorted(p.relative_to(run / "iterations/0002").as_posix() for p in (run / "iterations/0002").rglob("*.*"))
    assert names == [
        "adapter/ability.json", "adapter/training.json", "checksums.txt", "evaluation.jsonl", "examples.jsonl", "metrics.json",
        "sampler.npz", "state.json", "statistics.parquet", "validation.jsonl", "waves/000.jsonl", "waves/001.jsonl",
    ]  # fmt: skip
    base = {p.name for p in (run / "iterations/0000").iterdir()}
    assert not base & {"waves", "adapter", "examples.jsonl"}


def test_8_flops_follow_the_papers_convention(run: Path) -> None:
    m = metrics(run, 2)
    prompts, generated, trained = 10 * 16, 10 * 16, m["tokens/trained"]
    assert m["tokens/prompt"] == prompts
    assert m["flops/generate"] == 2 * 1e6 * (prompts + generated)
    assert m["flops/train"] == 6 * 1e6 * trained
    sums = [metrics(run, t) for t in (1, 2)]
    assert m["flops/cumulative"] == sum(s["flops/generate"] + s["flops/train"] for s in sums)


def test_the_same_command_gives_the_same_bytes_and_another_seed_others(run: Path, tmp_path: Path) -> None:
    play(tmp_path / "again", *ALWAYS_OR_NEVER, "second_try=resample")
    play(tmp_path / "other", *ALWAYS_OR_NEVER, "second_try=resample", "seed=1")
    waves = "iterations/0001/waves/000.jsonl"
    assert (tmp_path / "again" / waves).read_bytes() == (run / waves).read_bytes()
    assert (tmp_path / "other" / waves).read_bytes() != (run / waves).read_bytes()


@pytest.mark.parametrize("wave", [1, 3, 12])
def test_the_size_of_waves_changes_neither_m_nor_alpha_nor_state(run: Path, tmp_path: Path, wave: int) -> None:
    """AdaSTaR property 6: completions depend on (seed, iteration, observation, attempt) only, and so does all else."""
    play(tmp_path, *ALWAYS_OR_NEVER, "second_try=resample", f"schedule.wave={wave}")
    for t in (1, 2, 3):
        ours, theirs = RunDirectory(tmp_path).iteration(t), RunDirectory(run).iteration(t)
        assert all(np.array_equal(ours.beliefs()[k], v) for k, v in theirs.beliefs().items())
        assert (ours.path / "examples.jsonl").read_bytes() == (theirs.path / "examples.jsonl").read_bytes()
        assert (ours.path / "statistics.parquet").read_bytes() == (theirs.path / "statistics.parquet").read_bytes()
        kept = [k for k in theirs.metrics() if k.startswith(("sampler/", "train/")) or k == "collect/observations"]
        assert {k: ours.metrics()[k] for k in kept} == {k: theirs.metrics()[k] for k in kept}


def test_a_round_that_fails_leaves_facts_and_beliefs_as_they_were(tmp_path: Path) -> None:
    """AdaSTaR property 4: statistics are committed only after training has succeeded."""
    broken = tmp_path / "broken"
    fragile = ("trainer._target_=tests.quiz.Fragile", f"trainer.broken={broken}", *ALWAYS_OR_NEVER)
    play(tmp_path / "run", *fragile, "iterations=1")
    broken.touch()
    with pytest.raises(TrainingError, match="not finite"):
        play(tmp_path / "run", *fragile, "iterations=2")
    run = RunDirectory(tmp_path / "run")
    assert run.latest().number == 1  # type: ignore[union-attr]
    assert not {p.name for p in run.iteration(2).path.iterdir()} & {"sampler.npz", "statistics.parquet", "adapter"}
    broken.unlink()
    play(tmp_path / "run", *fragile, "iterations=2")
    play(tmp_path / "whole", *fragile, "iterations=2")
    assert contents(tmp_path / "run/iterations") == contents(tmp_path / "whole/iterations")


def test_without_a_quota_one_full_pass_is_made(tmp_path: Path) -> None:
    play(tmp_path, *ALWAYS_OR_NEVER, "schedule.quota=null", "iterations=1", "second_try=none")
    assert sorted(r.position for r in rollouts(tmp_path, 1)) == list(range(12))
    assert metrics(tmp_path, 1)["collect/accepted"] == 8


def test_a_quota_that_cannot_be_filled_ends_after_one_pass(tmp_path: Path) -> None:
    play(tmp_path, *ALWAYS_OR_NEVER, "schedule.quota=100", "iterations=1", "second_try=none")
    assert metrics(tmp_path, 1)["collect/observations"] == 12


def test_several_rationales_of_an_observation_count_up_to_per_observation(tmp_path: Path) -> None:
    play(
        tmp_path, *ALWAYS_OR_NEVER, "iterations=1", "second_try=none", "allocator.rollouts=3",
        "schedule.per_observation=2", "selectors.cap.limit=2",
    )  # fmt: skip
    assert metrics(tmp_path, 1)["collect/accepted"] == 4
    assert len({e.position for e in examples(tmp_path, 1)}) == 2


def test_hints_reach_the_prompt_but_never_the_training_text(tmp_path: Path) -> None:
    play(tmp_path, "generator.table=[0.9,0.5,0.2]", "second_try=rationalize", "generator.hint=9", "iterations=1")
    hinted = [r for r in rollouts(tmp_path, 1) if r.hinted]
    assert hinted
    assert all(r.attempt == 1 for r in hinted)
    assert any(r.correct for r in hinted)
    won = {r.position for r in hinted if r.correct}
    assert won & {e.position for e in examples(tmp_path, 1)}
    assert all(HINT not in e.prompt + e.completion for e in examples(tmp_path, 1))
    assert metrics(tmp_path, 1)["collect/hinted"] >= len(won & {e.position for e in examples(tmp_path, 1)})
    statistics = RunDirectory(tmp_path).iteration(1).statistics()
    assert statistics.hinted_wins.sum() > 0


def test_star_starts_from_the_base_and_star_acc_from_the_previous_model(tmp_path: Path) -> None:
    gains = {}
    for start in ("base", "previous"):
        play(tmp_path / start, *ALWAYS_OR_NEVER, "trainer.rate=1", f"start_from={start}")
        paths = sorted((tmp_path / start).glob("iterations/*/adapter/ability.json"))
        gains[start] = [json.loads(path.read_text())["gain"] for path in paths]
    assert gains["base"][0] == gains["base"][1] == gains["base"][2]
    assert gains["previous"] == pytest.approx([gains["base"][0] * t for t in (1, 2, 3)])


def test_a_loop_that_cannot_bootstrap_says_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(BootstrapError, match=r"nothing to train on: 0 of 24 rollouts of 12 observations were correct"):
        play(tmp_path, "generator.table=[0.0]", "second_try=resample")
    with pytest.raises(BootstrapError, match=r"more rollouts \(allocator\.rollouts\) or second_try=rationalize;"):
        play(tmp_path, "generator.table=[0.0]", "second_try=resample")
    with pytest.raises(BootstrapError, match=r"more rollouts \(allocator\.rollouts\);"):
        play(tmp_path / "hinted", "generator.table=[0.0]", "generator.hint=-9", "second_try=rationalize")
    assert RunDirectory(tmp_path).latest().number == 0  # type: ignore[union-attr]
    assert (tmp_path / "iterations/0001/waves/002.jsonl").exists()


def test_patience_ends_a_run_that_no_longer_improves(tmp_path: Path) -> None:
    standing = play(tmp_path, *ALWAYS_OR_NEVER, "iterations=9", "evaluation.patience=2")
    assert standing.iteration == 2


def test_the_test_split_may_be_measured_less_often(tmp_path: Path) -> None:
    play(tmp_path, *ALWAYS_OR_NEVER, "evaluation.test_every=2")
    measured = [t for t in range(4) if "evaluation/accuracy" in metrics(tmp_path, t)]
    assert measured == [0, 2, 3]
    assert all("validation/accuracy" in metrics(tmp_path, t) for t in range(4))


def test_the_iteration_at_which_patience_ends_a_run_is_measured_on_test(tmp_path: Path) -> None:
    """Wherever it is interrupted: whether it is the last is decided by files that are there."""
    keys = (*ALWAYS_OR_NEVER, "iterations=9", "evaluation.patience=2", "evaluation.test_every=100")
    config, disk = configure(*QUIZ, *keys), FailingDisk()
    run_with(disk, tmp_path / "whole", config)
    measured = [t for t in range(3) if "evaluation/accuracy" in metrics(tmp_path / "whole", t)]
    assert measured == [0, 2] and not (tmp_path / "whole/iterations/0003").exists()
    for at in range(disk.effects - 24, disk.effects, 2):  # those of the last iteration
        with pytest.raises(Interrupted):
            run_with(FailingDisk(at), tmp_path / str(at), config)
        run_with(Disk(), tmp_path / str(at), config)
        assert contents(tmp_path / str(at)) == contents(tmp_path / "whole"), f"interrupted at effect {at}"


def test_samples_give_maj_and_pass_at_k(tmp_path: Path) -> None:
    play(tmp_path, *ALWAYS_OR_NEVER, "iterations=1", "evaluation.samples=4")
    m = metrics(tmp_path, 1)
    assert m["evaluation/pass@1"] == m["evaluation/pass@4"] == m["evaluation/maj@4"] == m["evaluation/accuracy"]
    assert m["evaluation/counting/level_3"] == 0.0
    assert m["evaluation/counting/level_1"] == 1.0

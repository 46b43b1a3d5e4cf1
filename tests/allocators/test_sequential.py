"""Draws that look at those before them: the rules by hand, and what the loop makes of them."""

from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from star_loop.allocators.sequential import Boundary, Sequential
from star_loop.run.directory import RunDirectory
from star_loop.seeding import rng
from tests.quiz import play

SCRIPTED = ("model=scripted", "generator=scripted", "trainer=scripted", "trainer.rate=0", "task.n=60",
            "generator.table=[1.0,0.5,0.0]", "schedule.steps=5", "schedule.wave=10", "iterations=1")  # fmt: skip


def one_by_one(draws: list[bool], rule: Sequential) -> int:
    """How many rollouts an observation gets whose k-th would be draws[k]: round after round, as the papers have it."""
    n = rule.rollouts
    while n < rule.most and (sum(draws[:n]) < rule.right or n - sum(draws[:n]) < rule.wrong):
        n = min(n + rule.rollouts, rule.most)
    return n


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3),
    st.integers(1, 16), st.integers(0, 99),
)  # fmt: skip
def test_rounds_end_when_enough_are_right_and_wrong(
    p: list[float], rollouts: int, right: int, wrong: int, most: int, seed: int
) -> None:
    rule = Sequential(rollouts=rollouts, right=right, wrong=wrong, most=most)
    draws = rng(seed, "draws").random((len(p), 40)) < np.array(p)[:, None]
    attempts = np.full(len(p), rollouts)
    for number in range(1, 100):
        wins = np.array([row[:n].sum() for row, n in zip(draws, attempts, strict=True)])
        further = rule.again(attempts, wins, number)
        assert (further >= 0).all()
        if not further.any():
            break
        attempts = attempts + further
    assert attempts.tolist() == [one_by_one(row.tolist(), rule) for row in draws]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.integers(0, 5))
def test_the_boundary_shares_the_rest_of_the_budget(wins: list[int], more: int) -> None:
    attempts = np.full(len(wins), 4)
    further = Boundary(more=more).again(attempts, np.array(wins), 1)
    boundary = [0 < w < 4 for w in wins]
    assert further.sum() == (more * len(wins) if any(boundary) else 0)
    assert not further[~np.array(boundary)].any()
    shares = further[np.array(boundary)]
    assert not len(shares) or shares.max() - shares.min() <= 1
    assert not Boundary(more=more).again(attempts, np.array(wins), 2).any()


def test_the_loop_draws_until_enough_are_right(tmp_path: Path) -> None:
    """What is always right gets one round, what never is gets all, and what is drawn is trained on."""
    play(tmp_path, "experiment=dart", *SCRIPTED, "allocator.most=12")
    run = RunDirectory(tmp_path)
    rollouts = run.iteration(1).rollouts()
    attempts, wins = Counter(r.position for r in rollouts), Counter(r.position for r in rollouts if r.correct)
    assert {attempts[p] for p in attempts if p % 3 == 0} == {4}
    assert {attempts[p] for p in attempts if p % 3 == 2} == {12}
    assert all(wins[p] >= 4 or attempts[p] == 12 for p in attempts)
    assert all(wins[p] - sum(r.correct for r in rollouts if r.position == p and r.attempt == max(
        s.attempt for s in rollouts if s.position == p)) < 4 for p in attempts)  # fmt: skip
    assert len({(r.position, r.attempt, r.sample) for r in rollouts}) == len(rollouts)
    taught = Counter(e.position for e in run.iteration(1).examples(list))
    assert all(n == min(wins[p], 4) for p, n in taught.items())
    assert max(taught.values()) == 4


def test_the_loop_asks_again_where_pre_samples_disagree(tmp_path: Path) -> None:
    play(tmp_path, "experiment=hs_star", *SCRIPTED)
    rollouts = RunDirectory(tmp_path).iteration(1).rollouts()
    first = {
        p: [r.correct for r in rollouts if r.position == p and r.attempt == 0] for p in {r.position for r in rollouts}
    }
    again = Counter(r.position for r in rollouts if r.attempt == 2)
    assert {len(draws) for draws in first.values()} == {4}
    assert set(again) == {p for p, draws in first.items() if 0 < sum(draws) < 4}
    assert sum(again.values()) == 4 * len(first)
    assert {r.attempt for r in rollouts} == {0, 2}

"""SPaCe's bandit: its sampling against the definition, its averages by hand, and the arms that each version chases."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.run.directory import RunDirectory
from star_loop.samplers.space import Space
from star_loop.seeding import rng
from tests.quiz import play
from tests.samplers.test_skill_it import SCRIPTED, visits_of

UNSOLVABLE, IMPROVING, MASTERED = 0, 1, 2


def simulate(bandit: Space, rounds: int = 60, budget: int = 60) -> tuple[np.ndarray, float]:
    """Share of the budget that each arm got, and the final ability on the one that training improves."""
    state, given_, ability = bandit.init(["a", "b", "c"]), np.zeros(3), 0.1
    for t in range(rounds):
        asked = np.floor(bandit.mass(state, rng(t, "bandit")) * budget + 0.5)
        wins = [0, round(ability * asked[IMPROVING]), asked[MASTERED]]
        state = bandit.learn(state, visits_of(asked.tolist(), wins))
        given_ += asked
        ability += (1 - ability) * 0.002 * wins[IMPROVING]
    return given_ / given_.sum(), ability


def test_version_1_locks_on_the_unsolvable_and_version_2_leaves_it() -> None:
    first, before = simulate(Space(utility="hard"))
    second, after = simulate(Space())
    assert first[UNSOLVABLE] > 0.7
    assert second[UNSOLVABLE] < first[UNSOLVABLE] - 0.2
    assert second[IMPROVING] > second[MASTERED]
    assert second[IMPROVING] > 2 * first[IMPROVING]
    assert after > before


def test_the_share_of_an_arm_is_its_probability_of_winning() -> None:
    """Two arms: P(θ_a > θ_b) is the normal distribution function of the difference of utilities."""
    state = {"pulls": np.array([3.0, 8.0]), "mean": np.array([0.2, 0.5]), "fast": np.zeros(2), "slow": np.zeros(2)}
    z = (0.5 - 0.2) / math.sqrt(1 / 4 + 1 / 9)
    expected = 0.5 * (1 + math.erf(z / math.sqrt(2)))
    bandit = Space(utility="hard", explore=0, draws=100_000)
    assert bandit.mass(state, rng(0))[0] == pytest.approx(expected, abs=0.01)
    assert Space(utility="hard", explore=1).mass(state, rng(0)) == pytest.approx([0.5, 0.5])


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(0, 1)), min_size=1, max_size=6))
def test_version_1_believes_the_mean_over_all_pulls(history: list[tuple[int, float]]) -> None:
    bandit = Space(utility="hard", batch=4)
    state = bandit.init(["a"])
    asked, won = 0, 0
    for n, share in history:
        wins = int(n * share)
        state = bandit.learn(state, visits_of([n], [wins]))
        asked, won = asked + n, won + wins
    assert state["mean"][0] == pytest.approx(won / asked)
    assert state["pulls"][0] == pytest.approx(asked / 4)


def test_averages_and_discounted_pulls_by_hand() -> None:
    bandit = Space(fast=0.5, slow=0.1, discount=0.9, batch=8)
    state = bandit.init(["a", "b"])
    for wins in (0, 8, 8):
        state = bandit.learn(state, visits_of([16, 0], [wins * 2, 0]))
    assert state["fast"].tolist() == pytest.approx([0.75, 0])
    assert state["slow"].tolist() == pytest.approx([0.19, 0])
    assert state["pulls"].tolist() == pytest.approx([2 * (1 + 0.9 + 0.81), 0])


def test_utilities_and_gates() -> None:
    state = {
        "pulls": np.array([9.0, 9, 9, 9, 1]), "mean": np.zeros(5),
        "fast": np.array([0.0, 0.4, 1.0, 0.0, 0.0]), "slow": np.array([0.0, 0.2, 1.0, 0.1, 0.0]),
    }  # fmt: skip
    # unsolvable: closed; improving: hard and moving; mastered: closed; just fallen: moving; not probed enough: open
    assert Space().utilities(state) == pytest.approx([0, 0.6 + 1, 0, 1 + 0.5, 1])
    assert Space(utility="progress").utilities(state) == pytest.approx([0, 1, 0, 0.5, 0])
    assert Space(utility="variance").utilities(state) == pytest.approx([0, 0.24, 0, 0, 0])


def test_the_loop_closes_what_it_has_mastered(tmp_path: Path) -> None:
    """Level 1 is always solved, level 2 three times in four, level 3 half the time."""
    play(tmp_path, "experiment=space", *SCRIPTED, "sampler.mixture.deviation=0.3", "iterations=4")
    run = RunDirectory(tmp_path)
    first, last = (run.iteration(t).metrics() for t in (1, 4))
    assert first["sampler/entropy"] > 0.95
    assert last["sampler/entropy"] < 0.9
    assert last["sampler/utility/level_1"] == 0
    assert last["sampler/asked/level_1"] < 1 / 4

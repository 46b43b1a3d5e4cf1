"""SEC and DUMP: the advantage of a group from its rollouts, one by one, and both bandits by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.samplers.advantage import Dump, Sec
from star_loop.samplers.grouped import Grouped
from star_loop.samplers.uniform import Uniform
from star_loop.seeding import rng
from tests.samplers.test_samplers import outcome_of, visit
from tests.samplers.test_skill_it import NAMES, skills, visits_of

rounds = st.lists(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 1)), min_size=3, max_size=3), max_size=6)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=12))
def test_a_groups_advantage_is_the_mean_over_its_questions_rollouts(asked: list[tuple[int, int]]) -> None:
    """Of each question (r - mean) / deviation over its 4 rollouts, and 0 where all are alike, as GRPO has it."""
    sampler = Grouped(mixture=Sec(rate=1), within=Uniform())
    codes = [code for code, _ in asked]
    columns = skills(*codes, 2)  # one more, so that there are three groups' names
    state = sampler.init(columns, rng(0))
    order, during = visit(sampler, state, 1, len(codes) + 1, len(codes) + 1)
    order = order[order < len(codes)]
    wins = np.array([asked[i][1] for i in order], np.int64)
    learned = sampler.learn(during, outcome_of(1, order, wins, attempts=4))
    for g, name in enumerate(learned["names"].tolist()):
        mine = [np.repeat([1.0, 0.0], [w, 4 - w]) for code, w in asked if NAMES[code] == name]
        parts = [np.abs(r - r.mean()).mean() / r.std() if r.std() else 0.0 for r in mine]
        assert learned["mixture/value"][g] == pytest.approx(np.mean(parts) if parts else 0.0)


@given(rounds, st.floats(0.1, 1), st.floats(0.1, 3))
def test_sec_is_boltzmann_over_an_exponential_average(history: list, rate: float, temperature: float) -> None:
    bandit, q = Sec(rate=rate, temperature=temperature), [0.0] * 3
    state = bandit.init(NAMES)
    for round_ in history:
        visits = visits_of([n for n, _ in round_], [0] * 3)
        state = bandit.learn(state, replace(visits, advantage=np.array([a for _, a in round_])))
        q = [rate * a + (1 - rate) * old if n else old for old, (n, a) in zip(q, round_, strict=True)]
    total = sum(math.exp(value / temperature) for value in q)
    assert bandit.mass(state, rng(0)) == pytest.approx([math.exp(value / temperature) / total for value in q])


@given(rounds)
def test_dump_adds_what_is_not_known_yet(history: list) -> None:
    bandit, latest, asked = Dump(), [0.0] * 3, [0] * 3
    state = bandit.init(NAMES)
    for round_ in history:
        visits = visits_of([n for n, _ in round_], [0] * 3)
        state = bandit.learn(state, replace(visits, advantage=np.array([a for _, a in round_])))
        latest = [a if n else old for old, (n, a) in zip(latest, round_, strict=True)]
        asked = [old + n for old, (n, _) in zip(asked, round_, strict=True)]
    bounds = [a + math.sqrt(2 * math.log(sum(asked) + 1) / (n + 1)) for a, n in zip(latest, asked, strict=True)]
    weights = [math.exp((bound - max(bounds)) / 0.1) for bound in bounds]
    assert bandit.mass(state, rng(0)) == pytest.approx([weight / sum(weights) for weight in weights])

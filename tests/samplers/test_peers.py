"""Peers: its order and its tallies against the definition, by dictionaries and loops."""

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from star_loop.samplers.peers import Peers, interleaved, kind
from star_loop.seeding import rng
from tests.samplers.test_samplers import columns, outcome_of, visit

histories = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=6, max_size=6), min_size=1, max_size=5
)


def naive_kind(attempts: int, wins: int) -> tuple[int, int]:
    return int(math.log2(1 + attempts - wins)), int(math.log2(1 + wins))


def naive_order(own: list[list[int]], tally: dict[tuple[int, int], list[float]], seed: int, t: int) -> list[int]:
    draws = rng(seed, "sampler", t)
    kinds = [naive_kind(*counts) for counts in own]
    p = draws.beta([1 + tally[k][0] for k in kinds], [1 + tally[k][1] for k in kinds])
    chosen = sorted(range(len(own)), key=lambda i: -(p[i] * (1 - p[i])))
    order: list[int] = []
    for one, other in zip(chosen, draws.permutation(len(own)).tolist(), strict=True):
        order += [i for i in dict.fromkeys((one, other)) if i not in order]
    return order


@given(histories)
def test_the_order_and_the_tallies_are_those_of_the_definition(history: list) -> None:
    """Some are visited in each iteration; what they became is told of the kind that they were of before."""
    sampler = Peers()
    state, own = sampler.init(columns(6), rng(0)), [[0, 0] for _ in range(6)]
    tally: dict[tuple[int, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for t, counts in enumerate(history, start=1):
        order, during = visit(sampler, state, t, 2, 6)
        assert order.tolist() == naive_order(own, tally, 0, t)
        visited = order[: 1 + t % 6]
        wins, losses = (np.array([counts[i][side] for i in visited]) for side in (0, 1))
        outcome = replace(outcome_of(t, visited, wins), attempts=wins + losses)
        state = sampler.learn(during, outcome)
        for both in tally.values():
            both[:] = [both[0] / 2, both[1] / 2]
        for i, w, f in zip(visited.tolist(), wins.tolist(), losses.tolist(), strict=True):
            both = tally[naive_kind(*own[i])]
            both[:] = [both[0] + w, both[1] + f]
        for i, w, f in zip(visited.tolist(), wins.tolist(), losses.tolist(), strict=True):
            own[i] = [own[i][0] + w + f, own[i][1] + w]
        assert [state["attempts"].tolist(), state["wins"].tolist()] == [
            list(column) for column in zip(*own, strict=True)
        ]
        for k, (right, wrong) in tally.items():
            assert (state["right"][k], state["wrong"][k]) == (right, wrong)


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_kinds_are_exact_logarithms(wins: int, losses: int) -> None:
    found = kind(np.array([wins + losses]), np.array([wins]))
    assert [int(part[0]) for part in found] == [min((1 + n).bit_length() - 1, 31) for n in (losses, wins)]


@given(st.integers(1, 40), st.integers(0, 99))
def test_every_second_place_is_anothers(n: int, seed: int) -> None:
    """Every prefix of 2m places holds the first m of both orders."""
    first, second = (rng(seed, name).permutation(n) for name in ("first", "second"))
    order = interleaved(first, second).tolist()
    assert sorted(order) == list(range(n))
    for m in range(n + 1):
        assert set(first[:m].tolist()) | set(second[:m].tolist()) == set(order[: len({*first[:m], *second[:m]})])


def test_what_never_revives_sinks_and_what_does_comes_back() -> None:
    """A third is solved half the time, a third always, and a third never: the chosen half leaves the last alone."""
    sampler, n = Peers(), 300
    state = sampler.init(columns(n), rng(0))
    p, asked = np.repeat([0.5, 1.0, 0.0], n // 3), np.zeros(3)
    for t in range(1, 16):
        order, during = visit(sampler, state, t, 60, 60)
        wins = rng(t, "luck").random(60) < p[order]
        state = sampler.learn(during, outcome_of(t, order, wins.astype(np.int64), attempts=1))
        if t > 10:
            asked += np.bincount(order // 100, minlength=3)
    shares = asked / asked.sum()
    assert shares[0] > 0.5
    assert shares[2] < 0.3

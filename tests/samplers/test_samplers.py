"""Laws of every sampler under `conf/sampler`, and AdaSTaR against the paper's heap."""

import heapq
import io
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from star_loop.config.build import build
from star_loop.config.component import Component
from star_loop.config.hydra import CONF
from star_loop.protocols import BootstrapError, Sampler
from star_loop.records import Outcome, State
from star_loop.samplers.adastar import AdaStar
from star_loop.seeding import rng
from tests.quiz import QUIZ, configure

SAMPLERS = sorted(path.stem for path in (CONF / "sampler").glob("*.yaml"))


@pytest.fixture(scope="module", params=SAMPLERS)
def sampler(request: pytest.FixtureRequest) -> Sampler:
    return build(configure(*QUIZ, f"sampler={request.param}")).sampler


def columns(n: int) -> dict[str, np.ndarray]:
    return {name: np.arange(n, dtype=np.int32) % 3 for name in ("skill", "level", "length")}


def outcome_of(t: int, positions: np.ndarray, wins: np.ndarray, attempts: int = 2, **extra: np.ndarray) -> Outcome:
    """Every position attempted `attempts` times without a hint; the first try won wherever any did."""
    full = np.full(len(positions), attempts, np.int64)
    none = np.zeros(len(positions), np.int64)
    first = (wins > 0).astype(np.int64)
    values = {
        "attempts": full, "wins": wins, "hinted_attempts": none, "hinted_wins": none,
        "first_attempts": none + 1, "first_wins": first, **extra,
    }  # fmt: skip
    return Outcome(iteration=t, positions=positions, metrics={"train/token_accuracy": 0.5}, **values)


def visit(sampler: Sampler, state: State, t: int, chunk: int, want: int) -> tuple[np.ndarray, State]:
    """The first `want` positions of iteration t, proposed `chunk` at a time."""
    seen: list[int] = []
    while len(seen) < want:
        proposal, state = sampler.propose(state, chunk, rng(0, "sampler", t))
        if not len(proposal.positions):
            break
        seen += proposal.positions.tolist()
    return np.array(seen[:want], np.int64), state


histories = st.tuples(
    st.integers(1, 40),  # observations
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 2**20)), max_size=6),  # visits and luck of each iteration
)


def play(sampler: Sampler, history, chunk: int, each: Callable[[State, Outcome], None] = lambda *_: None) -> State:
    n, iterations = history
    state = sampler.init(columns(n), rng(0, "sampler", 0))
    for t, (want, luck) in enumerate(iterations, start=1):
        positions, during = visit(sampler, state, t, chunk, want)
        wins = 1 + rng(luck, "wins").integers(0, 2, len(positions))  # everything solved: nothing ever freezes
        outcome = outcome_of(t, positions, wins)
        each(during, outcome)
        state = sampler.learn(during, outcome)
    return state


def equal(a: State, b: State) -> bool:
    return set(a) == set(b) and all(np.array_equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


@given(histories, st.integers(1, 9))
def test_law_proposals_are_known_distinct_and_at_most_n(sampler: Sampler, history, n: int) -> None:
    state = play(sampler, history, chunk=n)
    seen: list[int] = []
    while True:
        proposal, state = sampler.propose(state, n, rng(0, "sampler", 99))
        if not len(proposal.positions):
            break
        assert len(proposal.positions) <= n
        seen += proposal.positions.tolist()
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(range(history[0]))


@given(histories, st.integers(1, 9))
def test_law_pure(sampler: Sampler, history, n: int) -> None:
    state = play(sampler, history, chunk=n)
    frozen = {name: array.copy() for name, array in state.items()}
    first, second = (sampler.propose(state, n, rng(0, "sampler", 99)) for _ in range(2))
    assert np.array_equal(first[0].positions, second[0].positions)
    assert equal(first[1], second[1])
    assert equal(state, frozen)
    during = {name: array.copy() for name, array in first[1].items()}
    outcome = outcome_of(99, first[0].positions, np.ones(len(first[0].positions), np.int64))
    sampler.learn(first[1], outcome)
    assert equal(first[1], during)


@given(histories, st.integers(1, 9), st.integers(1, 9))
def test_law_the_state_does_not_depend_on_the_size_of_waves(sampler: Sampler, history, a: int, b: int) -> None:
    assert equal(play(sampler, history, chunk=a), play(sampler, history, chunk=b))


def with_numbers(part: Component, number: int) -> Iterator[Component]:
    """The same with this number for each whole one of its own and of its parts, where it is not refused."""
    for name, value in part:
        if isinstance(value, Component):
            yield from (part.model_copy(update={name: changed}) for changed in with_numbers(value, number))
        elif type(value) is int:
            try:
                changed = type(part).model_validate({**dict(part), name: number})
            except ValidationError:
                continue
            yield changed


@pytest.mark.parametrize("number", [2**31, 2**63, 10**30])
def test_law_a_whole_number_is_refused_or_works(sampler: Sampler, number: int) -> None:
    for changed in with_numbers(sampler, number):
        play(changed, (7, [(5, 1), (7, 2)]), chunk=3)


@given(histories)
def test_law_the_stored_state_survives_npz_and_has_no_cursor(sampler: Sampler, history) -> None:
    state = play(sampler, history, chunk=5)
    assert set(state) == set(sampler.init(columns(history[0]), rng(0)))
    sink = io.BytesIO()
    np.savez(sink, **state)
    sink.seek(0)
    with np.load(sink, allow_pickle=False) as loaded:
        assert equal(dict(loaded), state)


@given(histories)
def test_law_metrics_are_finite_numbers(sampler: Sampler, history) -> None:
    def each(state: State, outcome: Outcome) -> None:
        assert all(np.isfinite(value) for value in sampler.metrics(state, outcome).values())

    play(sampler, history, 5, each)


# ------------------------------------------------------------------------------------------------------- AdaSTaR


def naive_adastar(n: int, iterations: list[tuple[np.ndarray, float]], ties: list[np.ndarray], power: float) -> list:
    """Algorithm 1 with a heap, as printed: peek along the order, then pop and push back ⌊m·α^p⌋ of it."""
    keys = dict.fromkeys(range(n), (0, 0.0))
    trace = []
    for t, (win, alpha) in enumerate(iterations, start=1):
        heap = [(*keys[i], ties[t - 1][i], i) for i in range(n)]
        heapq.heapify(heap)
        order = [heapq.heappop(heap)[-1] for _ in range(n)]
        m = len(win)
        for i, w in list(zip(order[:m], win, strict=True))[: int(m * alpha**power + 1e-9)]:
            keys[i] = (t, float(np.float32(w)))
        trace.append((order[:m], dict(keys)))
    return trace


@settings(max_examples=200)
@given(
    st.integers(1, 25),
    st.lists(st.tuples(st.integers(1, 25), st.integers(0, 2**20)), min_size=1, max_size=6),
    st.sampled_from([0.0, 1.0, 2.0, 3.0]),
)
def test_adastar_equals_the_papers_heap(n: int, history: list[tuple[int, int]], power: float) -> None:
    sampler = AdaStar(power=power, patience=1000, win_rate="unhinted")
    state = sampler.init(columns(n), rng(0))
    wins = [rng(luck).integers(0, 3, min(want, n)) for want, luck in history]
    wins = [np.maximum(w, np.arange(len(w)) == 0) for w in wins]  # α > 0: a frozen order is jittered on purpose
    if any(int(len(w) * np.mean(w > 0) ** power + 1e-9) == 0 for w in wins):
        return
    ties = [rng(0, "sampler", t).random(n) for t in range(1, len(history) + 1)]
    naive = naive_adastar(n, [(w / 2, float(np.mean(w > 0))) for w in wins], ties, power)
    for t, (won, (order, keys)) in enumerate(zip(wins, naive, strict=True), start=1):
        positions, during = visit(sampler, state, t, 4, len(won))
        assert positions.tolist() == order
        state = sampler.learn(during, outcome_of(t, positions, won))
        assert [(int(a), float(b)) for a, b in zip(state["last"], state["win"], strict=True)] == list(keys.values())


def test_property_1_power_0_commits_every_visit() -> None:
    """AdaD: all m commit, whatever α."""
    sampler = AdaStar(power=0)
    state = sampler.init(columns(9), rng(0))
    positions, during = visit(sampler, state, 1, 9, 6)
    state = sampler.learn(during, outcome_of(1, positions, np.zeros(6, np.int64)))
    assert sorted(np.flatnonzero(state["last"] == 1)) == sorted(positions)


@given(st.integers(1, 30), st.integers(1, 30))
def test_property_2_with_alpha_1_nothing_is_visited_twice_before_all_once(n: int, m: int) -> None:
    sampler = AdaStar()
    state = sampler.init(columns(n), rng(0))
    visits = np.zeros(n, int)
    for t in range(1, 6):
        positions, during = visit(sampler, state, t, 7, m)
        for position in positions:
            assert visits[position] == 0 or visits.min() > 0
            visits[position] += 1
        state = sampler.learn(during, outcome_of(t, positions, np.ones(len(positions), np.int64)))


@given(st.integers(1, 30), st.integers(0, 2**20), st.floats(0, 4))
def test_property_3_the_committed_set_is_a_prefix_of_the_order(m: int, luck: int, power: float) -> None:
    sampler = AdaStar(power=power, patience=9, win_rate="unhinted")
    state = sampler.init(columns(30), rng(0))
    positions, during = visit(sampler, state, 1, 5, m)
    outcome = outcome_of(1, positions, rng(luck).integers(0, 2, m))
    committed = state_after = sampler.learn(during, outcome)["last"] == 1
    k = int(committed.sum())
    assert set(np.flatnonzero(state_after)) == set(positions[:k])
    assert k == int(m * outcome.accepted.mean() ** power + 1e-9)


def test_alpha_squared_of_whole_numbers_is_exact() -> None:
    sampler = AdaStar(power=2)
    state = sampler.init(columns(100), rng(0))
    positions, during = visit(sampler, state, 1, 100, 100)
    wins = np.array([1] * 50 + [0] * 50)
    assert np.count_nonzero(sampler.learn(during, outcome_of(1, positions, wins))["last"]) == 25


@pytest.mark.parametrize(
    "priority, expected",
    [("last_then_win", [3, 2, 1, 0]), ("last", None), ("win_then_last", [3, 1, 0, 2])],
)
def test_the_three_priorities(priority: str, expected: list[int] | None) -> None:
    state = {
        "last": np.array([5, 5, 2, 1], np.int32),
        "win": np.array([0.6, 0.5, 0.9, 0.2], np.float32),
        "frozen": np.zeros(1, np.int32),
    }
    orders = [AdaStar(priority=priority).propose(state, 4, rng(s))[0].positions.tolist() for s in range(20)]
    if expected is not None:
        assert all(order == expected for order in orders)
    else:  # win rates do not matter: equals are in random order
        assert {tuple(order) for order in orders} == {(3, 2, 0, 1), (3, 2, 1, 0)}


@pytest.mark.parametrize("priority", ["last_then_win", "last", "win_then_last"])
def test_an_order_of_many_is_that_of_a_whole_sort(priority: str) -> None:
    """Beyond what is sorted at first."""
    n, luck = 300_000, rng(0, "beliefs")
    last, win = luck.integers(0, 3, n, np.int32), luck.integers(0, 4, n).astype(np.float32) / 3
    state = {"last": last, "win": win, "frozen": np.zeros(1, np.int32)}
    tie = rng(0, "sampler", 1).random(n)
    keys = {"last_then_win": (tie, win, last), "last": (tie, last), "win_then_last": (tie, last, win)}
    read, _ = visit(AdaStar(priority=priority), state, 1, 50_000, n)
    assert read.tolist() == np.lexsort(keys[priority]).tolist()


def test_ties_are_broken_at_random_and_by_the_seed() -> None:
    sampler = AdaStar()
    state = sampler.init(columns(50), rng(0))
    a, b, again = (sampler.propose(state, 50, rng(s))[0].positions.tolist() for s in (1, 2, 1))
    assert a == again != b
    assert a != sorted(a)


def test_the_win_rate_counts_unhinted_attempts_or_the_references_three_values() -> None:
    positions = np.arange(3)
    outcome = Outcome(
        iteration=1, positions=positions,
        attempts=np.array([1, 1, 1]), wins=np.array([1, 0, 0]),
        hinted_attempts=np.array([0, 1, 1]), hinted_wins=np.array([0, 1, 0]),
        first_attempts=np.array([1, 1, 1]), first_wins=np.array([1, 0, 0]),
    )  # fmt: skip
    state = AdaStar().init(columns(3), rng(0))
    assert AdaStar(power=0, win_rate="unhinted").learn(state, outcome)["win"].tolist() == [1, 0, 0]
    assert AdaStar(power=0).learn(state, outcome)["win"].tolist() == [1, 0.5, 0]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30), st.booleans())
def test_win_rates_are_those_of_the_authors_statistics(solved: list[int], hinted: bool) -> None:
    """Their loop: a try adds 1 to `total`, a right one to `win` too; a failed first try is followed by a second."""
    first, second = np.array([s == 0 for s in solved]), np.array([s == 1 for s in solved])
    tries, none = 1 + ~first, np.zeros(len(solved), np.int64)
    wins = {"attempts": tries, "wins": first | second, "hinted_attempts": none, "hinted_wins": none}
    if hinted:
        wins = {"attempts": none + 1, "wins": first, "hinted_attempts": none + ~first, "hinted_wins": second}
    outcome = Outcome(
        iteration=1, positions=np.arange(len(solved)), first_attempts=none + 1, first_wins=first.astype(np.int64),
        **{name: np.asarray(count, np.int64) for name, count in wins.items()},
    )  # fmt: skip
    state = AdaStar(power=0).learn(AdaStar().init(columns(len(solved)), rng(0)), outcome)
    assert state["win"].tolist() == ((first | second) / tries).tolist()


def test_the_three_alphas() -> None:
    positions = np.arange(4)
    hinted = {"hinted_attempts": np.array([0, 0, 1, 1]), "hinted_wins": np.array([0, 0, 1, 0])}
    outcome = outcome_of(1, positions, np.array([1, 1, 0, 0]), attempts=1, **hinted)
    state = AdaStar().init(columns(4), rng(0))
    alphas = {
        a: AdaStar(alpha=a).metrics(state, outcome)["alpha"] for a in ("accepted", "cold", "train_token_accuracy")
    }
    assert alphas == {"accepted": 0.75, "cold": 0.5, "train_token_accuracy": 0.5}


def test_a_frozen_order_is_jittered_and_then_given_up() -> None:
    sampler = AdaStar(patience=3)
    fresh = sampler.init(columns(60), rng(0))
    state = {**fresh, "last": np.arange(60, dtype=np.int32)}  # a strict order: nothing to break by chance
    orders = []
    for t in (1, 2):
        positions, during = visit(sampler, state, t, 60, 60)
        orders.append(positions.tolist())
        state = sampler.learn(during, outcome_of(t, positions, np.zeros(60, np.int64)))
    assert orders[0] == list(range(60))
    assert orders[1] != orders[0]
    positions, during = visit(sampler, state, 3, 60, 60)
    with pytest.raises(BootstrapError, match="committed no observation 3 iterations in a row"):
        sampler.learn(during, outcome_of(3, positions, np.zeros(60, np.int64)))


def test_token_accuracy_needs_a_trainer_that_reports_it() -> None:
    sampler = AdaStar(alpha="train_token_accuracy")
    state = sampler.init(columns(2), rng(0))
    blind = Outcome(
        iteration=1, positions=np.arange(2), **{name: np.ones(2, np.int64) for name in
        ("attempts", "wins", "hinted_attempts", "hinted_wins", "first_attempts", "first_wins")}
    )  # fmt: skip
    with pytest.raises(ValueError, match="needs a trainer that reports token_accuracy"):
        sampler.learn(state, blind)

"""Groups and their merging; Skill-It against Algorithm 1 written out, and in the loop."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.protocols import BootstrapError
from star_loop.records import Example, Selection
from star_loop.run.directory import RunDirectory
from star_loop.samplers.adastar import AdaStar
from star_loop.samplers.cures import Cures
from star_loop.samplers.grouped import Grouped, clock, label
from star_loop.samplers.mixture import Mixture, Visits
from star_loop.samplers.order import ascending, following, smallest
from star_loop.samplers.skill_it import SkillIt, Stratified
from star_loop.samplers.space import Space
from star_loop.samplers.uniform import Uniform
from star_loop.seeding import rng
from star_loop.selectors.mixture import Mass
from tests.quiz import play
from tests.samplers.test_samplers import outcome_of, visit
from tests.test_policies import candidate

NAMES = ["a", "b", "c"]


def visits_of(visited: list[int], wins: list[int], metrics: dict[str, float] | None = None) -> Visits:
    """One rollout of each visited observation."""
    asked, won = np.array(visited, np.int64), np.array(wins, np.int64)
    names = NAMES[: len(visited)]
    return Visits(
        names=names, visited=asked, attempts=asked, wins=won, accepted=won, advantage=np.zeros(len(asked)),
        metrics=metrics or {},
    )  # fmt: skip


def skills(*codes: int) -> dict[str, np.ndarray]:
    """Columns of observations with these skills, all of level 1."""
    return {
        "skill": np.array(codes, np.int32), "level": np.ones(len(codes), np.int32),
        "length": np.arange(len(codes), dtype=np.int32), "skill_names": np.array(NAMES[: max(codes) + 1]),
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------- groups


def test_groups_are_named_after_their_values() -> None:
    columns = {
        "skill": np.array([0, 1, 0, -1]), "level": np.array([2, 2, 3, -1]), "skill_names": np.array(["add", "mul"]),
    }  # fmt: skip
    group, names = label(columns, ("skill", "level"))
    assert [names[g] for g in group] == ["add/level_2", "mul/level_2", "add/level_3", "no_skill/no_level"]
    group, names = label(columns, ("level",))
    assert [names[g] for g in group] == ["level_2", "level_2", "level_3", "no_level"]
    with pytest.raises(ValueError, match="there is no column 'colour', found"):
        label(columns, ("colour",))


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=5),
    st.lists(st.floats(0, 1), min_size=5, max_size=5),
    st.integers(0, 99),
)
def test_every_prefix_of_a_merged_order_holds_the_shares(sizes: list[int], weights: list[float], seed: int) -> None:
    k = len(sizes)
    mass = np.array(weights[:k]) + 1e-3
    mass /= mass.sum()
    ends = np.cumsum(sizes)
    queues = [np.arange(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    queued, times = clock(queues, mass, rng(seed).random(k))
    order = queued[np.argsort(times)]
    assert sorted(order.tolist()) == list(range(int(ends[-1])))
    group = np.searchsorted(ends, order, side="right")
    for g in range(k):
        assert order[group == g].tolist() == queues[g].tolist()
    for n in range(len(order) + 1):
        counts = np.bincount(group[:n], minlength=k)
        if (counts == np.array(sizes)).any():
            break  # a queue is used up: the others share what follows
        assert (np.abs(counts - mass * n) <= 1 + mass * k + 1e-6).all()


def test_a_group_without_mass_is_left_out() -> None:
    assert clock([np.array([0, 1]), np.array([2])], np.array([0.0, 1.0]), np.zeros(2))[0].tolist() == [2]
    assert clock([np.array([], np.int64)], np.array([1.0]), np.zeros(1))[0].tolist() == []


@given(st.lists(st.floats(-3, 3).map(lambda x: round(x, 1)), max_size=60), st.integers(1, 9), st.integers(1, 40))
def test_an_order_that_is_sorted_as_far_as_it_is_read_is_the_stable_one(keys: list, n: int, head: int) -> None:
    """Ties included, whatever is read at once and sorted at once."""
    values, whole = np.array(keys), np.argsort(keys, kind="stable").tolist()
    state, read = ascending(values), []
    while True:
        items, state = following(state, n)
        read += items.tolist()
        if not len(items):
            break
    assert read == whole
    assert smallest([values], head).tolist()[:head] == whole[:head]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1).map(lambda x: round(x, 1)), st.integers(0, 3)), max_size=60),
    st.integers(1, 40),
)
def test_an_order_by_several_keys_is_the_lexicographic_one(rows: list[tuple], m: int) -> None:
    keys = [np.array([row[k] for row in rows]) for k in range(3)]
    found, whole = smallest(keys, m).tolist(), np.lexsort(keys[::-1]).tolist()
    assert found == whole[: len(found)]
    assert len(found) >= min(m, len(rows))


def test_groups_are_read_as_far_as_they_are_asked() -> None:
    """The same order as that of whole groups merged at once, beyond what is sorted at first."""
    codes = rng(0).choice(3, 300_000, p=[0.1, 0.3, 0.6])
    sampler = Grouped(mixture=SkillIt(), within=AdaStar())
    state = sampler.init(skills(*codes.tolist()), rng(0))
    draws = rng(0, "sampler", 1)
    inside = [np.flatnonzero(codes == g) for g in range(3)]
    queues = [members[np.argsort(draws.random(len(members)))] for members in inside]
    starts = draws.random(3)
    mass = SkillIt().mass({key.removeprefix("mixture/"): value for key, value in state.items()}, draws)
    queued, times = clock(queues, mass, starts)
    read, _ = visit(sampler, state, 1, 50_000, 300_000)
    assert read.tolist() == queued[np.argsort(times, kind="stable")].tolist()


def test_groups_can_be_left_out() -> None:
    columns = skills(0, 1, 2, 0, 1, 2)
    sampler = Grouped(mixture=Stratified(), within=Uniform(), without=("b",))
    positions, during = visit(sampler, sampler.init(columns, rng(0)), 1, 2, 6)
    assert sorted(positions.tolist()) == [0, 2, 3, 5]
    assert during["mass"].tolist() == [0.5, 0, 0.5]
    alone = Space(utility="variance", explore=0, deviation=0)  # all mass on b: the others share it
    state = Grouped(mixture=alone, within=Uniform(), without=("b",)).init(columns, rng(0)) | {
        "mixture/fast": np.array([0.0, 0.5, 0.0])
    }
    _, during = visit(Grouped(mixture=alone, within=Uniform(), without=("b",)), state, 1, 2, 6)
    assert during["mass"].tolist() == [0.5, 0, 0.5]
    for wrong, message in ((("d",), "there is no group 'd'"), (("a", "b", "c"), "no group is left")):
        with pytest.raises(ValueError, match=message):
            Grouped(mixture=Stratified(), within=Uniform(), without=wrong).init(columns, rng(0))


@pytest.mark.parametrize("within", [Uniform(), AdaStar(), Cures()], ids=lambda s: type(s).__name__)
def test_one_group_is_as_good_as_none(within) -> None:
    """The same orders and the same beliefs as the inner sampler alone."""
    columns = skills(*[0] * 20)
    alone, grouped = within, Grouped(mixture=Stratified(), within=within)
    beliefs, states = alone.init(columns, rng(0)), grouped.init(columns, rng(0))
    for t in (1, 2, 3):
        (order, during), (other, within_group) = (
            visit(s, b, t, 6, 12) for s, b in ((alone, beliefs), (grouped, states))
        )
        assert order.tolist() == other.tolist()
        outcome = outcome_of(t, order, (order % 3 > 0).astype(np.int64))
        beliefs, states = alone.learn(during, outcome), grouped.learn(grouped.observe(within_group, outcome), outcome)
        assert all(np.array_equal(beliefs[name], states[f"0/{name}"]) for name in beliefs)


def test_within_groups_adastar_has_alpha_and_m_of_each_group() -> None:
    """Group a is solved always and commits all of its visits; group b half the time and commits a quarter."""
    columns = skills(*[0, 1] * 8)
    sampler = Grouped(mixture=Stratified(), within=AdaStar())
    positions, during = visit(sampler, sampler.init(columns, rng(0)), 1, 16, 16)
    rank = {p: r for r, p in enumerate(positions[positions % 2 == 1])}
    wins = np.array([1 if p % 2 == 0 else rank[p] % 2 for p in positions])
    outcome = outcome_of(1, positions, wins)
    figures, state = sampler.metrics(during, outcome), sampler.learn(during, outcome)
    assert (figures["a/alpha"], figures["a/m"], figures["a/committed"]) == (1.0, 8.0, 8.0)
    assert (figures["b/alpha"], figures["b/m"], figures["b/committed"]) == (0.5, 8.0, 2.0)
    assert [int((state[f"{g}/last"] == 1).sum()) for g in (0, 1)] == [8, 2]


def test_a_group_that_gives_up_stops_the_loop_only_if_all_do(caplog: pytest.LogCaptureFixture) -> None:
    sampler = Grouped(mixture=Stratified(), within=AdaStar(patience=1))
    positions, during = visit(sampler, sampler.init(skills(0, 1), rng(0)), 1, 2, 2)
    state = sampler.learn(during, outcome_of(1, positions, (positions == 0).astype(np.int64)))
    assert (state["0/last"].tolist(), state["1/last"].tolist()) == ([1], [0])
    assert "group b: nothing to learn from" in caplog.text
    with pytest.raises(BootstrapError, match="committed no observation"):
        sampler.learn(during, outcome_of(1, positions, np.zeros(2, np.int64)))


# ---------------------------------------------------------------------------------------------------- mixtures


@pytest.mark.parametrize("mixture", [Stratified(), SkillIt(), SkillIt(graph="complete"), Space(),
                                     *(Space(utility=u) for u in ("hard", "progress", "variance"))], ids=str)  # fmt: skip
@given(st.lists(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 1)), min_size=3, max_size=3), max_size=5))
def test_law_mass_is_a_distribution_and_mixtures_are_pure(mixture: Mixture, history) -> None:
    state = mixture.init(NAMES)
    for groups in history:
        visits = visits_of([n for n, _ in groups], [int(n * share) for n, share in groups])
        before = {name: array.copy() for name, array in state.items()}
        learned, again = mixture.learn(state, visits), mixture.learn(state, visits)
        assert all(np.array_equal(learned[name], again[name]) for name in learned)
        assert all(np.array_equal(before[name], state[name]) for name in before)
        assert {n: (a.dtype, a.shape) for n, a in learned.items()} == {n: (a.dtype, a.shape) for n, a in state.items()}
        assert all(np.isfinite(v) for v in mixture.metrics(learned, visits).values())
        state = learned
    mass = mixture.mass(state, rng(0))
    assert mass.shape == (3,)
    assert (mass >= 0).all()
    assert mass.sum() == pytest.approx(1)


# ----------------------------------------------------------------------------------------------------- Skill-It


def naive_skill_it(a: list[list[float]], losses: list[list[float]], eta: float, window: int) -> list[float]:
    """Algorithm 1, by hand: the mixture after these rounds of losses."""
    k = len(a)
    rounds = losses[-window:] if losses else [[1.0] * k]
    exponents = [eta * sum(a[i][j] * round_[j] for round_ in rounds for j in range(k)) for i in range(k)]
    total = sum(math.exp(e) for e in exponents)
    return [math.exp(e) / total for e in exponents]


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=3, max_size=3),
    st.lists(st.lists(st.integers(0, 10), min_size=3, max_size=3), max_size=6),
    st.floats(0, 3),
    st.integers(1, 4),
)
def test_the_mixture_is_algorithm_1(a: list, wins: list, eta: float, window: int) -> None:
    a[0][0] = 1.0  # the largest edge, so scaling changes nothing
    graph = {i: dict(zip(NAMES, row, strict=True)) for i, row in zip(NAMES, a, strict=True)}
    mixture = SkillIt(eta=eta, window=window, graph=graph, floor=0, yield_cap=1)
    state = mixture.init(NAMES)
    for won in wins:
        state = mixture.learn(state, visits_of([10] * 3, won))
    losses = [[1 - w / 10 for w in won] for won in wins]
    assert mixture.mass(state, rng(0)) == pytest.approx(naive_skill_it(a, losses, eta, window))


@given(st.lists(st.integers(0, 10), min_size=3, max_size=3))
def test_a_complete_graph_is_uniform_and_the_identity_is_monotone_in_the_loss(wins: list[int]) -> None:
    for graph in ("complete", "identity"):
        mixture = SkillIt(graph=graph, yield_cap=1)
        state = mixture.learn(mixture.init(NAMES), visits_of([10] * 3, wins))
        p = mixture.mass(state, rng(0))
        if graph == "complete":
            assert p == pytest.approx([1 / 3] * 3)
        else:
            assert all((p[i] - p[j]) * (wins[j] - wins[i]) >= 0 for i in range(3) for j in range(3))


def test_a_prerequisite_of_what_is_wrong_gains_mass() -> None:
    graph = {"a": {"a": 1, "c": 1}, "b": {"b": 1}, "c": {"c": 1}}
    mixture = SkillIt(graph=graph, eta=2, yield_cap=1)
    p = mixture.mass(mixture.learn(mixture.init(NAMES), visits_of([10] * 3, [10, 10, 0])), rng(0))
    assert p[0] == pytest.approx(p[2])
    assert p[0] > p[1]


def test_only_target_skills_count_and_negative_edges_do_not() -> None:
    graph = {"a": {"b": 2.0}, "b": {"b": 4.0, "a": 9.0}, "c": {"b": -1.0}}
    state = SkillIt(graph=graph, targets=("b",)).init(NAMES)
    assert state["graph"].tolist() == [[0, 0.5, 0], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("wrong", [{"targets": ("d",)}, {"graph": {"d": {"a": 1.0}}}, {"graph": {"a": {"d": 1.0}}}])
def test_an_unknown_skill_is_named(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"there is no group 'd', found \['a', 'b', 'c'\]"):
        SkillIt(**wrong).init(NAMES)


@given(st.lists(st.integers(3, 10), min_size=3, max_size=3))
def test_what_is_asked_times_its_yield_is_what_was_wanted(wins: list[int]) -> None:
    mixture = SkillIt(yield_cap=4)
    state = mixture.learn(mixture.init(NAMES), visits_of([10] * 3, wins))
    kept = mixture.mass(state, rng(0)) * np.array(wins) / 10
    assert kept / kept.sum() == pytest.approx(mixture.mixture(state))


def test_the_correction_is_capped() -> None:
    mixture = SkillIt(eta=0, yield_cap=4)
    state = mixture.learn(mixture.init(NAMES), visits_of([10] * 3, [0, 10, 10]))
    assert mixture.mass(state, rng(0)) == pytest.approx([4 / 6, 1 / 6, 1 / 6])


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=2, max_size=6))
def test_algorithm_1_weighs_the_losses_before_each_round(accuracies: list[list[float]]) -> None:
    """Round t goes from f_t to f_(t+1), and p_(t+1) knows f_t; `validation_after` knows f_(t+1)."""
    for loss, known in (("validation", accuracies[:-1]), ("validation_after", accuracies[1:])):
        mixture = SkillIt(loss=loss, eta=0.7, window=3, floor=0, yield_cap=1)
        state = mixture.init(NAMES)
        for before, after in pairwise(accuracies):
            figures = {f"before/validation/{name}": a for name, a in zip(NAMES, before, strict=True)}
            figures |= {f"validation/{name}": a for name, a in zip(NAMES, after, strict=True)}
            state = mixture.learn(state, visits_of([1, 1, 1], [0, 0, 0], figures))
        losses = [[1 - a for a in row] for row in known]
        assert mixture.mass(state, rng(0)) == pytest.approx(naive_skill_it(np.eye(3).tolist(), losses, 0.7, 3))


def test_a_skill_without_validation_observations_is_named() -> None:
    mixture = SkillIt(loss="validation_after")
    with pytest.raises(ValueError, match="validation_after needs validation/c, and the validation split has no such"):
        mixture.learn(mixture.init(NAMES), visits_of([1, 1, 1], [0, 0, 0], {"validation/a": 0.9, "validation/b": 0.5}))


# ----------------------------------------------------------------------------------------------------- the loop

SCRIPTED = ("model=scripted", "generator=scripted", "trainer=scripted", "trainer.rate=0", "task.n=120",
            "generator.table=[1.0,0.75,0.5]", "schedule.steps=15", "schedule.wave=12", "sampler.by=[level]")  # fmt: skip


def test_the_loop_asks_more_of_what_it_gets_wrong(tmp_path: Path) -> None:
    play(tmp_path, "experiment=skill_it", *SCRIPTED, "sampler.mixture.loss=train", "sampler.mixture.eta=2")
    first, last = (RunDirectory(tmp_path).iteration(t).metrics() for t in (1, 3))
    assert first["sampler/entropy"] == pytest.approx(1)
    assert last["sampler/entropy"] < 0.99
    assert last["sampler/mass/level_3"] > last["sampler/mass/level_2"] > last["sampler/mass/level_1"]
    assert last["sampler/asked/level_3"] > last["sampler/asked/level_1"]


def test_the_experiment_reads_the_validation_accuracy_of_the_tasks_skills(tmp_path: Path) -> None:
    play(tmp_path, "experiment=skill_it", "model=scripted", "generator=scripted", "trainer=scripted", "iterations=2")
    losses = RunDirectory(tmp_path).iteration(2).beliefs()["mixture/losses"]
    figures = [RunDirectory(tmp_path).iteration(t).metrics()["validation/counting"] for t in (0, 1)]
    assert losses[-2:, 0] == pytest.approx([1 - accuracy for accuracy in figures])


@given(
    st.lists(st.tuples(st.integers(0, 5), st.floats(0.1, 3)), min_size=1, max_size=20),
    st.lists(st.floats(0.05, 1), min_size=3, max_size=3),
)
def test_a_mixture_applied_to_samples_gives_each_group_its_mass(kept: list, weights: list[float]) -> None:
    mass = np.array(weights) / sum(weights)
    context = Selection(iteration=1, beta=1, beliefs={"mass": mass, "group": np.array([0, 1, 2, 0, 1, 2], np.int32)})
    items = [replace(candidate(p, k, True, "a"), weight=w) for k, (p, w) in enumerate(kept)]
    chosen = Mass().select(items, context, rng(0))
    assert [c.rollout for c in chosen] == [c.rollout for c in items]
    totals = np.bincount([c.rollout.position % 3 for c in chosen], weights=[c.weight for c in chosen], minlength=3)
    present = totals > 0
    assert totals[present] / totals.sum() == pytest.approx(mass[present] / mass[present].sum())
    for a, b in pairwise(items):  # weights within a group keep their proportions
        if a.rollout.position % 3 == b.rollout.position % 3:
            first, second = (next(c.weight for c in chosen if c.rollout is x.rollout) for x in (a, b))
            assert first * b.weight == pytest.approx(second * a.weight)
    with pytest.raises(ValueError, match="needs a sampler with a mixture over groups"):
        Mass().select(items, Selection(iteration=1, beta=1), rng(0))


def test_the_loop_trains_on_the_wanted_mixture_when_it_is_applied_to_samples(tmp_path: Path) -> None:
    play(tmp_path, "experiment=skill_it", *SCRIPTED, "sampler.mixture.loss=train", "sampler.mixture.eta=2",
         "sampler.mixture.yield_cap=1", "+selectors.mass._target_=star_loop.selectors.mixture.Mass")  # fmt: skip
    here = RunDirectory(tmp_path).iteration(3)
    examples = [Example.from_json(line) for line in (here.path / "examples.jsonl").read_text().splitlines()]
    totals = np.bincount([e.position % 3 for e in examples], weights=[e.weight for e in examples])
    wanted = [here.metrics()[f"sampler/wanted/level_{level}"] for level in (1, 2, 3)]
    assert totals / totals.sum() == pytest.approx(wanted)
    assert len({e.weight for e in examples}) == 3


@pytest.mark.parametrize("group", ["space", "skill_it"])
@pytest.mark.parametrize("within", ["uniform", "adastar", "cures"])
def test_mass_order_rollouts_and_rationales_compose(tmp_path: Path, group: str, within: str) -> None:
    play(tmp_path, f"experiment={group}", *SCRIPTED, "sampler.mixture.loss=train" if group == "skill_it" else "seed=1",
         f"sampler@sampler.within={within}", "allocator=neyman", "allocator.rollouts=5", "selectors=rest_em",
         "task.n=45", "schedule.steps=10", "schedule.growth=1", "iterations=5")  # fmt: skip
    run = RunDirectory(tmp_path)
    figures = run.iteration(5).metrics()
    assert any(run.iteration(t).metrics()["allocator/deviation"] > 0 for t in range(1, 6))
    assert figures["sampler/asked/level_1"] != pytest.approx(1 / 3, abs=1e-9)
    lines = (run.iteration(5).path / "examples.jsonl").read_text().splitlines()
    assert len([Example.from_json(line) for line in lines]) == figures["train/examples"] > 0

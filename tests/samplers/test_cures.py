"""CurES: its posterior, temperature and draw, its allocation against naive forms, and the loop with it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from star_loop.allocators.neyman import Neyman, advantage_variance, apportion, positive_variance, success
from star_loop.config.build import build
from star_loop.errors import ConfigError
from star_loop.records import Proposal, Rollout, Score
from star_loop.run.directory import RunDirectory
from star_loop.samplers.cures import Cures, deviation, effective_share, temperature
from star_loop.seeding import rng
from tests.quiz import QUIZ, configure, play
from tests.samplers.test_samplers import columns, outcome_of

probabilities = st.lists(st.floats(0.01, 0.99), min_size=1, max_size=50).map(lambda p: np.array(p, np.float32))


def believed(p: list[float], weight: float = 1000.0) -> dict[str, np.ndarray]:
    """A posterior with these means."""
    means = np.array(p, np.float32)
    return {"alpha": weight * means, "beta": weight * (1 - means)}


# ------------------------------------------------------------------------------------------- posterior and draw


@given(st.floats(0, 1), st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), max_size=5))
def test_old_counts_fade_towards_the_prior(forget: float, history: list[list[int]]) -> None:
    sampler = Cures(forget=forget, prior=(2.0, 3.0))
    state = sampler.init(columns(3), rng(0))
    alpha, beta = [2.0] * 3, [3.0] * 3
    for t, wins in enumerate(history, start=1):
        visited = [i for i in range(3) if wins[i] < 4]  # 4 stands for: not visited
        positions = np.array(visited, np.int64)
        state = sampler.learn(state, outcome_of(t, positions, np.array([wins[i] for i in visited], np.int64), 3))
        for i in range(3):
            s = wins[i] if i in visited else 0
            n = 3 if i in visited else 0
            alpha[i] = forget * alpha[i] + (1 - forget) * 2.0 + s
            beta[i] = forget * beta[i] + (1 - forget) * 3.0 + n - s
    assert np.allclose(state["alpha"], alpha, rtol=1e-5)
    assert np.allclose(state["beta"], beta, rtol=1e-5)


def test_without_memory_only_the_last_counts_remain_with_full_memory_all() -> None:
    for forget, expected in ((0.0, (1 + 2, 1 + 1)), (1.0, (1 + 1 + 2, 1 + 2 + 1))):
        sampler = Cures(forget=forget)
        state = sampler.init(columns(1), rng(0))
        for t, wins in ((1, 1), (2, 2)):
            state = sampler.learn(state, outcome_of(t, np.array([0]), np.array([wins]), attempts=3))
        assert (state["alpha"][0], state["beta"][0]) == expected


@given(probabilities, st.floats(0.02, 2.0))
def test_the_effective_share_is_the_exponential_of_the_entropy(p: np.ndarray, tau: float) -> None:
    scores = deviation(p).astype(np.float64)
    rho = np.exp(scores / tau) / np.exp(scores / tau).sum()
    naive = np.exp(-(rho * np.log(rho)).sum()) / len(p)
    assert effective_share(deviation(p), tau) == pytest.approx(naive, rel=5e-3)


@given(probabilities, st.floats(0.1, 0.95))
def test_the_temperature_meets_its_target_where_any_does(p: np.ndarray, target: float) -> None:
    scores = deviation(p)
    assume(effective_share(scores, 1e-3) < target)
    assert effective_share(scores, temperature(scores, target)) == pytest.approx(target, abs=1e-6)


def test_draws_follow_rho() -> None:
    """The first of a draw is distributed as equation 14, and what is certain keeps a chance."""
    p, tau = [0.5, 0.1, 0.01, 0.99], 0.2
    rho = np.exp(np.sqrt(np.array(p) * (1 - np.array(p))) / tau)
    rho /= rho.sum()
    firsts = [
        int(Cures(tau=tau).propose(believed(p), 1, rng(s, "draw"))[0].positions[0]) for s in range(4000)
    ]  # fmt: skip
    shares = np.bincount(firsts, minlength=4) / len(firsts)
    assert np.abs(shares - rho).max() < 4 * np.sqrt(0.25 / len(firsts))
    assert shares.min() > 0


def test_rho_prefers_what_is_neither_known_nor_hopeless() -> None:
    p = [0.02] * 50 + [0.5] * 50 + [0.98] * 50
    drawn = [Cures().propose(believed(p), 50, rng(s))[0].positions for s in range(20)]
    middle = np.mean([((d >= 50) & (d < 100)).mean() for d in drawn])
    assert middle > 0.6


# -------------------------------------------------------------------------------------------------- allocation


def naive_shares(weights: list[float], total: int, least: int, most: int) -> list[float]:
    """Fix at their bound, one at a time, those that the proportional split puts outside; split the rest again."""
    n, fixed = len(weights), {}
    while True:
        free = [i for i in range(n) if i not in fixed]
        rest = total - sum(fixed.values())
        split = {i: rest * weights[i] / sum(weights[j] for j in free) for i in free} if free else {}
        over = sum(max(s - most, 0) for s in split.values())
        under = sum(max(least - s, 0) for s in split.values())
        if not split or (over <= 1e-12 and under <= 1e-12):
            return [fixed.get(i, split.get(i, 0.0)) for i in range(n)]
        # The side that violates more is fixed first, as water-filling demands.
        fixed |= {i: most for i in free if split[i] > most} if over >= under else {
            i: least for i in free if split[i] < least
        }  # fmt: skip


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=12), st.integers(1, 6), st.integers(0, 1), st.integers(1, 4))
def test_apportioning_is_exact_bounded_and_near_the_real_shares(
    weights: list[float], mean: int, least: int, spread: int
) -> None:
    total, most = mean * len(weights), mean * spread
    n = apportion(np.array(weights), total, least, most)
    assert n.sum() == total
    assert (n >= least).all()
    assert (n <= most).all()
    assert np.abs(n - np.array(naive_shares(weights, total, least, most))).max() < 1 + 1e-6


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=12), st.integers(1, 40))
def test_without_bounds_apportioning_is_hamiltons_method(weights: list[float], total: int) -> None:
    w = np.array(weights)
    n = apportion(w, total, 0, total)
    quotas = total * w / w.sum()
    assert (n >= np.floor(quotas - 1e-6)).all()
    assert (n <= np.ceil(quotas + 1e-6)).all()
    up = n > np.floor(quotas + 1e-9)
    if up.any() and not up.all():
        remainders = quotas - np.floor(quotas + 1e-9)
        assert remainders[up].min() >= remainders[~up].max() - 1e-6


def test_impossible_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="7 rollouts cannot be shared by 2 observations with 1 to 3 each"):
        apportion(np.ones(2), 7, 1, 3)


def test_no_weight_at_all_is_shared_evenly() -> None:
    assert apportion(np.zeros(3), 6, 0, 6).tolist() == [2, 2, 2]


def test_equation_20_gives_most_to_the_uncertain_and_gvm_to_the_hard() -> None:
    p = [0.5, 0.1, 0.9, 0.02]
    proposal = Proposal(positions=np.arange(4))
    n = Neyman(rollouts=25, least=0).allocate(proposal, believed(p), rng(0))
    expected = 100 * np.sqrt(np.array(p) * (1 - np.array(p)))
    assert np.abs(n - 100 * expected / expected.sum()).max() < 1


def released_gvm(norms: list[float], rates: list[float], total: int) -> list[float]:
    """Real-valued draws by GVM's released rule: nothing where nothing was right, or where there is no gradient."""
    weights = [0.0 if g == 0 or p == 0 else g / (p + 1e-3 / p) ** 0.5 for g, p in zip(norms, rates, strict=True)]
    return [total * w / sum(weights) for w in weights]


NORMS = st.just(0.0) | st.floats(1e-6, 9)
"""Apportioning treats weights below a billionth of the greatest as that share, so that none is lost to rounding."""


@given(st.lists(st.tuples(st.integers(0, 4), NORMS), min_size=2, max_size=12), st.integers(1, 9))
def test_gvm_is_the_released_rule(pilots: list[tuple[int, float]], mean: int) -> None:
    """By the share of pilots that were right, and the mean norm of their gradients; whole draws by largest remainders."""
    assume(any(wins and norm for wins, norm in pilots))
    wins, norms = (np.array(column) for column in zip(*pilots, strict=True))
    state = Cures(prior=(0.0, 0.0), energies=True, pilot_rollouts=4).init(columns(len(pilots)), rng(0))
    energy = np.where(wins > 0, norms**2, np.nan)
    measured = {"right_energy": energy, "wrong_energy": energy, "right_norm": np.where(wins > 0, norms, np.nan)}
    outcome = replace(outcome_of(1, np.arange(len(pilots)), wins, attempts=4), gradients=measured)
    told = Cures(prior=(0.0, 0.0), energies=True).piloted(state, outcome)
    allocator = Neyman(rollouts=mean, least=0, most=None, rule="gvm")
    drawn = allocator.allocate(Proposal(positions=np.arange(len(pilots))), told, rng(0))
    known = np.where(wins > 0, norms, 0.0).tolist()
    assert np.abs(drawn - released_gvm(known, (wins / 4).tolist(), mean * len(pilots))).max() < 1 + 1e-6


def test_gvm_gives_nothing_to_what_was_never_solved_and_most_to_what_seldom_was() -> None:
    facts = {"wins": np.arange(5), "attempts": np.full(5, 4)}
    drawn = Neyman(rollouts=200, least=0, most=None, rule="gvm").allocate(
        Proposal(positions=np.arange(5)), facts, rng(0)
    )
    assert drawn.tolist() == pytest.approx([0, 357.6, 254.2, 207.9, 180.1], abs=1.2)


def test_equation_21_is_the_variance_of_the_sampled_gradient() -> None:
    """Against Monte Carlo, with gradients whose mean over all rationales is zero, as a score function's is."""
    p, draws, dimensions = 0.3, 400_000, 4
    luck = rng(0, "gradients")
    right = luck.random(draws) < p
    mean_right = np.array([0.7, -0.2, 0.0, 0.4])
    mean_wrong = -p / (1 - p) * mean_right
    noise = luck.normal(size=(draws, dimensions)) * np.where(right, 1.5, 0.5)[:, None]
    gradient = np.where(right[:, None], mean_right, mean_wrong) + noise
    estimate = (right - p)[:, None] * gradient
    gap = ((mean_right - mean_wrong) ** 2).sum()
    norms = [(gradient[side] ** 2).sum(1).mean() for side in (right, ~right)]
    assert advantage_variance(p, *norms, gap) == pytest.approx(estimate.var(axis=0).sum(), rel=0.01)
    positive = right[:, None] * gradient
    assert positive_variance(p, norms[0], gap) == pytest.approx(positive.var(axis=0).sum(), rel=0.01)


@given(st.floats(0.01, 0.99))
def test_with_gradients_of_one_norm_equation_21_is_the_variance_of_the_verdict(p: float) -> None:
    assert advantage_variance(p, 1.0, 1.0, 0.0) == pytest.approx(p * (1 - p))


def test_success_rates_come_from_the_posterior_or_the_facts_or_nowhere() -> None:
    some = np.array([1, 0])
    facts = {"attempts": np.array([2, 8], np.int32), "wins": np.array([0, 5], np.int32)}
    assert success({**facts, **believed([0.25, 0.75])}, some) == pytest.approx([0.75, 0.25])
    assert success(facts, some) == pytest.approx([0.6, 0.25])
    assert success({}, some).tolist() == [0.5, 0.5]


def test_a_floor_above_the_mean_is_refused() -> None:
    with pytest.raises(ConfigError, match="least=5 draws of each cost more than rollouts=2"):
        build(configure(*QUIZ, "allocator=neyman", "allocator.rollouts=2", "allocator.least=5"))


# ----------------------------------------------------------------------------------------------------- energies


def test_a_larger_gradient_draws_more_rollouts() -> None:
    """σ of equation 21 by hand: observation 1 has right rationales of four times the energy, and 2 is unknown."""
    state = {
        **believed([0.3, 0.3, 0.3]),
        "right_energy": np.array([2.0, 8.0, 0.0], np.float32), "wrong_energy": np.array([1.0, 1.0, 0.0], np.float32),
    }  # fmt: skip
    n = Neyman(rollouts=30, least=0, rule="gradient").allocate(Proposal(positions=np.arange(3)), state, rng(0))
    sigma = np.sqrt([0.3 * 0.49 * right + 0.09 * 0.7 * wrong for right, wrong in ((2, 1), (8, 1), (5, 1))])
    assert np.abs(n - 90 * sigma / sigma.sum()).max() < 1
    gap = {**state, "energy_gap": np.array([0.0, 6.0, 99.0], np.float32)}
    gapped = Neyman(rollouts=30, least=0, rule="gradient").allocate(Proposal(positions=np.arange(3)), gap, rng(0))
    less = np.sqrt(np.maximum(sigma**2 - (0.3 * 0.7) ** 2 * gap["energy_gap"], 0))
    assert np.abs(gapped - 90 * less / less.sum()).max() < 1
    assert gapped[2] == 0
    norms = {**gap, "right_norm": np.array([3.0, 2.0, 0.0]), "wrong_norm": np.array([1.0, 2.5, 1.0])}
    released = Neyman(rollouts=30, least=0, rule="gradient", gap="norms").allocate(
        Proposal(positions=np.arange(3)), norms, rng(0)
    )
    less = np.sqrt(np.maximum(sigma**2 - (0.3 * 0.7) ** 2 * np.array([4.0, 0.25, 0.0]), 0))
    assert np.abs(released - 90 * less / less.sum()).max() < 1
    with pytest.raises(ValueError, match=r"needs the gradients' norms: add sampler=cures sampler\.energies=true"):
        Neyman(rule="gradient").allocate(Proposal(positions=np.arange(3)), believed([0.3] * 3), rng(0))


def test_what_trains_on_right_rationales_only_and_gvm_take_the_norms_where_there_are_any() -> None:
    p, right = np.array([0.2, 0.8]), np.array([4.0, 1.0])
    known = {**believed([0.2, 0.8]), "right_energy": right.astype(np.float32), "wrong_energy": np.ones(2, np.float32)}
    known["right_norm"] = np.array([1.5, 1.0], np.float32)  # less than the root of the mean square, as norms differ
    for rule, free, full in (
        ("positive", np.sqrt(p), np.sqrt(p * right)),
        ("gvm", 1 / np.sqrt(p + 1e-3 / p), known["right_norm"] / np.sqrt(p + 1e-3 / p)),
    ):
        for state, sigma in ((believed([0.2, 0.8]), free), (known, full)):
            n = Neyman(rollouts=50, least=0, rule=rule).allocate(Proposal(positions=np.arange(2)), state, rng(0))
            assert np.abs(n - 100 * sigma / sigma.sum()).max() < 1


def test_the_latest_energies_are_remembered_and_the_prior_is_unknown() -> None:
    sampler = Cures(energies=True)
    state = sampler.init(columns(3), rng(0))
    outcome = outcome_of(1, np.array([2, 0]), np.array([1, 0]))
    with pytest.raises(ValueError, match=r"add scorer=student scorer\.wrong=true"):
        sampler.learn(state, outcome)
    nan = float("nan")
    for right, wrong in (([3.0, nan], [nan, 5.0]), ([4.0, nan], [nan, nan])):
        state = sampler.learn(
            state, replace(outcome, gradients={"right_energy": np.array(right), "wrong_energy": np.array(wrong)})
        )
    assert state["right_energy"].tolist() == [0, 0, 4]
    assert state["wrong_energy"].tolist() == [5, 0, 0]
    assert state["energy_gap"].tolist() == [0, 0, 0]
    measured = {"right_energy": np.ones(2), "wrong_energy": np.ones(2), "energy_gap": np.array([nan, 7.0])}
    assert sampler.learn(state, replace(outcome, gradients=measured))["energy_gap"].tolist() == [7, 0, 0]


# ----------------------------------------------------------------------------------------------------- the loop


CURES = ("model=scripted", "generator=scripted", "trainer=scripted",
         "generator.table=[1.0,0.5,0.0]", "task.n=90", "schedule.steps=30", "schedule.wave=15", "trainer.rate=0")  # fmt: skip


def test_the_loop_learns_where_to_spend_its_rollouts(tmp_path: Path) -> None:
    """Level 1 is always solved, level 2 half the time, level 3 never: level 2 is asked more."""
    play(tmp_path, "experiment=cures_counts", *CURES, "iterations=5")
    run = RunDirectory(tmp_path)
    figures = [run.iteration(t).metrics() for t in (1, 5)]
    assert figures[0]["allocator/deviation"] == 0  # nothing is known yet
    assert figures[1]["allocator/deviation"] > 0.1
    assert all(f["collect/rollouts"] == 4 * f["collect/observations"] for f in figures)
    assert figures[1]["sampler/deviation_visited"] > figures[1]["sampler/deviation"]
    attempts = run.iteration(5).statistics().attempts.reshape(-1, 3).sum(axis=0)
    assert attempts[1] > max(attempts[0], attempts[2])


def test_energies_go_from_the_scorer_to_the_allocator(tmp_path: Path) -> None:
    play(tmp_path, "experiment=cures", *CURES, "scorer=scripted", "sampler.tau=100", "sampler.subsets=1",
         "allocator.least=1", "sampler.pilot_rollouts=0", "sampler.forget=0.7", "iterations=3")  # fmt: skip
    run = RunDirectory(tmp_path)
    here = run.iteration(1)
    rollouts = {(r.position, r.sample): r for r in here.rollouts()}
    scores = [Score.from_json(line) for line in (here.path / "scores.jsonl").read_text().splitlines()]
    assert len(scores) == here.metrics()["collect/rollouts"] > here.metrics()["collect/correct"]
    for name, correct in (("right_energy", True), ("wrong_energy", False)):
        beliefs = here.beliefs()[name]
        for position in range(90):
            mine = [s for s in scores if s.position == position and rollouts[position, s.sample].correct is correct]
            expected = np.mean([s.tokens * s.brier for s in mine]) if mine else 0
            assert beliefs[position] == pytest.approx(expected, rel=1e-5)
    assert run.iteration(3).metrics()["allocator/deviation"] > 0.5


def test_neyman_allocation_composes_with_another_sampler(tmp_path: Path) -> None:
    play(tmp_path, "experiment=cures_counts", *CURES, "sampler=uniform", "iterations=3")
    assert RunDirectory(tmp_path).iteration(3).metrics()["allocator/deviation"] > 0.5


# ------------------------------------------------------------------------------------------------------- pilots


@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 3), st.integers(0, 2**20))
def test_subsets_are_disjoint_hold_everything_and_take_turns(n: int, subsets: int, steps: int, seed: int) -> None:
    """Pilots come before the first of a subset's steps only."""
    sampler = Cures(subsets=subsets, pilot_rollouts=2, steps=steps)
    state, seen = sampler.init(columns(n), rng(seed)), []
    for t in range(1, 2 * subsets * steps + 1):
        pilots = sampler.pilots(state)
        assert (pilots is not None) is ((t - 1) % steps == 0)
        wanted = seen[-1] if pilots is None else np.flatnonzero(pilots).tolist()
        order, during = [], state
        while len((proposal := sampler.propose(during, 3, rng(seed, t)))[0].positions):
            order += proposal[0].positions.tolist()
            during = proposal[1]
        assert sorted(order) == wanted
        seen.append(wanted)
        state = sampler.learn(during, outcome_of(t, np.array(order, np.int64), np.ones(len(order), np.int64)))
    assert sorted(p for part in seen[: subsets * steps : steps] for p in part) == list(range(n))
    assert seen[: subsets * steps] == seen[subsets * steps :]


def test_a_bound_beyond_all_numbers_is_none() -> None:
    proposal, state = Proposal(positions=np.arange(3)), believed([0.1, 0.5, 0.9])
    boundless, far = (Neyman(rollouts=9, most=most).allocate(proposal, state, rng(0)) for most in (None, 1e300))
    assert boundless.tolist() == far.tolist()


def test_any_number_of_subsets_is_a_number() -> None:
    sampler = Cures(subsets=10**30, pilot_rollouts=1, steps=10**30)
    state = sampler.init(columns(5), rng(0))
    asked = np.flatnonzero(sampler.pilots(state))
    assert len(asked) == 1 and sampler.propose(state, 3, rng(0, 1))[0].positions.tolist() == asked.tolist()


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=3), min_size=6, max_size=6)
)
def test_counts_are_those_of_equation_23_since_the_latest_pilots(history: list[list[tuple[int, int]]]) -> None:
    """M = 3: the pilots' (wins, losses) and then those of the steps, added up; the next pilots begin again."""
    sampler = Cures(pilot_rollouts=4, steps=3, forget=1)
    state, everyone, totals = sampler.init(columns(3), rng(0)), np.arange(3), np.zeros((3, 2))
    for t, counts in enumerate(history):
        if sampler.pilots(state) is not None:
            pilots = np.array([[min(w, 2), 4 - min(w, 2)] for w, _ in counts])
            state = sampler.piloted(state, outcome_of(t, everyone, pilots[:, 0], attempts=4))
            totals = pilots.astype(float)
        assert np.allclose([state["alpha"], state["beta"]], 1 + totals.T)
        wins, attempts = np.array([w for w, _ in counts]), np.array([w + n for w, n in counts])
        state = sampler.learn(state, replace(outcome_of(t, everyone, wins), attempts=attempts))
        totals = totals + np.array(counts)
    assert np.allclose([state["alpha"], state["beta"]], 1 + totals.T)


def test_the_released_temperature_leaves_almost_nothing_of_rho() -> None:
    """τ = 100·(wins + 1): with four pilots the largest ratio of two weights is 1.003, and the draw is uniform."""
    sampler, wins = Cures(tau="released", pilot_rollouts=4), np.arange(5)
    state = sampler.piloted(sampler.init(columns(5), rng(0)), outcome_of(1, wins, wins, attempts=4))
    p = (wins + 1) / 6
    weights = np.exp(np.sqrt(p * (1 - p)) / (100 * (wins + 1)))
    figures = sampler.metrics(state, outcome_of(1, wins, wins, attempts=4))
    assert figures["weight_ratio"] == pytest.approx(weights.max() / weights.min(), rel=1e-6)
    assert figures["weight_ratio"] < 1.0035
    noise = rng(3, "draw").gumbel(size=5)
    order = np.argsort(-(np.log(weights) + noise)).tolist()
    assert sampler.propose(state, 5, rng(3, "draw"))[0].positions.tolist() == order


def test_the_counts_begin_with_the_pilots_alone() -> None:
    sampler = Cures(pilot_rollouts=4, prior=(2.0, 1.0), forget=1)
    state = sampler.learn(sampler.init(columns(3), rng(0)), outcome_of(1, np.arange(3), np.full(3, 9), attempts=20))
    assert sampler.pilots(state).tolist() == [4, 4, 4]
    told = sampler.piloted(state, outcome_of(2, np.array([0, 2]), np.array([3, 0]), attempts=4))
    assert told["alpha"].tolist() == [5, 11, 2]
    assert told["beta"].tolist() == [2, 12, 5]
    assert Cures().pilots(state) is None


@pytest.mark.parametrize("within", [(), ("sampler=space", "sampler@sampler.within=cures_pilots", "sampler.by=[level]")])
def test_pilots_of_the_current_model_decide_what_is_asked(tmp_path: Path, within: tuple[str, ...]) -> None:
    """Level 2 is solved half the time, the others always or never; pilots tell before anything is asked."""
    inner = "sampler.within" if within else "sampler"
    play(tmp_path, "experiment=cures_counts", "sampler=cures_pilots", *CURES, *within, f"{inner}.subsets=2", f"{inner}.steps=1", f"{inner}.pilot_rollouts=8",
         f"{inner}.tau=0.02", "scorer=scripted", "scorer.wrong=true", f"{inner}.energies=true",
         "allocator.rule=gradient", "schedule.steps=4", "iterations=3")  # fmt: skip
    run = RunDirectory(tmp_path)
    asked = []
    for t in (1, 2, 3):
        here = run.iteration(t)
        pilots = [Rollout.from_json(line) for path in sorted(here.path.glob("pilots/wave_*.jsonl"))
                  for line in path.read_text().splitlines()]  # fmt: skip
        figures = here.metrics()
        assert len(pilots) == figures["pilot/rollouts"] == 8 * 45
        assert figures["pilot/solve_rate"] == sum(r.correct for r in pilots) / len(pilots)
        scored = (here.path / "pilots/scores.jsonl").read_text().splitlines()
        assert figures["flops/pilot"] == 2 * 1_000_000 * (45 * 16 + 8 * 45 * 16 + 32 * len(scored))
        spent = [figures[f"flops/{what}"] for what in ("generate", "train", "score", "pilot")]
        assert figures["flops/cumulative"] == run.iteration(t - 1).metrics()["flops/cumulative"] + sum(spent)
        asked.append({r.position for r in pilots})
        assert {r.position for r in here.rollouts()} <= asked[-1]
        if not within:
            assert {r.position % 3 for r in here.rollouts()[:15]} == {1}
            assert figures["allocator/deviation"] > 0  # from the first iteration on
    assert asked[0] == asked[2]
    assert asked[0] | asked[1] == set(range(90))

"""Laws of every selector, allocator and schedule under `conf/`."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.config.build import build
from star_loop.config.hydra import CONF
from star_loop.protocols import Allocator, Selector
from star_loop.records import Candidate, Proposal, Rollout, Score, Selection
from star_loop.schedule import Schedule
from star_loop.seeding import rng, seed_for
from star_loop.selectors.family import Cap, Correct, Deduplicate, Subset
from star_loop.selectors.preferred import Confident, Familiar, Shortest
from tests.quiz import QUIZ, configure

RECIPES = sorted(path.stem for path in (CONF / "selectors").glob("*.yaml"))
ALLOCATORS = sorted(path.stem for path in (CONF / "allocator").glob("*.yaml"))
CONTEXT = Selection(iteration=3, beta=5)


def candidate(position: int, sample: int, correct: bool, text: str, loss: float | None = None) -> Candidate:
    score = loss and Score(
        position=position, attempt=0, sample=sample, tokens=4, loss=loss, brier=loss / (1 + loss), rank=1 + loss**2
    )  # fmt: skip
    return Candidate(
        score=score or None,
        rollout=Rollout(
            position=position, id=str(position), attempt=0, sample=sample, hinted=False, text=text, answer=text,
            correct=correct, how="", score=None, finish="stop", tokens=3, prompt_tokens=3,
        ),
    )  # fmt: skip


candidates = st.lists(
    st.builds(
        candidate,
        st.integers(0, 5),
        st.integers(0, 3),
        st.booleans(),
        st.sampled_from(["a b", "a  b", "c"]),
        st.none() | st.floats(0.01, 5),
    ),
    max_size=30,
)


@pytest.fixture(scope="module", params=RECIPES)
def selectors(request: pytest.FixtureRequest) -> dict[str, Selector]:
    return dict(build(configure(*QUIZ, f"selectors={request.param}")).selectors)


@given(candidates)
def test_law_selections_are_subsequences_pure_and_idempotent(selectors: dict[str, Selector], items) -> None:
    for name, selector in selectors.items():
        before = list(items)
        kept = selector.select(items, CONTEXT, rng(0, name))
        assert items == before
        assert kept == selector.select(items, CONTEXT, rng(0, name))
        remaining = iter(items)
        assert all(any(k.rollout is item.rollout for item in remaining) for k in kept)
        if selector.idempotent:
            assert selector.select(kept, CONTEXT, rng(0, name)) == kept
        if not selector.weighs:
            assert all(abs(k.weight) == 1 for k in kept if k.rollout.correct)


@given(candidates)
def test_every_recipe_keeps_correct_rationales_and_marks_wrong_ones(selectors: dict[str, Selector], items) -> None:
    for name, selector in selectors.items():
        items = selector.select(items, CONTEXT, rng(0, name))
    assert all(c.rollout.correct == (c.weight > 0) for c in items)


@given(candidates)
def test_correct_keeps_all_of_them(items) -> None:
    kept = Correct().select(items, CONTEXT, rng(0))
    assert len(kept) == sum(c.rollout.correct for c in items)


@given(candidates, st.integers(1, 4))
def test_cap_keeps_the_first_of_each_observation(items, limit: int) -> None:
    kept = Counter(c.rollout.position for c in Cap(limit=limit).select(items, CONTEXT, rng(0)))
    assert kept == {p: min(n, limit) for p, n in Counter(c.rollout.position for c in items).items()}


@given(candidates)
def test_deduplicate_keeps_one_of_each_distinct_text_per_observation(items) -> None:
    kept = [
        (c.rollout.position, " ".join(c.rollout.text.split())) for c in Deduplicate().select(items, CONTEXT, rng(0))
    ]
    assert len(kept) == len(set(kept))
    assert set(kept) == {(c.rollout.position, " ".join(c.rollout.text.split())) for c in items}


@given(candidates, st.integers(1, 3))
def test_the_preferred_of_each_observation_are_kept(items, limit: int) -> None:
    """The oracle sorts everything; Python's sort keeps the order of equals."""
    for selector, key in (
        (Shortest(limit=limit), lambda c: len(" ".join(c.rollout.text.split()))),
        (Confident(limit=limit), lambda c: c.score.loss if c.score else float("inf")),
        (Familiar(limit=limit), lambda c: c.score.rank / c.score.loss if c.score else float("inf")),
    ):
        best = [
            c for p in {c.rollout.position for c in items}
            for c in sorted((c for c in items if c.rollout.position == p), key=key)[:limit]
        ]  # fmt: skip
        kept = selector.select(items, CONTEXT, rng(0))
        assert Counter(map(id, kept)) == Counter(map(id, best))
        assert [id(c) for c in items if id(c) in set(map(id, kept))] == list(map(id, kept))


def test_ranks_must_be_known_to_be_compared() -> None:
    unranked = replace(
        candidate(0, 0, True, "c", 1.0), score=Score(position=0, attempt=0, sample=0, tokens=1, loss=1.0, brier=1.0)
    )
    with pytest.raises(ValueError, match="which this scorer does not tell: take scorer=student"):
        Familiar().select([unranked], CONTEXT, rng(0))


def test_subset_draws_beta_without_favour() -> None:
    items = [candidate(p, 0, True, "c") for p in range(20)]
    drawn = Counter(c.rollout.position for s in range(400) for c in Subset().select(items, CONTEXT, rng(s, "subset")))
    assert sum(drawn.values()) == 400 * CONTEXT.beta
    assert min(drawn.values()) > 60  # 100 expected, standard deviation about 8.7
    assert max(drawn.values()) < 140


@pytest.fixture(scope="module", params=ALLOCATORS)
def allocator(request: pytest.FixtureRequest) -> Allocator:
    return build(configure(*QUIZ, f"allocator={request.param}")).allocator


@given(st.lists(st.integers(0, 99), unique=True, max_size=20), st.integers(1, 9))
def test_law_allocations_are_whole_and_spend_exactly_the_budget(
    allocator: Allocator, positions: list[int], k: int
) -> None:
    allocator = type(allocator)(**allocator.model_dump() | {"rollouts": k})
    rollouts = allocator.allocate(Proposal(positions=np.array(positions, np.int64)), {}, rng(0))
    assert rollouts.dtype == np.int64
    assert rollouts.shape == (len(positions),)
    assert (rollouts >= 0).all()
    assert rollouts.sum() == k * len(positions)


@given(st.lists(st.tuples(st.integers(0, 99), st.floats(0, 1)), unique_by=lambda one: one[0], max_size=8))
def test_law_further_draws_are_whole_and_end(allocator: Allocator, questions: list[tuple[int, float]]) -> None:
    """Whatever comes of them: an allocator that draws again in a wave does not do so for ever."""
    positions, p = np.array([q for q, _ in questions], np.int64), np.array([chance for _, chance in questions])
    attempts = allocator.allocate(Proposal(positions=positions), {}, rng(0))
    wins = rng(1).binomial(attempts, p)
    for number in range(1, 40):
        further = allocator.again(attempts, wins, number)
        assert further.dtype == np.int64
        assert (further >= 0).all()
        assert further.shape == attempts.shape
        if not further.any():
            break
        attempts, wins = attempts + further, wins + rng(number).binomial(further, p)
    else:
        pytest.fail("it asks again and again")


def test_the_papers_schedule() -> None:
    """AdaSTaR section 2.1 and the authors' code: σ = 40, 48, 57, 69, 82, 99, 119, 143, …; β = 8·σ."""
    schedule = Schedule(steps=40, growth=1.2, batch=8)
    assert [schedule.steps_at(t) for t in range(1, 24)] == [
        40, 48, 57, 69, 82, 99, 119, 143, 171, 206, 247, 297, 356, 427, 513, 616, 739, 887, 1064, 1277, 1533, 1840, 2208,
    ]  # fmt: skip
    assert schedule.beta(1) == schedule.quota_at(1) == 320
    assert Schedule(quota=None).quota_at(1) is None
    for growth in (1.0000001, 1.2, 1e300):  # nothing that is legal is too large
        assert Schedule(growth=growth).steps_at(10**12) <= 10**9 == Schedule(growth=1e300).steps_at(2)
    assert Schedule(quota=7).quota_at(5) == 7
    assert Schedule(train_by="epochs").training_steps(1) is None


@given(st.lists(st.one_of(st.integers(0, 999), st.text(max_size=5)), max_size=4), st.integers(0, 99))
def test_seeds_depend_on_every_part_of_the_purpose(purpose: list, seed: int) -> None:
    assert seed_for(seed, *purpose) == seed_for(seed, *purpose)
    assert seed_for(seed, *purpose) != seed_for(seed + 1, *purpose)
    assert seed_for(seed, *purpose) != seed_for(seed, *purpose, 0)
    assert 0 <= seed_for(seed, *purpose, bits=31) < 2**31
    assert rng(seed, *purpose).random() == rng(seed, *purpose).random()


def test_a_purpose_is_not_its_concatenation() -> None:
    assert seed_for(0, "wave", 1, 23) != seed_for(0, "wave", 12, 3)
    assert seed_for(0, "a", "b") != seed_for(0, "ab")
    assert seed_for(0, 1) != seed_for(0, "1")

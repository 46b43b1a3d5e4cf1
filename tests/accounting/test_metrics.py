"""Figures against brute force."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.accounting.metrics import (
    collect_metrics,
    evaluation_metrics,
    machine_metrics,
    majority_correct,
    pass_at_k,
    reward_metrics,
    token_counts,
    wilson,
)
from star_loop.accounting.statistics import concatenate, filling_prefix, first, tally
from star_loop.records import Decoding, How, Observation, Rollout


def rollout(position: int = 0, **fields) -> Rollout:
    values = {
        "position": position, "id": str(position), "attempt": 0, "sample": 0, "hinted": False, "text": "", "answer": "1",
        "correct": True, "how": "equal", "score": None, "finish": "stop", "tokens": 5, "prompt_tokens": 7,
    }  # fmt: skip
    return Rollout(**(values | fields))


@given(st.integers(0, 8), st.integers(0, 8), st.integers(1, 8))
def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample(right: int, wrong: int, k: int) -> None:
    n = right + wrong
    if k > n:
        return
    subsets = list(combinations([True] * right + [False] * wrong, k))
    assert pass_at_k(n, right, k) == pytest.approx(sum(any(s) for s in subsets) / len(subsets))


@given(st.integers(0, 200), st.integers(0, 200))
def test_wilson_brackets_the_share_and_stays_in_the_unit_interval(right: int, wrong: int) -> None:
    low, high = wilson(right, right + wrong)
    assert 0 <= low <= (right / (right + wrong) if right + wrong else 0.5) <= high <= 1


def test_wilson_of_a_textbook_example() -> None:
    assert wilson(4, 10) == pytest.approx((0.1682, 0.6873), abs=1e-4)


@pytest.mark.parametrize("answer, expected", [("1", True), ("2", False), (None, False)])
def test_the_answer_that_most_agree_with_is_right_or_wrong(answer: str | None, expected: bool) -> None:
    group = [rollout(answer=each, correct=each == "1") for each in (None, "2", "1")]
    assert majority_correct(group, answer) is expected


def test_samples_are_measured_by_what_most_of_them_agree_with() -> None:
    observations = [Observation(id=str(k), question="", answer="1") for k in range(3)]
    answers = {0: ["1", "2"], 1: ["2", "1"], 2: [None, None]}
    rollouts = [
        rollout(k, attempt=Decoding.SAMPLED, sample=n, answer=answer, correct=answer == "1")
        for k, group in answers.items() for n, answer in enumerate(group)
    ]  # fmt: skip
    m = evaluation_metrics("evaluation", rollouts, observations, {0: "1", 1: "2"})
    assert (m["evaluation/maj@2"], m["evaluation/pass@2"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_evaluation_by_skill_and_level() -> None:
    observations = [Observation(id=str(k), question="", answer="1", skill="s", level=k % 2) for k in range(4)]
    rollouts = [rollout(k, correct=k in (0, 1, 2), answer=None if k == 3 else "1") for k in range(4)]
    m = evaluation_metrics("evaluation", rollouts, observations, {})
    assert m["evaluation/accuracy"] == 0.75
    assert (m["evaluation/s"], m["evaluation/s/level_0"], m["evaluation/s/level_1"]) == (0.75, 1.0, 0.5)
    assert m["evaluation/unparsed"] == 0.25


def test_a_mean_of_no_marks_is_left_out() -> None:
    assert reward_metrics([rollout(0), rollout(1, correct=False)]) == {"reward/unmarked": 1.0}
    assert reward_metrics([rollout(0, correct=False, score=0.25), rollout(1)]) == {
        "reward/mark": 0.25, "reward/agreement": 1.0, "reward/unmarked": 0.5,
    }  # fmt: skip


def test_a_prompt_shared_by_samples_is_counted_once() -> None:
    assert token_counts([rollout(sample=k) for k in range(3)]) == (7, 15)


def test_faithful_is_the_share_of_accepted_rationales_whose_every_step_is_right() -> None:
    rollouts = [
        rollout(0, score=1.0),
        rollout(1, score=0.5),
        rollout(2, correct=False, score=1.0),
        rollout(3, score=1.0),  # surplus
    ]
    outcome = tally(1, [0, 1, 2], rollouts)
    m = collect_metrics(outcome, rollouts, 2, 2)
    assert m["collect/faithful"] == 0.5
    assert (m["collect/rollouts"], m["collect/surplus"], m["collect/correct"]) == (3, 1, 2)


def test_times_of_several_launches_add_up() -> None:
    lines = [{"phase": "collect", "seconds": 1.0, "cached_tokens": 30}, {"phase": "collect", "seconds": 2.0}]
    figures = {
        "tokens/prompt": 90.0,
        "tokens/generated": 30.0,
        "flops_exact/generate": 6e9,
        "flops_exact/train": 2e9,
        "machine/peak_flops": 4e9,
    }
    others = [{"phase": "train", "seconds": 4.0}, {"phase": "evaluate", "seconds": 1.0, "cached_tokens": 7}]
    m = machine_metrics([*lines, *others], figures)
    assert m["seconds/collect"] == 3.0
    assert m["seconds/total"] == 8.0
    assert m["machine/tokens_per_second"] == 10.0
    assert m["machine/cached_tokens"] == 37.0
    assert (m["machine/utilisation_generate"], m["machine/utilisation_train"]) == (0.375, 0.125), "a quarter was cached"


counts = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12)


@given(counts, st.integers(1, 12), st.integers(1, 3))
def test_the_filling_prefix_is_the_shortest_one_that_holds_the_quota(wins, quota: int, per_observation: int) -> None:
    rollouts = [
        rollout(p, hinted=hinted, attempt=int(hinted))
        for p, (cold, warm) in enumerate(wins)
        for hinted, n in ((False, cold), (True, warm))
        for _ in range(n)
    ]
    outcome = tally(1, list(range(len(wins))), rollouts)
    held = [sum(min(a + b, per_observation) for a, b in wins[: m + 1]) for m in range(len(wins))]
    expected = next((m + 1 for m, total in enumerate(held) if total >= quota), None)
    assert filling_prefix(outcome, quota, per_observation) == expected


@given(counts, st.integers(0, 12))
def test_waves_concatenate_to_what_was_tallied_at_once(wins, cut: int) -> None:
    rollouts = [rollout(p, correct=k < c) for p, (c, d) in enumerate(wins) for k in range(c + d)]
    whole = tally(2, list(range(len(wins))), rollouts)
    parts = [tally(2, list(range(len(wins)))[s], rollouts) for s in (slice(0, cut), slice(cut, None))]
    joined = concatenate(parts)
    for name in ("positions", "attempts", "wins", "first_attempts", "first_wins"):
        assert getattr(joined, name).tolist() == getattr(whole, name).tolist()
    assert first(whole, cut).positions.tolist() == parts[0].positions.tolist()


def test_duplicates_and_hint_leaks_are_shares() -> None:
    rollouts = [
        rollout(0, text="a b", sample=0),
        rollout(0, text="a  b", sample=1),
        rollout(0, text="c", sample=2),
        rollout(1, text="a b"),
        rollout(2, hinted=True, correct=False, how=How.HINT_LEAK),
        rollout(3, hinted=True),
    ]
    m = collect_metrics(tally(1, [0, 1, 2, 3], rollouts), rollouts, None, 4)
    assert m["collect/duplicates"] == pytest.approx(1 / 5)
    assert m["collect/hint_leak"] == 0.5

"""B-STaR: the balance score by hand, the search on pilots, and the loop that samples at what it finds."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.records import Candidate, Rollout, Selection
from star_loop.run.directory import RunDirectory
from star_loop.searches.balance import Balance, balance_score, reward
from star_loop.seeding import rng
from star_loop.selectors.family import Best, Deduplicate, Rewarded
from tests.quiz import play

answers = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from("abc"), st.none() | st.sampled_from([0.0, 0.5, 1.0])),
    max_size=20,
)


def response(question: int, correct: bool, text: str, score: float | None = None) -> Rollout:
    return Rollout(
        position=question, id=str(question), attempt=0, sample=0, hinted=False, text=text, answer=text,
        correct=correct, how="", score=score, finish="stop", tokens=3, prompt_tokens=3,
    )  # fmt: skip


def naive(responses: list[Rollout], threshold: float | None, wanted: float) -> float:
    """bs_i = min(n'_i / n*, 1) · n'_i / n_i, question by question."""
    total, questions = 0.0, {r.position for r in responses}
    for question in questions:
        mine = [r for r in responses if r.position == question]
        selected = [r for r in mine if (r.correct if threshold is None else reward(r) > threshold)]
        unique = {r.text for r in selected if r.correct}
        if selected:
            total += min(len(unique) / wanted, 1) * len(unique) / len(selected)
    return total / len(questions)


@given(answers, st.none() | st.floats(-1, 1), st.integers(1, 6))
def test_the_balance_score_is_the_papers(pool: list, threshold: float | None, wanted: int) -> None:
    responses = [response(*row) for row in pool]
    if responses:
        score = balance_score(responses, threshold, wanted)
        assert score == pytest.approx(naive(responses, threshold, wanted))
        assert 0 <= score <= 1
    else:
        assert math.isnan(balance_score(responses, threshold, wanted))


def test_enough_different_correct_responses_and_nothing_else_score_1() -> None:
    perfect = [response(0, True, text) for text in "abcdef"]
    assert balance_score(perfect, None, 6) == 1
    assert balance_score(perfect[:3], None, 6) == 0.5
    assert balance_score([*perfect, *perfect], None, 6) == 0.5  # half of what is selected says nothing new
    assert balance_score([response(0, False, "a")], None, 6) == 0


def test_rewards_are_the_verdict_and_the_share_of_right_steps() -> None:
    assert [reward(response(0, c, "a", s)) for c, s in ((True, None), (True, 1.0), (False, 0.0), (True, 0.5))] == [
        1, 2, -1, 1,
    ]  # fmt: skip


def test_the_search_takes_the_temperature_and_the_threshold_that_balance() -> None:
    cold = [response(0, True, "a", 1.0)] * 4
    warm = [response(0, True, text, 1.0) for text in "abc"] + [response(0, False, "d", 0.0)]
    hot = [response(0, False, text, 0.0) for text in "abcd"]
    pilots = {0.4: cold, 0.8: warm, 1.2: hot}
    setting, best = Balance(temperatures=(0.4, 0.8, 1.2), wanted=3).settle(pilots)
    assert (setting.temperature, setting.threshold, setting.balance) == (0.8, None, 1.0)
    assert best == pytest.approx({0.4: 1 / 12, 0.8: 1.0, 1.2: 0.0})
    setting, _ = Balance(temperatures=(0.4, 0.8, 1.2), wanted=3, thresholds=(-2.0, 0.0, 3.0)).settle(pilots)
    assert (setting.temperature, setting.threshold) == (0.8, 0.0)


def released_selection(pool: list[Rollout], threshold: float, wanted: int) -> set[int]:
    """B-STaR's released loop: of each question the best above the threshold, one more of each until enough differ."""
    for most in range(1, 65):
        kept = []
        for question in {r.position for r in pool}:
            best = sorted((r for r in pool if r.position == question), key=reward, reverse=True)
            kept += [r for r in best if reward(r) > threshold][:most]
        distinct = list({(r.position, r.text): r for r in reversed(kept)}.values())
        if len(distinct) >= wanted:
            break
    return {id(r) for r in distinct}


@given(answers, st.sampled_from([-1.0, -0.5, 0.0, 1.0]), st.integers(1, 12))
def test_the_best_above_the_threshold_are_kept_right_or_wrong(pool: list, threshold: float, wanted: int) -> None:
    responses = [response(*row) for row in pool]
    items = [Candidate(rollout=r) for r in responses]
    context = Selection(iteration=1, beta=wanted, threshold=threshold)
    for selector in (Rewarded(), Best(), Deduplicate()):
        items = selector.select(items, context, rng(0))
    expected = released_selection(responses, threshold, wanted)
    texts = [
        {(r.position, r.text) for r in responses if id(r) in expected},
        {(c.rollout.position, c.rollout.text) for c in items},
    ]
    assert texts[0] == texts[1]
    assert len(items) == len(expected)


def test_without_a_threshold_what_is_correct_is_kept() -> None:
    items = [Candidate(rollout=response(k, k != 1, "a", s)) for k, s in enumerate((0.0, 0.5, 1.0))]
    kept = Rewarded().select(items, Selection(iteration=1, beta=1), rng(0))
    assert [c.rollout.position for c in kept] == [0, 2]
    twice = [Candidate(rollout=response(k, right, "a")) for k in range(3) for right in (False, True)]
    best = Best(limit=1).select(twice, Selection(iteration=1, beta=9), rng(0))
    assert [(c.rollout.position, c.rollout.correct) for c in best] == [(0, True), (1, True), (2, True)]


B_STAR = ("experiment=b_star", "model=scripted", "generator=scripted", "trainer=scripted",
          "search.temperatures=[0.5,1.0]", "search.questions=4", "search.rollouts=3", "iterations=2")  # fmt: skip


def test_the_loop_pays_for_its_pilots_and_learns_nothing_else_from_them(tmp_path: Path) -> None:
    play(tmp_path, *B_STAR)
    run = RunDirectory(tmp_path)
    figures, here = run.iteration(1).metrics(), run.iteration(1).path
    assert sorted(path.name for path in (here / "pilots").iterdir()) == ["0.5.jsonl", "1.jsonl"]
    pilots = {
        float(path.stem): [Rollout.from_json(line) for line in path.read_text().splitlines()]
        for path in (here / "pilots").iterdir()
    }
    assert all(len(rollouts) == 12 for rollouts in pilots.values())
    assert [r.correct for r in pilots[0.5]] != [r.correct for r in pilots[1.0]]  # each temperature draws for itself
    setting, _ = Balance(temperatures=(0.5, 1.0)).settle(dict(sorted(pilots.items())))
    assert (figures["search/temperature"], figures["search/balance"]) == (setting.temperature, setting.balance)
    assert figures["search/rollouts"] == 24
    assert figures["flops/search"] == 2 * 1_000_000 * 2 * (4 * 16 + 12 * 16)  # 2 P for each token of 2 temperatures
    assert figures["flops/cumulative"] == sum(figures[f"flops/{k}"] for k in ("generate", "train", "search"))
    assert run.iteration(1).statistics().attempts.tolist() == [5] * 12
    assert figures["tokens/generated"] == 12 * 5 * 16


def test_what_was_found_is_what_is_sampled_with(tmp_path: Path) -> None:
    """A greedy scripted engine answers all draws of a question alike; a sampling one does not."""
    for temperature in (0.0, 1.0):
        play(tmp_path / str(temperature), *B_STAR, f"search.temperatures=[{temperature}]", "iterations=1",
             "generator.table=[0.5]", "task.n=30")  # fmt: skip
        rows = [
            json.loads(line)
            for path in (tmp_path / str(temperature) / "iterations/0001/waves").iterdir()
            for line in path.read_text().splitlines()
        ]
        verdicts = {position: {r["correct"] for r in rows if r["position"] == position} for position in range(30)}
        assert all(len(v) == 1 for v in verdicts.values()) is (temperature == 0)


def test_pilots_are_read_again_after_an_interruption(tmp_path: Path) -> None:
    play(tmp_path, *B_STAR, "iterations=1")
    here = tmp_path / "iterations/0001"
    before = (here / "metrics.json").read_text()
    pilots = {path.name: path.stat().st_mtime_ns for path in (here / "pilots").iterdir()}
    (here / "state.json").unlink()
    play(tmp_path, *B_STAR, "iterations=1")
    assert pilots == {path.name: path.stat().st_mtime_ns for path in (here / "pilots").iterdir()}
    assert json.loads(before)["search/balance"] == json.loads((here / "metrics.json").read_text())["search/balance"]

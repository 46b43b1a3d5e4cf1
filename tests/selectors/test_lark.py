"""LARK: its score against finite differences, its weights against projections, the student's scores, and the loop."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from star_loop.config.build import build
from star_loop.launch import launch
from star_loop.models import Model, Pretrained
from star_loop.records import Candidate, Example, Rollout, Score, Selection
from star_loop.run.directory import RunDirectory
from star_loop.scorers.student import Student, token_means
from star_loop.seeding import rng
from star_loop.selectors.lark import Lark, chi2, chi2_top, implied_temperature, lark_scores, top
from star_loop.stages.score import rank_correlations
from star_loop.trainers.batches import Encoded
from star_loop.trainers.lora import Lora
from tests.quiz import QUIZ, configure, contents, play
from tests.run.test_resume import FailingDisk, Interrupted
from tests.small_models import write_adapter, write_llama

NAN = float("nan")
pools = st.lists(st.tuples(st.floats(0.05, 6), st.floats(0.01, 2)), min_size=1, max_size=8)
scores = st.lists(st.floats(-1, 1), min_size=1, max_size=9).map(np.array)


def rollout(sample: int, text: str = "2", position: int = 0) -> Rollout:
    return Rollout(
        position=position, id=str(position), attempt=0, sample=sample, hinted=False, text=text, answer=text,
        correct=True, how="", score=None, finish="stop", tokens=len(text) + 1, prompt_tokens=5,
    )  # fmt: skip


def score(sample: int, loss: float, brier: float, position: int = 0) -> Score:
    return Score(position=position, attempt=0, sample=sample, tokens=3, loss=loss, brier=brier)


# -------------------------------------------------------------------------------------------------- the score


def mixture_learnability(q: np.ndarray, loss: np.ndarray, brier: np.ndarray) -> float:
    """ρ(q) = Σ q² ρ L / Σ q L: the relative rate at which the loss of the mixture falls."""
    return (q**2 * brier).sum() / (q * loss).sum()


@given(pools)
def test_the_score_is_the_derivative_of_the_learnability_at_the_uniform_mixture(pool: list) -> None:
    loss, brier = (np.array(column) for column in zip(*pool, strict=True))
    k, h = len(pool), 1e-6
    uniform = np.full(k, 1 / k)
    steps = [np.eye(k)[i] * h for i in range(k)]
    slopes = [
        (mixture_learnability(uniform + d, loss, brier) - mixture_learnability(uniform - d, loss, brier)) / (2 * h)
        for d in steps
    ]
    assert lark_scores(loss, brier) == pytest.approx(np.array(slopes), rel=1e-5, abs=1e-7)


@given(pools)
def test_the_score_is_that_of_the_papers_formula_and_sums_to_the_pools_learnability(pool: list) -> None:
    loss, brier = (np.array(column) for column in zip(*pool, strict=True))
    rho, total = brier / loss, loss.sum()
    g = lark_scores(loss, brier)
    assert g == pytest.approx(loss / total * (2 * rho - (rho * loss).sum() / total))
    assert g.sum() == pytest.approx(brier.sum() / total)


def test_what_is_known_and_what_is_absurd_both_lose_to_what_can_be_learned() -> None:
    p = np.array([0.99, 0.3, 0.35, 0.4, 1e-9])  # per-token probabilities, by a student that knows two words
    g = lark_scores(-np.log(p), 2 * (1 - p) ** 2)
    assert g[1:4].min() > max(g[0], g[4])


def test_missing_scores_are_left_out_of_the_sums() -> None:
    g = lark_scores(np.array([1.0, NAN, 2.0]), np.array([0.5, NAN, 0.6]))
    assert math.isnan(g[1])
    assert g[[0, 2]] == pytest.approx(lark_scores(np.array([1.0, 2.0]), np.array([0.5, 0.6])))
    assert np.isnan(lark_scores(np.zeros(2), np.zeros(2))).all()


# ------------------------------------------------------------------------------------------------- the weights


def naive_projection(g: np.ndarray, tau: float) -> np.ndarray:
    """q = (g - ν)_+ / (τ K), with ν by bisection."""
    low, high = g.min() - tau * len(g) - 1, g.max()
    for _ in range(200):
        nu = (low + high) / 2
        low, high = (nu, high) if np.maximum(g - nu, 0).sum() > tau * len(g) else (low, nu)
    return np.maximum(g - low, 0) / (tau * len(g))


@given(scores, st.floats(0.01, 3))
def test_the_fixed_temperature_rule_is_the_projection_onto_the_simplex(g: np.ndarray, tau: float) -> None:
    q = chi2(g, tau)
    assert q.sum() == pytest.approx(1)
    assert q == pytest.approx(naive_projection(g, tau), abs=1e-9)


@given(scores, st.floats(0.05, 3), st.integers(0, 99))
def test_no_other_mixture_has_a_greater_penalised_score(g: np.ndarray, tau: float, seed: int) -> None:
    def objective(q: np.ndarray) -> float:
        return q @ g - tau / 2 * len(g) * ((q - 1 / len(g)) ** 2).sum()

    others = rng(seed).dirichlet(np.ones(len(g)), size=20)
    assert all(objective(chi2(g, tau)) >= objective(other) - 1e-9 for other in others)


@given(scores, st.integers(1, 5))
def test_the_budgeted_rule_is_the_projection_at_its_implied_temperature(g: np.ndarray, budget: int) -> None:
    assume(len(g) > budget and len(set(np.round(g, 6))) == len(g))
    q = chi2_top(g, budget)
    assert q == pytest.approx(naive_projection(g, implied_temperature(g, budget)), abs=1e-6)
    assert np.count_nonzero(q) == budget
    edge = np.sort(g)[::-1][budget]
    mean = np.sort(g)[::-1][:budget].mean()
    assert q == pytest.approx(np.maximum(g - edge, 0) / (budget * (mean - edge)))


@pytest.mark.parametrize(
    "rule, g, expected",
    [
        ({}, [0.5], [1]),
        ({}, [0.1, 0.4], [0.5, 0.5]),  # no more than B: uniform
        ({"small": "shrink"}, [0.1, 0.4], [0, 1]),
        ({"small": "shrink"}, [0.1], [1]),
        ({"small": "reference"}, [0.1, 0.4], [0, 1]),  # the worst gets about 1e-8
        ({}, [0.2, 0.2, 0.2, 0.2], [1 / 3, 1 / 3, 1 / 3, 0]),  # ties: the first B
        ({"budget": 2}, [0.3, NAN, 0.5, 0.1], [1 / 3, 0, 2 / 3, 0]),
        ({}, [NAN, NAN], [0.5, 0.5]),
        ({"rule": "top", "budget": 2}, [0.3, 0.1, 0.5], [0.5, 0, 0.5]),
        ({"rule": "kl", "tau": 0.5}, [0.0, 0.5 * math.log(3)], [0.25, 0.75]),
        ({"rule": "chi2_fixed", "tau": 1.0}, [0.0, 10.0], [0, 1]),
    ],
)
def test_the_rules_and_their_edges(rule: dict, g: list[float], expected: list[float]) -> None:
    assert Lark(**rule).weights(np.array(g)) == pytest.approx(expected, abs=1e-6)


@given(scores.filter(lambda g: len(g) > 3))
def test_hard_and_soft_keep_the_same_rationales(g: np.ndarray) -> None:
    assume(len(set(np.round(g, 6))) == len(g))
    assert np.array_equal(chi2_top(g, 3) > 0, top(g, 3) > 0)


def test_selecting_weighs_each_observation_by_itself_and_drops_what_has_no_weight() -> None:
    known = {(p, s): score(s, loss=1 + s, brier=0.4 + 0.1 * p, position=p) for p in (0, 1) for s in range(5)}
    candidates = [Candidate(rollout=rollout(s, position=p), score=known[p, s]) for s in range(5) for p in (1, 0)]
    kept = Lark(budget=2).select(candidates, Selection(iteration=1, beta=9), rng(0))
    for p in (0, 1):
        mine = [c for c in kept if c.rollout.position == p]
        expected = chi2_top(lark_scores(np.arange(1.0, 6), np.full(5, 0.4 + 0.1 * p)), 2)
        assert [c.rollout.sample for c in mine] == np.flatnonzero(expected).tolist()
        assert [c.weight for c in mine] == pytest.approx(expected[expected > 0])


def test_lark_without_a_scorer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"selectors\.lark weighs rationales by their scores: add scorer=student"):
        build(configure(*QUIZ, "selectors=lark")).check()


# ------------------------------------------------------------------------------------------------ the student


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    return Pretrained(name_or_path=str(write_llama(tmp_path_factory.mktemp("llama"))))


def naive_rank(model, sequence: Encoded) -> float:
    """The mean over the text's tokens of 1 + how many others are more probable, at most 100 (RSR's released code)."""
    logits = model(torch.tensor([sequence.ids])).logits[0]
    ranks = []
    for k in range(sequence.first_target, len(sequence.ids)):
        row = logits[k - 1].tolist()
        ranks.append(min(1 + sum(value > row[sequence.ids[k]] for value in row), 100))
    return sum(ranks) / len(ranks)


def naive_means(model, sequence: Encoded) -> tuple[float, float]:
    """Cross-entropy and ‖e_y - π‖², token by token and word by word, in float64."""
    losses, briers = [], []
    for t in range(sequence.first_target, len(sequence.ids)):
        with torch.no_grad():
            logits = model(torch.tensor([sequence.ids[:t]])).logits[0, -1].double()
        pi = torch.softmax(logits, -1)
        one_hot = torch.zeros_like(pi)
        one_hot[sequence.ids[t]] = 1
        losses.append(-math.log(pi[sequence.ids[t]]))
        briers.append(float(((one_hot - pi) ** 2).sum()))
    return float(np.mean(losses)), float(np.mean(briers))


def test_the_students_scores_are_those_of_every_token_on_its_own(base: Pretrained, tmp_path: Path) -> None:
    model = Model(base=base, adapter=write_adapter(Path(base.name_or_path), tmp_path / "adapter"))
    from star_loop.models.weights import encode_completion, encode_prompt, load_merged, load_tokenizer

    texts = ["2", "1+1=2", "two, I should think", ""]
    found = Student(max_tokens_per_batch=40).score([rollout(k, t) for k, t in enumerate(texts)], ["1+1="] * 4, model)
    student, tokenizer = load_merged(model), load_tokenizer(base)
    for k, text in enumerate(texts):
        prompt = encode_prompt(tokenizer, "1+1=", None)
        sequence = Encoded(ids=prompt + encode_completion(tokenizer, text), prompt=len(prompt))
        assert (found[k].sample, found[k].tokens) == (k, len(text) + 1)
        assert (found[k].loss, found[k].brier) == pytest.approx(naive_means(student, sequence), rel=1e-4)
        assert found[k].rank == pytest.approx(naive_rank(student, sequence), rel=1e-6)
    assert len({s.loss for s in found}) == 4


def test_the_brier_score_is_the_squared_gradient_by_the_logits(base: Pretrained) -> None:
    from star_loop.models.weights import load_model

    sequence = Encoded(ids=list(b"1+1=2"), prompt=4)
    model = load_model(base)
    logits = model(torch.tensor([sequence.ids])).logits[0, 3].detach().requires_grad_()
    torch.nn.functional.cross_entropy(logits[None], torch.tensor([sequence.ids[4]])).backward()
    assert token_means(model, [sequence])[0][1] == pytest.approx(float((logits.grad**2).sum()), rel=1e-4)


def test_what_is_longer_than_the_context_has_no_score(base: Pretrained) -> None:
    found = Student().score([rollout(0, "2"), rollout(1, "2" * 600)], ["1+1="] * 2, Model(base=base))
    assert [s.sample for s in found] == [0]
    with pytest.raises(ValueError, match="none of 1 rationale fits the model's context of 512 tokens"):
        Student().score([rollout(1, "2" * 600)], ["1+1="], Model(base=base))


def test_larks_weights_reach_the_adapter_at_one_sequence_at_a_time(base: Pretrained, tmp_path: Path) -> None:
    """The same rationales with other weights make another adapter, though every micro-batch is one sequence."""
    trainer = Lora(r=4, lora_alpha=8, learning_rate=1e-2, epochs=1, batch_size=2, max_tokens_per_batch=1, threads=1)
    adapters = []
    for name, budgeted in (("lark", Lark(budget=2)), ("hard", Lark(rule="top", budget=2))):
        candidates = [
            Candidate(rollout=rollout(s, str(s) * (s + 1)), score=score(s, loss=1 + s, brier=0.3 + 0.2 * s))
            for s in range(3)
        ]
        kept = budgeted.select(candidates, Selection(iteration=1, beta=9), rng(0))
        examples = [
            Example(position=0, id="0", prompt="1+1=", completion=c.rollout.text, weight=c.weight) for c in kept
        ]
        assert len(examples) == 2
        into = tmp_path / name
        into.mkdir()
        trainer.train(examples, Model(base=base), into, steps=None, seed=0)
        adapters.append((into / "adapter_model.safetensors").read_bytes())
    assert adapters[0] != adapters[1]


# ---------------------------------------------------------------------------------------------------- the loop

LARK = ("experiment=lark", "model=scripted", "generator=scripted", "trainer=scripted", "scorer=scripted",
        "~selectors.deduplicate", "schedule.steps=4", "iterations=2")  # fmt: skip


def test_the_loop_scores_selects_and_accounts(tmp_path: Path) -> None:
    play(tmp_path, *LARK)
    here = RunDirectory(tmp_path).iteration(1)
    rows = [Score.from_json(line) for line in (here.path / "scores.jsonl").read_text().splitlines()]
    examples = [Example.from_json(line) for line in (here.path / "examples.jsonl").read_text().splitlines()]
    for position in {e.position for e in examples}:
        mine = [s for s in rows if s.position == position]
        q = Lark().weights(lark_scores(np.array([s.loss for s in mine]), np.array([s.brier for s in mine])))
        assert [e.weight for e in examples if e.position == position] == pytest.approx(q[q > 0])
    figures = here.metrics()
    w = np.array([e.weight for e in examples])
    assert figures["select/effective"] == pytest.approx(w.sum() ** 2 / (len(w) * (w**2).sum()))
    assert figures["select/effective"] < 1
    assert figures["score/rationales"] == len(rows) == figures["collect/correct"]
    assert figures["score/learnability_deviation"] > 0
    assert figures["flops/score"] == 2 * 1_000_000 * 32 * len(rows)
    spent = sum(figures[f"flops/{what}"] for what in ("generate", "train", "score"))
    assert figures["flops/cumulative"] == spent


def test_lark_chooses_among_teachers(tmp_path: Path) -> None:
    """The paper's setting: K rationales of each observation from a file, scored by a real student, one kept."""
    student = write_llama(tmp_path / "student")
    teachers = {"terse": "#### {k}", "plain": "It is {k}.\n#### {k}", "shouting": "IT IS {k}!!!\n#### {k}"}
    rows = [
        {"id": f"train/{k}", "source": name, "text": form.format(k=k)}
        for k in range(12)
        for name, form in teachers.items()
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    play(tmp_path / "run", "experiment=lark", "generator=pool", f"generator.path={tmp_path}/pool.jsonl",
         "model=scripted", "model._target_=star_loop.models.Pretrained", f"model.name_or_path={student}",
         "trainer=scripted", "selectors.lark.budget=1", "selectors.lark.small=shrink",
         "allocator.rollouts=3", "schedule.quota=null", "iterations=1")  # fmt: skip
    here = RunDirectory(tmp_path / "run").iteration(1)
    scored = [Score.from_json(line) for line in (here.path / "scores.jsonl").read_text().splitlines()]
    texts = {(r.position, r.sample): r.text for r in here.rollouts()}
    examples = [Example.from_json(line) for line in (here.path / "examples.jsonl").read_text().splitlines()]
    assert len(scored) == 36
    assert len(examples) == 12
    for e in examples:
        mine = [s for s in scored if s.position == e.position]
        g = lark_scores(np.array([s.loss for s in mine]), np.array([s.brier for s in mine]))
        assert e.completion == texts[e.position, mine[int(g.argmax())].sample]
    assert here.metrics()["score/learnability_deviation"] > 0


def test_a_run_with_scores_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    config = configure(*QUIZ, *LARK, "iterations=1", "scorer.diagnose=true")
    launch(config, tmp_path / "whole")
    expected, at, deaths = contents(tmp_path / "whole"), 30, 0
    while True:
        try:
            launch(config, tmp_path / "torn", FailingDisk(at))
            break
        except Interrupted:
            deaths += 1
            at = 7
            if deaths > 40:
                at = -1
    assert deaths > 1
    assert contents(tmp_path / "torn") == expected


def test_the_rank_correlation_is_spearmans_within_observations() -> None:
    before = [score(s, loss=1.0 + s, brier=0.5, position=p) for p in (0, 1) for s in range(3)]
    g = lark_scores(np.array([1.0, 2, 3]), np.full(3, 0.5))
    assert (np.diff(g) < 0).all()
    fall = {(0, 0): 0.3, (0, 1): 0.2, (0, 2): 0.1, (1, 0): 0.1, (1, 1): 0.3, (1, 2): 0.2}
    after = [score(s.sample, s.loss - fall[s.position, s.sample], 0.1, s.position) for s in before]
    # observation 0: the same order, 1; observation 1: ranks (2, 1, 0) and (0, 2, 1), 1 - 6 (4 + 1 + 1) / (3 · 8)
    assert rank_correlations(before, after) == pytest.approx([1, 1 - 6 * 6 / 24])
    assert rank_correlations(before[:1], after[:1]) == []


def test_the_same_rationale_twice_is_no_order() -> None:
    """Only rounding tells the first two apart, and nothing else varies in observation 1."""
    losses = [1.0, 1.0 + 3e-7, 2.0]
    before = [score(s, loss=losses[s], brier=0.5) for s in range(3)]
    before += [score(s, loss=losses[s], brier=0.5, position=1) for s in range(2)]
    after = [score(s.sample, s.loss - (0.3, 0.3 - 2e-7, 0.1)[s.sample], 0.1, s.position) for s in before]
    assert rank_correlations(before, after) == pytest.approx([1.0])


@pytest.mark.engine
def test_lark_on_the_tiny_model(tmp_path: Path) -> None:
    """The embedded default with its own student's scores, on the easiest levels."""
    play(tmp_path, "experiment=lark", "task=arithmetic", "+task.levels={addition: [5]}", "task._target_=star_loop.tasks.arithmetic.Arithmetic",
         "task.train_per_level=8", "task.validation_per_level=2", "task.test_per_level=2", "generator=transformers",
         "trainer=lora", "model=tiny", "schedule.steps=3", "iterations=1", "trainer.threads=1", "scorer.diagnose=true")  # fmt: skip
    here = RunDirectory(tmp_path).iteration(1)
    figures = here.metrics()
    assert 0 < figures["score/loss"] < 5
    assert 0 < figures["score/brier"] < 2
    assert -1 <= figures["score/rank_correlation"] <= 1
    assert 0 <= figures["score/rank_observations"] <= figures["collect/observations"]
    assert figures["flops_exact/score"] > 0
    assert json.loads((here.path / "adapter" / "training.json").read_text())["examples"] == figures["select/examples"]

"""Scores from an engine's log-probabilities against whole distributions; parameter gradients against autograd."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from star_loop.config.build import build
from star_loop.generators.likelihood import means
from star_loop.models import Model, Pretrained
from star_loop.records import Rollout
from star_loop.scorers.engine import FromEngine
from star_loop.scorers.gradient import Gradient, Side, unbiased_gap
from star_loop.scorers.student import Student
from star_loop.seeding import rng
from tests.quiz import QUIZ, configure
from tests.selectors.test_lark import rollout
from tests.small_models import write_adapter, write_llama


@dataclass
class Logprob:
    logprob: float


# ------------------------------------------------------------------------------------------- what an engine tells


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.05, 8), st.integers(0, 2**20))
def test_the_brier_score_of_the_most_probable_tokens_is_as_near_as_it_says(
    words: int, top: int, sharpness: float, seed: int
) -> None:
    logits = sharpness * rng(seed, "logits").normal(size=(3, words))
    logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    targets = rng(seed, "targets").integers(0, words, 3).tolist()
    known = []
    for row, target in zip(logp, targets, strict=True):
        best = np.argsort(-row)[:top].tolist()
        known.append({token: Logprob(float(row[token])) for token in {*best, target}})
    loss, brier, slack = means(known, targets, words)
    one_hot = np.eye(words)[targets]
    true = ((one_hot - np.exp(logp)) ** 2).sum(axis=1).mean()
    assert loss == pytest.approx(-np.mean([row[t] for row, t in zip(logp, targets, strict=True)]))
    assert abs(brier - true) <= slack + 1e-9
    if top >= words:
        assert brier == pytest.approx(true)
        assert slack == pytest.approx(0, abs=1e-9)


def test_a_scorer_whose_engine_cannot_tell_is_refused() -> None:
    with pytest.raises(ValueError, match="scorer=engine asks vLLM for probabilities: take generator=vllm"):
        build(configure(*QUIZ, "scorer=engine")).check()
    with pytest.raises(ValueError, match="scorer=engine asks vLLM"):
        FromEngine().score([rollout(0)], ["1+1="], Model(base=Pretrained(name_or_path="tiny")))


# ---------------------------------------------------------------------------------------------------- gradients


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    base = write_llama(tmp_path_factory.mktemp("llama"), layers=1)
    return Model(
        base=Pretrained(name_or_path=str(base)), adapter=write_adapter(base, tmp_path_factory.mktemp("adapter"))
    )


def some() -> list[Rollout]:
    """Two right ones and one wrong of observation 0, a hinted wrong one, and a right one of observation 1."""
    right = [rollout(0, "2"), rollout(1, "two"), replace(rollout(0, "3", position=1))]
    wrong = [replace(rollout(2, "5"), correct=False), replace(rollout(0, "9"), correct=False, hinted=True, attempt=1)]
    return [right[0], wrong[0], right[2], wrong[1], right[1]]


def naive_gradient(model: Model, text: str, parts: tuple[str, ...] = ("",)) -> torch.Tensor:
    """∇ log π of the text after the prompt, token by token, as one vector."""
    from star_loop.models.weights import encode_completion, encode_prompt, load_merged, load_tokenizer

    student, tokenizer = load_merged(model), load_tokenizer(model.base)
    prompt, completion = encode_prompt(tokenizer, "1+1=", None), encode_completion(tokenizer, text)
    student.requires_grad_(True)
    for k, token in enumerate(completion):
        logits = student(torch.tensor([prompt + completion[:k]])).logits[0, -1]
        logits.log_softmax(-1)[token].backward()
    chosen = [p for name, p in student.named_parameters() if any(part in name for part in parts)]
    return torch.cat([p.grad.flatten() for p in chosen])


def test_gradients_are_those_of_the_log_probability_by_every_parameter(model: Model) -> None:
    rollouts = some()
    found = Gradient(wrong=True).score(rollouts, ["1+1="] * 5, model)
    vectors = [naive_gradient(model, r.text) for r in rollouts]
    assert [s.gradient for s in found] == pytest.approx([float(v.square().sum()) for v in vectors], rel=1e-3)
    assert [s.energy for s in found] == [s.gradient for s in found]
    spread = float((vectors[0] - vectors[4]).square().sum()) / 2  # the wrong one is alone, and taken to vary as much
    gap = float(((vectors[0] + vectors[4]) / 2 - vectors[1]).square().sum()) - spread / 2 - spread
    assert [s.gap for s in found] == [pytest.approx(gap, rel=1e-3) if r.position == 0 else None for r in rollouts]


@pytest.mark.parametrize(("right", "wrong"), [(2, 2), (3, 5), (1, 3)])
def test_the_gap_is_unbiased(right: int, wrong: int) -> None:
    """Its mean over draws is the true squared distance, where the plain one is 2 to 4 times as large."""
    draws, means = torch.Generator().manual_seed(right), (torch.tensor([1.0, 0.0, 0.5]), torch.tensor([0.0, 0.5, 0.5]))
    found = []
    for _ in range(4000):
        sides = Side(), Side()
        for side, mean, n in zip(sides, means, (right, wrong), strict=True):
            for vector in mean + 1.2 * torch.randn(n, 3, generator=draws):
                side.add([vector[:2].clone(), vector[2:].clone()])
        found.append(unbiased_gap(*sides))
    assert np.mean(found) == pytest.approx(1.25, abs=5 * np.std(found) / len(found) ** 0.5)
    assert np.std(found) / len(found) ** 0.5 < 0.12


def test_two_single_gradients_say_nothing_of_their_spread() -> None:
    one, two = Side(), Side()
    assert unbiased_gap(one, two) is None
    for side in (one, two):
        side.add([torch.ones(2)])
    assert unbiased_gap(one, two) is None


def test_what_else_it_finds_is_what_the_student_finds(model: Model) -> None:
    by_gradient, by_student = (s.score(some(), ["1+1="] * 5, model) for s in (Gradient(), Student()))
    for one, other in zip(by_gradient, by_student, strict=True):
        assert (one.position, one.attempt, one.sample, one.tokens) == (
            other.position, other.attempt, other.sample, other.tokens
        )  # fmt: skip
        assert (one.loss, one.brier) == pytest.approx((other.loss, other.brier), rel=1e-4)
        assert other.energy == other.tokens * other.brier


def test_some_parameters_only(model: Model) -> None:
    found = Gradient(parameters=("embed_tokens", "norm")).score(some()[:1], ["1+1="], model)
    assert found[0].gradient == pytest.approx(
        float(naive_gradient(model, "2", ("embed_tokens", "norm")).square().sum()), rel=1e-3
    )
    with pytest.raises(ValueError, match=r"scorer\.parameters=\['heads'\]: none of .* has such a name"):
        Gradient(parameters=("heads",)).score(some()[:1], ["1+1="], model)


# ------------------------------------------------------------------------------------------------------ in vLLM


@pytest.mark.engine
@pytest.mark.parametrize("adapter", ["merge", "lora"])
def test_the_engines_scores_are_the_students(model: Model, adapter: str, tmp_path: Path) -> None:
    from star_loop.generators.vllm import Vllm

    settings = Vllm(adapter=adapter, threads=1, cpu_kvcache_space=0.1)
    rollouts = [*some(), rollout(7, "x" * 600)]
    prompts, student = ["1+1="] * 6, Student().score(rollouts, ["1+1="] * 6, model)
    with settings.engine(model.base, workspace=tmp_path, seed=0) as engine:
        exact = FromEngine(top=300).score(rollouts, prompts, model, engine=engine)
        some_known = FromEngine(top=5).score(rollouts, prompts, model, engine=engine)
        longest = engine.score([(list(range(1, 200)) * 3, 1)], 1)
    assert longest == [None]
    assert len(exact) == len(student) == 5
    for s, e, k in zip(student, exact, some_known, strict=True):
        assert (e.loss, e.brier, e.slack) == pytest.approx((s.loss, s.brier, 0), rel=1e-3, abs=1e-5)
        assert k.loss == pytest.approx(s.loss, rel=1e-3)
        assert abs(k.brier - s.brier) <= k.slack + 1e-4
        assert k.slack > 0

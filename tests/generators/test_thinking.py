"""Reasoning ends at its budget, and a reply follows it."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from star_loop.evaluation import Evaluation
from star_loop.generators.thinking import ThinkingBudget
from star_loop.generators.transformers import Transformers
from star_loop.models import Pretrained
from star_loop.records import Observation, Request, Sampling
from tests.small_models import write_llama

BEGINS, ENDS = [7, 8], [7, 9, 9]
FREE = st.integers(0, 9)


def continued(budget: ThinkingBudget, prompt: list[int], wishes: list[int]) -> list[int]:
    """What comes of a model that would write `wishes`."""
    ids = list(prompt)
    for wish in wishes:
        forced = budget.forced(ids)
        ids.append(wish if forced is None else forced)
    return ids[len(prompt) :]


@given(st.lists(FREE, max_size=4), st.lists(st.integers(0, 6), min_size=12, max_size=20), st.integers(1, 6))
def test_the_end_is_written_at_the_budget_and_what_follows_is_free(before: list, wishes: list, budget: int) -> None:
    written = continued(ThinkingBudget(BEGINS, ENDS, budget), before + BEGINS, wishes)
    assert written == wishes[:budget] + ENDS + wishes[budget + len(ENDS) :]


@given(st.lists(st.integers(0, 6), max_size=9), st.integers(1, 6))
def test_who_does_not_think_or_has_ended_is_left_alone(wishes: list, budget: int) -> None:
    assert continued(ThinkingBudget(BEGINS, ENDS, budget), [1], wishes) == wishes
    assert continued(ThinkingBudget(BEGINS, ENDS, budget), [*BEGINS, *ENDS], wishes) == wishes


def test_an_end_that_the_model_has_begun_is_not_begun_again() -> None:
    assert continued(ThinkingBudget(BEGINS, ENDS, 2), BEGINS, [1, 2, 7, 9, 9, 3]) == [1, 2, 7, 9, 9, 3]


def test_generate_keeps_the_budget(tmp_path: Path) -> None:
    base = Pretrained(name_or_path=str(write_llama(tmp_path)))
    sampling = Sampling(temperature=1.0, max_tokens=24, thinking=5)
    asked = Request(
        prompt="a<think>", observation=Observation(id="1", question="a", answer="b"), sampling=sampling, n=3
    )
    with Transformers().engine(base, workspace=tmp_path, seed=0) as engine:
        (drawn,) = engine.generate([asked], seed=0)
    for completion in drawn:
        assert completion.ids is not None and "</think>" in completion.text
        assert len(completion.text.encode().partition(b"</think>")[0]) <= 5 + 12  # a byte that is no text is shown as �


def test_evaluation_has_the_budget_too() -> None:
    observation = Observation(id="1", question="a", answer="b")
    sampling = Sampling(temperature=0.7, max_tokens=9, thinking=4)
    asked = Evaluation(samples=2).requests({0: (observation, "a", sampling)}, 0)
    assert [request.sampling.thinking for *_, request in asked] == [4, 4]

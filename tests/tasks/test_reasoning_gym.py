"""Procedural questions; the library's own scorers run apart."""

from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.records import Observation
from star_loop.stages.load import load
from star_loop.tasks.reasoning_gym import ReasoningGym
from star_loop.verifiers.gym import Gym
from tests.verifiers.test_real_verifiers import NASTY

needs_gym = pytest.mark.skipif(find_spec("reasoning_gym") is None, reason="the extra `gym` is not installed")
ASKED = Observation(id="g", question="?", answer="1 2\n3 4")
SIZES = {"train_size": 20, "validation_size": 4, "test_size": 4}


@pytest.mark.parametrize(
    "text, correct",
    [("So <answer>1 2\n3 4</answer>.", True), ("<answer>\n1 2\n3 4 </answer>", True), ("1 2\n3 4", False),
     ("<answer>1 2\n3 4", False), ("<answer>5</answer> no: <answer>1 2\n3 4</answer>", True),
     ("<answer>1 2\n3 4</answer> no: <answer>5</answer>", False), ("<answer></answer>", False)],
)  # fmt: skip
def test_the_answer_stands_between_tags(text: str, correct: bool) -> None:
    assert Gym().judge(ASKED, text).correct is correct


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_nasty_texts_are_wrong(text: str) -> None:
    assert not Gym().judge(ASKED, text).correct
    assert not Gym().judge(ASKED, f"<answer>{text}</answer>").correct


@given(st.text())
def test_idempotent(text: str) -> None:
    verdict = Gym().judge(ASKED, f"<answer>{text}</answer>")
    assert verdict.answer is None or Gym().judge(ASKED, f"<answer>{verdict.answer}</answer>") == verdict


@pytest.mark.skipif(find_spec("reasoning_gym") is not None, reason="the extra `gym` is installed")
def test_without_the_library_the_extra_is_named() -> None:
    with pytest.raises(ValueError, match=r'pip install "star_loop\[gym\]"'):
        ReasoningGym().check()


@needs_gym
def test_a_data_set_with_levels_is_the_same_each_time() -> None:
    task = ReasoningGym(dataset="chain_sum", level="num_terms", config={"max_terms": 4}, **SIZES)
    task.check()
    splits = load(task)
    assert splits["train"][:] and {o.level for o in splits["train"]} <= {2, 3, 4}
    assert list(ReasoningGym(dataset="chain_sum", level="num_terms", config={"max_terms": 4}, **SIZES).test()) == list(
        task.test()
    )
    assert [o.question for o in ReasoningGym(seed=1, **SIZES).test()] != [
        o.question for o in ReasoningGym(**SIZES).test()
    ]
    assert task.bare_prompt(splits["train"][0]).startswith(
        "Think step by step. Write the final answer between <answer>"
    )


@needs_gym
def test_the_own_scorer_accepts_other_right_answers_and_is_killed_when_it_hangs() -> None:
    task = ReasoningGym(dataset="countdown", verifier=Gym(scorer="own", timeout=60), **SIZES)
    observation = task.train()[0]
    other = f"({observation.answer})"
    assert task.verifier.judge(observation, f"<answer>{other}</answer>").how == "full marks (marker)"
    assert not Gym().judge(observation, f"<answer>{other}</answer>").correct
    assert task.verifier.judge(observation, "<answer>1 + 1</answer>").how == "less than full marks (marker)"
    hanging = Gym(scorer="own", timeout=1)
    assert hanging.judge(observation, "<answer>9**9**9**9</answer>").how.startswith("scoring stopped")
    assert hanging.judge(observation, f"<answer>{observation.answer}</answer>").correct


@needs_gym
@pytest.mark.parametrize(
    "keys, message",
    [({"dataset": "nothing"}, "cannot make nothing"), ({"config": {"size_of_it": 3}}, "cannot make chain_sum"),
     ({"level": "weight"}, r"task\.level=weight: .*there is .*num_terms")],
)  # fmt: skip
def test_mistakes(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReasoningGym(**{**SIZES, **keys}).train()  # type: ignore[arg-type]

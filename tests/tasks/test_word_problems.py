"""Word problems: true chains, disjoint splits, wording that is never trained, and a verifier that grades equations."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.records import Observation
from star_loop.seeding import rng
from star_loop.tasks.word_problems import PLOTS, RETOLD, WordProblems, split_of, tell
from star_loop.verifiers.chain import Chain, grade

TASK = WordProblems(train_per_level=20, validation_per_level=2, test_per_level=3)
EQUATION = re.compile(r"(\d+) ([-+*]) (\d+) = (\d+)\.")


@given(st.sampled_from([*PLOTS.values(), *RETOLD]), st.integers(1, 6), st.integers(2, 49), st.integers(0, 999))
def test_a_rationale_is_a_true_chain_of_the_question_s_numbers(plot, steps: int, largest: int, seed: int) -> None:
    question, rationale, answer = tell(plot, steps, largest, rng(seed, "test"))
    equations = EQUATION.findall(rationale)
    assert len(equations) == steps
    for (a, sign, b, c), following in zip(equations, [*equations[1:], None], strict=True):
        assert {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[sign] == int(c)
        assert following is None or following[0] == c
        assert 0 < int(c) <= plot.highest and int(b) <= max(largest, 2)
    assert equations[-1][3] == str(answer) and rationale.endswith(f"#### {answer}")
    assert grade(question, rationale.partition("####")[0]) == 1.0
    assert ("{" not in question and question[0].isupper()) or question[0].isdigit()


def test_splits_share_no_chain_and_only_the_test_split_is_retold() -> None:
    splits = {"train": TASK.train(), "validation": TASK.validation(), "test": TASK.test()}
    chains = {name: {o.rationale for o in observations} for name, observations in splits.items()}
    assert not chains["train"] & chains["test"] and not chains["train"] & chains["validation"]
    assert not chains["validation"] & chains["test"]
    assert all(split_of(o) == name for name, observations in splits.items() for o in observations)
    skills = {name: {o.skill for o in observations} for name, observations in splits.items()}
    assert skills["test"] - skills["train"] == {"retold"} and skills["train"] == skills["validation"] == set(PLOTS)
    ids = [o.id for observations in splits.values() for o in observations]
    assert len(set(ids)) == len(ids)


def test_sizes_are_those_asked_for_and_problems_keep_their_ids() -> None:
    plots, levels = len(PLOTS), len(TASK.levels)
    assert len(TASK.train()) == 20 * plots * levels and len(TASK.validation()) == 2 * plots * levels
    assert len(TASK.test()) == 3 * (plots + 1) * levels
    larger = WordProblems(train_per_level=30)
    questions = {o.id: o.question for o in larger.train()}
    assert all(questions[o.id] == o.question for o in TASK.train())
    assert WordProblems(seed=1).train()[0] != TASK.train()[0]


def test_a_level_that_is_exhausted_is_named() -> None:
    with pytest.raises(ValueError, match=r"level 1 with numbers up to 2: .* are missing; .*task\.largest"):
        WordProblems(largest=2, train_per_level=10_000).train()


def test_the_worked_examples_are_chains_of_their_questions() -> None:
    TASK.check()
    assert all(TASK.verifier.judge(e, e.rationale).score == 1.0 for e in TASK._exemplars)
    assert not {e.question for e in TASK._exemplars} & {o.question for o in TASK.test()}


ASKED = Observation(id="1", question="Ann has 9 apples. Ann buys 4 more. Ann loses 5.", answer="8")


@pytest.mark.parametrize(
    ("text", "correct", "score"),
    [
        ("9 + 4 = 13. 13 - 5 = 8.\n#### 8", True, 1.0),
        ("Buys: 9+4=13. Loses: 13 - 5 = 8.\n#### 8", True, 1.0),
        ("4 + 9 = 13. 13 - 5 = 8.\n#### 8", True, 1.0),
        ("9 + 4 = 12. 12 - 5 = 8.\n#### 8", True, 0.0),
        ("9 + 4 = 13. 12 - 5 = 8.\n#### 8", True, 0.5),
        ("4 + 4 = 8.\n#### 8", True, 0.0),
        ("#### 8", True, 0.0),
        ("9 + 4 = 13. 13 - 5 = 8. 8 - 5 = 3.\n#### 8", True, 2 / 3),
        ("9 - 4 = 5. 5 - 5 = 0.\n#### 0", False, 1.0),
        ("9 + 4 = 13. 13 - 5 = 8.", False, 0.0),
    ],
)
def test_equations_are_graded_and_the_answer_decides(text: str, correct: bool, score: float) -> None:
    verdict = Chain().judge(ASKED, text)
    assert (verdict.correct, verdict.score) == (correct, pytest.approx(score))


@given(st.text(alphabet="0123456789 +-*=.#\n٣twice", max_size=80))
def test_any_text_is_graded(text: str) -> None:
    assert 0.0 <= (Chain().judge(ASKED, text).score or 0.0) <= 1.0

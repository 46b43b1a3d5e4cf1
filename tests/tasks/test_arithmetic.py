import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from star_loop.seeding import rng
from star_loop.tasks.arithmetic import Arithmetic, split_of
from star_loop.verifiers.columns import HIGHEST_LEVEL, SKILLS, draw, parse

SMALL = Arithmetic(train_per_level=6, validation_per_level=3, test_per_level=4)

problems = st.builds(
    lambda skill, level, seed: draw(skill, level, rng(seed, "test")),
    st.sampled_from(sorted(SKILLS)),
    st.integers(1, HIGHEST_LEVEL),
    st.integers(0, 10**6),
)


def splits(task: Arithmetic) -> dict:
    return {"train": task.train(), "validation": task.validation(), "test": task.test()}


def test_the_notation_of_addition() -> None:
    problem = parse("q54r87s18t56=")
    assert problem is not None
    assert (problem.skill, problem.operands, problem.answer) == ("addition", (5185, 6874), "12059")
    assert problem.rationale == "q540:09;r870:15;s181:10;t561:12;#q9r5s0t2u1"


@pytest.mark.parametrize(
    ("question", "skill", "operands", "answer", "rationale"),
    [
        ("j28k82-=", "subtraction", (82, 28), "54", "j280-14;k821-05;#j4k5"),
        ("j14k28l30-=", "subtraction", (321, 84), "237", "j140-17;k281-13;l301-02;#j7k3l2"),
        ("f65g45*=", "multiplication", (46, 5), "230", "f650*30;g453*23;#f0g3h2"),
        ("j839k757=", "three_sum", (78, 53, 79), "210", "j830:11,190:10;k751:13,371:11;l110:02;#j0k1l2"),
        ("j100k100=", "three_sum", (11, 0, 0), "11", "j100:01,100:01;k100:01,100:01;#j1k1"),
        ("k668l765*=", "multiply_add", (76, 6, 58), "514", "k660*36,680:14;l763*45,551:11;m410:05;#k4l1m5"),
    ],
)
def test_the_notation_of_the_other_skills(
    question: str, skill: str, operands: tuple[int, ...], answer: str, rationale: str
) -> None:
    problem = parse(question)
    assert problem is not None
    assert (problem.skill, problem.operands) == (skill, operands)
    assert (problem.answer, problem.rationale) == (answer, rationale)


@given(problems)
def test_questions_are_read_back(problem) -> None:
    assert parse(problem.question) == problem


@given(problems)
def test_answers_are_what_arithmetic_says(problem) -> None:
    a, b, *rest = problem.operands
    c = rest[0] if rest else 0
    expected = {
        "addition": a + b, "subtraction": a - b, "multiplication": a * b,
        "three_sum": a + b + c, "multiply_add": a * b + c,
    }  # fmt: skip
    assert int(problem.answer) == expected[problem.skill] >= 0


@given(problems)
def test_the_rows_arrive_at_the_answer(problem) -> None:
    digits = [row[-1] for row in problem.rows()]
    carry = [row[-2] for row in problem.rows()][-1:]
    worked = (
        int("".join(reversed(digits))) if len(digits) > len(problem.columns) else int("".join(reversed(digits + carry)))
    )
    assert worked == int(problem.answer)


@pytest.mark.parametrize(
    "text",
    ["", "=", "5185+6874=", "q54s87=", "q54r876=", "q54r87", "q54r87s18t56= ", "y11z11a11=", "q41r42*=", "q28r12-=",
     "q٥4=", "q543-=", "".join(f"{letter}11" for letter in "abcdefghijklmnopqrstuvwxyz") + "="],
)  # fmt: skip
def test_other_texts_are_no_questions(text: str) -> None:
    assert parse(text) is None


def test_splits_share_no_question_and_no_id() -> None:
    everything = [o for split in splits(SMALL).values() for o in split]
    assert len({o.id for o in everything}) == len({o.question for o in everything}) == len(everything)
    for name, split in splits(SMALL).items():
        assert {split_of(parse(o.question)) for o in split} == {name}


@pytest.mark.parametrize("seed", [1, 2])
def test_no_seed_turns_a_test_problem_into_a_training_problem(seed: int) -> None:
    operands = {
        (o.skill, parse(o.question).operands) for o in Arithmetic(levels={"addition": (2,)}, test_per_level=300).test()
    }
    other = Arithmetic(levels={"addition": (2,)}, train_per_level=900, seed=seed).train()
    assert operands.isdisjoint((o.skill, parse(o.question).operands) for o in other)


def test_the_sizes_are_those_asked_for() -> None:
    cells = sum(len(levels) for levels in SMALL.levels.values())
    assert {name: len(split) for name, split in splits(SMALL).items()} == {
        "train": 6 * cells, "validation": 3 * cells, "test": 4 * cells,
    }  # fmt: skip
    assert {(o.skill, o.level) for o in SMALL.test()} == {(s, n) for s, levels in SMALL.levels.items() for n in levels}


def test_observations_depend_on_the_seed_alone() -> None:
    assert splits(SMALL) == splits(Arithmetic(train_per_level=6, validation_per_level=3, test_per_level=4))
    assert SMALL.test() != Arithmetic(train_per_level=6, validation_per_level=3, test_per_level=4, seed=1).test()


def test_a_larger_set_begins_with_the_smaller_one() -> None:
    larger = Arithmetic(train_per_level=9, validation_per_level=3, test_per_level=8)
    assert {o.id for o in SMALL.test()} < {o.id for o in larger.test()}
    assert {o.id for o in SMALL.train()} < {o.id for o in larger.train()}


def test_every_gold_text_is_accepted_and_faithful() -> None:
    for o in [*Arithmetic().train(), *Arithmetic().validation(), *Arithmetic().test()]:
        verdict = SMALL.verifier.judge(o, SMALL.gold_text(o))
        assert (verdict.correct, verdict.score) == (True, 1.0)


def test_the_hint_form_shows_the_answer_and_nothing_else_has_its_marker() -> None:
    for o in SMALL.train():
        prompt = SMALL.prompt(o, hint=True)
        assert prompt.endswith(o.question) and prompt.count(SMALL.hint_marker) == 2
        assert SMALL.verifier.judge(o, "#" + prompt.split(SMALL.hint_marker)[1]).correct
        assert SMALL.hint_marker not in o.rationale + o.question
        assert SMALL.prompt(o) == SMALL.bare_prompt(o) == o.question


def test_a_hint_for_another_kind_of_question_is_refused() -> None:
    import dataclasses

    with pytest.raises(ValueError, match="not a question in column notation: 'why'"):
        SMALL.prompt(dataclasses.replace(SMALL.train()[0], question="why"), hint=True)


def test_a_level_without_enough_problems_is_named() -> None:
    with pytest.raises(ValueError, match=r"multiplication has too few problems of level 1.*'test': 12"):
        Arithmetic(levels={"multiplication": (1,)}).train()


@pytest.mark.parametrize(
    "levels",
    [{}, {"division": (3,)}, {"addition": (0,)}, {"addition": (HIGHEST_LEVEL + 1,)}, {"addition": ()},
     {"addition": (3, 3)}],
)  # fmt: skip
def test_levels_that_do_not_exist_are_refused(levels: dict) -> None:
    with pytest.raises(ValidationError, match="levels"):
        Arithmetic(levels=levels)


def test_the_task_imports_no_torch() -> None:
    code = "import sys, star_loop.tasks.arithmetic, star_loop.embedded; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_hard_observations_can_be_rare() -> None:
    rare = Arithmetic(
        levels={"addition": (7, 3, 5)}, train_per_level=9, train_decay=0.3, validation_per_level=2, test_per_level=2
    )
    assert Counter(o.level for o in rare.train()) == {3: 9, 5: 3, 7: 1}
    assert Counter(o.level for o in rare.test()) == {3: 2, 5: 2, 7: 2}

"""Verifiers of real questions: total on any text, and not to be fooled."""

from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.protocols import Verifier
from star_loop.records import Observation
from star_loop.verifiers.code import Code
from star_loop.verifiers.exact import Exact
from star_loop.verifiers.expression import Expression, Unreadable, evaluate, solve
from star_loop.verifiers.guess import Guess
from star_loop.verifiers.gym import Gym
from star_loop.verifiers.label import Label, YesNo
from star_loop.verifiers.math import Math
from star_loop.verifiers.multiple_choice import MultipleChoice, read_choice
from star_loop.verifiers.sandbox import Sandbox
from star_loop.verifiers.scratchpad import Scratchpad
from tests.verifiers.false_positives import FORMS, LEADS, texts

ANY_TEXT = st.text(st.characters(exclude_categories=()))
MARKED_TEXT = st.lists(
    st.sampled_from(
        ["The answer is ", "answer:", "####", "\\boxed{", "}", "<answer>", "(A)", "(B)", "B", "no", "yes", " or ", "not ",
         "iron", "wood", ".", "?", "\n", "if ", "neutral", "8*3", "=24", "(", ")", "1", "**", "because "]
    ) | ANY_TEXT
).map("".join)  # fmt: skip

MATHEMATICS = Math()
METALS = Observation(id="m", question="Magnetic?", answer="B", choices=("wood", "iron", "a glass jar", "4", "2"))
NATURAL = Label(labels={"entailment": ("0",), "neutral": ("1",), "contradiction": ("2",)})
GAME = Observation(id="g", question="24?", answer="24", meta={"numbers": [8, 3, 1]})
CASES: list[tuple[Verifier, Observation]] = [
    (MultipleChoice(), METALS),
    (YesNo(), Observation(id="y", question="?", answer="no")),
    (NATURAL, Observation(id="n", question="?", answer="neutral")),
    (Expression(), GAME),
    (Expression(use="some"), GAME),
]
NASTY = [
    "", "\x00", "9" * 1_000_000, "The answer is " + "9" * 1_000_000, "\\boxed{" * 50_000, "{" * 100_000, "\u202e(B)\u202c",
    "The answer is \u202e(A)", "1e999999999", "9**9**9**9", "(" * 100_000, "the the " * 100_000, "answer " * 100_000,
    "answer is " * 100_000, "\ud800 answer is \udfff", "if " * 100_000 + "the answer is (B)", "<answer>" * 100_000,
    "\n" * 100_000, "answer" + " " * 100_000 + "is", "١٢٣", "The answer is " + "-" * 100_000 + "1",
    "The answer is __import__('os').system('true')", "#### " + "(" * 300 + "7" + ")" * 300, "=" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("verifier, observation", CASES, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_nasty_texts_get_a_verdict_and_are_wrong(verifier: Verifier, observation: Observation, text: str) -> None:
    verdict = verifier.judge(observation, text)
    assert not verdict.correct or "(B)" in text


@pytest.mark.parametrize("verifier, observation", CASES, ids=lambda x: type(x).__name__)
@given(text=MARKED_TEXT)
def test_total_pure_and_idempotent(verifier: Verifier, observation: Observation, text: str) -> None:
    verdict = verifier.judge(observation, text)
    assert verdict == verifier.judge(observation, text)
    assert (verdict.answer is None) is (verdict.how == "no answer")
    if verdict.answer is not None:
        again = verifier.judge(observation, f"The answer is {verdict.answer}.")
        assert again.answer == verdict.answer
        assert again.correct or not verdict.correct


@pytest.mark.parametrize(
    "text",
    ["Iron is. The answer is (B).", "the answer is B", "So the answer is iron.", "The answer must be iron (b).",
     "**Answer:** (B) iron", "Answer: **B**", "The answer is:\n(B)", "#### B", "\\boxed{B}", "\\boxed{\\text{B}} #### (B)",
     "The correct answer is option (B), because wood is not.", "The answer is (B) as it is magnetic or so", "B", "(b)",
     "thinking …\nIron", "The answer is (2).", "If it rusts, the answer is (B).", "The answer is (A). No: the answer is (B).",
     "The answer is B. iron", "The answer is (B): iron.", "<answer> B </answer>", "The answer is **B**: iron is magnetic.", "The answer is B - iron", "The correct option is (B).",
     "The answer is (B) because (A) is wood or so.", "Answer: B\n\nExplanation: …", "Is the answer (A)? The answer is (B)."],
)  # fmt: skip
def test_the_gold_option_in_many_words(text: str) -> None:
    verdict = MultipleChoice().judge(METALS, text.replace("(2).", "(B).") if "(2)" in text else text)
    assert (verdict.correct, verdict.answer) == (True, "B")


@pytest.mark.parametrize(
    "text",
    ["The answer is (A) or (B).", "The answer is not (B).", "The answer is (B) wood.", "The answer is wood (B).",
     "The answer is (B)?", "If the answer is (B) then it rusts.", "whether the answer is (B)", "The answer is (B) or A.",
     "The answer is (B) is wrong.", "The answer isn't (B).", "(B) is the answer to another question.", "Maybe B, maybe C.",
     "The answer is (B). So the answer is (C).", "The answer is be.", "The answer is b etter.", "The answer is (B)/(C).",
     "The answer is neither (A) nor (B).", "The answer is iron or wood.", "The answer is a bird (B).", "Option B is false",
     "Suppose the answer is (B).", "The answer is (B), not.", "The answer is (Z).", "The answer is (BB).", "(A) (B)",
     "The answer is: ", "\\boxed{B", "The answer is (B) and (C).", "iron wood", "The answer is iron (C).",
     "The answer is B - wood", "The answer is (B), though it could be (C).", "The answer is not (A), it is (B).",
     "The answer is probably (B).", "The correct option is not (B).", "The answers are (A) and (B)."],
)  # fmt: skip
def test_what_does_not_state_the_gold_option(text: str) -> None:
    assert not MultipleChoice().judge(METALS, text).correct


def test_a_number_is_an_option_s_own_words_before_it_is_a_place() -> None:
    assert [read_choice(w, METALS.choices) for w in ("(1)", "(2)", "4", "3", "9", "(0)")] == [0, 4, 3, 2, None, None]
    assert read_choice("bank", ("bank", "shop", "bank")) is None
    assert [read_choice(w, ("bank", "shop", "bank")) for w in ("C", "bank (A)", "(C) bank")] == [2, 0, 2]


def test_a_letter_that_is_an_article_states_nothing() -> None:
    assert MultipleChoice().judge(METALS, "The answer is a magnet.").answer is None
    assert MultipleChoice().judge(METALS, "The answer is a glass jar.").answer == "C"


@pytest.mark.parametrize(
    "text, label",
    [("The answer is no.", "no"), ("Answer: **Yes**", "yes"), ("The answer is no, because it is true that …", "no"),
     ("#### false", "no"), ("The answer is yes or no.", None), ("The answer is no longer clear.", None), ("yes", "yes"),
     ("The answer is not no.", None), ("The answer is no, yes", None), ("No way to know.", None), ("yes no", None),
     ("If the answer is yes, it rains.", None), ("The answer is nothing.", None), ("The answer is yes/no.", None),
     ("The answer is yes. Wait, the answer is no.", "no"), ("The answer is no?", None)],
)  # fmt: skip
def test_yes_and_no(text: str, label: str | None) -> None:
    assert YesNo().judge(Observation(id="y", question="?", answer="yes"), text).answer == label


@pytest.mark.parametrize("text, label", [("The answer is 2.", "contradiction"), ("The answer is Neutral", "neutral"),
                                         ("The answer is 20.", None), ("The answer is neutral or 2", None)])  # fmt: skip
def test_labels_have_other_spellings(text: str, label: str | None) -> None:
    assert NATURAL.judge(Observation(id="n", question="?", answer="1"), text).answer == label


def cases_of_false_positives() -> Iterator[tuple[Verifier, Observation, str, str]]:
    """(verifier, observation, gold as written, another answer as written)"""

    def asked(answer: str, question: str = "?", **more: object) -> Observation:
        return Observation(id="q", question=question, answer=answer, **more)  # type: ignore[arg-type]

    metals = asked("B", choices=("copper", "iron", "cold water", "quartz"))
    yield from ((MultipleChoice(), metals, gold, other) for gold, other in [("(B)", "(C)"), ("iron", "cold water")])
    yield from ((YesNo(), asked(gold), gold, other) for gold, other in [("yes", "no"), ("no", "yes")])
    yield from ((NATURAL, asked("neutral"), gold, other) for gold, other in [("neutral", "entailment"), ("1", "2")])
    yield from ((Exact(), asked(gold), gold, other) for gold, other in [("42", "17"), ("New York", "Boston")])
    yield from (
        (MATHEMATICS, asked(gold), gold, other) for gold, other in [("42", "17"), ("\\frac{3}{4}", "\\frac{1}{2}")]
    )
    yield Expression(), asked("24", meta={"numbers": [8, 3, 1]}), "8*3*1", "8+3+1"
    yield Guess(), asked("true"), "true", "false"
    yield Gym(), asked("42"), "42", "17"
    yield Scratchpad(), asked("129", question="q54r87="), "q9r2s1", "q9r2s2"
    yield Code(sandbox=Nothing()), asked("f", meta={"tests": "assert f"}), "f", "g"


class Nothing(Sandbox):
    """Passes every program."""

    def passes(self, program: str) -> bool:
        return True


def test_two_thousand_written_false_positives_stay_negative() -> None:
    assert len(set(FORMS)) >= 160
    fooled, judged = [], set()
    for verifier, observation, gold, other in cases_of_false_positives():
        for text in texts(gold, other, leads=("#### ",) if isinstance(verifier, Exact) else LEADS):
            judged.add((type(verifier).__name__, gold, text))
            if verifier.judge(observation, text).correct:
                fooled.append((type(verifier).__name__, text))
    assert len(judged) > 2000
    assert fooled == []


@pytest.mark.parametrize(
    "text",
    ["The answer is (B). The others are wrong.", "A is wrong, so the answer is (B).", "Not A: I think the answer is (B).",
     "I believe the answer is (B).", "It cannot be wood, and I would say the answer is (B).", "No, wait. The answer is (B).",
     "You asked what is magnetic. The answer is (B).", "If it rusts it is iron. Hence the answer is (B). This is correct.",
     "The answer is (B). It was easy.", "Since wood is wrong the answer is (B).", "As it is not (A) the answer is (B).", "It is wrong to say wood. The answer is (B).", "Actually, the answer is (B)."],
)  # fmt: skip
def test_doubts_about_something_else_leave_the_statement_alone(text: str) -> None:
    assert MultipleChoice().judge(METALS, text).correct


@pytest.mark.parametrize(
    "text, value", [("8*3", 24), ("(1+2)*8", 24), ("-(2-5)", 3), ("6/4", Fraction(3, 2)), (" 7 ", 7)]
)
def test_expressions_are_exact(text: str, value: Fraction) -> None:
    assert evaluate(text)[0] == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1/0",
        "2**3",
        "2//3",
        "1e9",
        "a",
        "(1",
        "1)",
        "1 2",
        "+",
        "()",
        "1.5",
        "9" * 13,
        "-" * 99 + "1",
        "0x1",
        "1_0",
    ],
)
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(Unreadable):
        evaluate(text)


@given(st.lists(st.integers(0, 99), min_size=1, max_size=5), st.data())
def test_a_written_expression_is_read_as_it_was_meant(numbers: list[int], data: st.DataObject) -> None:
    text, value = str(numbers[0]), Fraction(numbers[0])
    for number in numbers[1:]:
        operation = data.draw(st.sampled_from("+-*/" if number else "+-*"))
        text = f"({text} {operation} {number})"
        value = {"+": value + number, "-": value - number, "*": value * number, "/": value / (number or 1)}[operation]
    assert evaluate(text)[0] == value


@pytest.mark.parametrize(
    "text, correct",
    [("The answer is 8 * 3 * 1.", True), ("The answer is (8×3)÷1 = 24.", True), ("<answer>8*3*1</answer>", True),
     ("The answer is 8*3.", False), ("The answer is 24.", False), ("The answer is 8*3*1*1.", False),
     ("The answer is 8*3*1 = 25.", False), ("The answer is 8+3+1.", False), ("24*1", False), ("so 8*3*1", False)],
)  # fmt: skip
def test_the_numbers_of_the_game(text: str, correct: bool) -> None:
    assert Expression().judge(GAME, text).correct is correct
    assert Expression(use="some").judge(GAME, "The answer is 8*3").correct


@given(st.lists(st.integers(1, 13), min_size=1, max_size=4), st.sampled_from(["all", "some"]))
def test_what_the_solver_finds_the_verifier_accepts(numbers: list[int], use: str) -> None:
    found = solve(numbers, Fraction(24), use=use)
    if found is not None:
        game = GAME.__class__(id="g", question="?", answer="24", meta={"numbers": numbers})
        assert Expression(use=use).judge(game, f"The answer is {found} = 24.").correct


def test_the_solver_knows_what_cannot_be_done() -> None:
    assert solve([1, 1, 1, 1], Fraction(24)) is None
    assert solve([1, 24], Fraction(24), use="some") == "24"
    assert solve([3, 3, 8, 8], Fraction(24)) == "(8 / (3 - (8 / 3)))"

"""Laws of judging, over every stage and every verifier."""

from collections.abc import Callable
from functools import reduce
from itertools import chain, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_loop.protocols import Verifier
from star_loop.records import Observation
from star_loop.verifiers.characters import plain_characters
from star_loop.verifiers.code import Code
from star_loop.verifiers.exact import Exact, normalise
from star_loop.verifiers.expression import Expression
from star_loop.verifiers.guess import NAMED, Guess
from star_loop.verifiers.gym import Gym
from star_loop.verifiers.label import Label, YesNo
from star_loop.verifiers.languages import LANGUAGES
from star_loop.verifiers.latex import spelt
from star_loop.verifiers.math import Math
from star_loop.verifiers.multiple_choice import MultipleChoice
from star_loop.verifiers.numbers import plain_number
from star_loop.verifiers.reply import reply
from star_loop.verifiers.sandbox import Sandbox
from star_loop.verifiers.scratchpad import Scratchpad
from star_loop.verifiers.sentences import sentences
from star_loop.verifiers.structure import parts
from star_loop.verifiers.units import same_quantity
from star_loop.verifiers.wrapping import unwrap, without_emphasis

PIECES = [
    "#### ", "The answer is ", "\\boxed{", "\\text{", "}", "{", "$", "**", "_", "`", '"', "'", "</think>", "<think>", "<|im_end|>",
    "<b>", "</b>", "<answer>", "</answer>", "\\frac", "\\frac12", "1½", "²", "１", "−", "’", "，", "。", "1,000", "12\\,345", "%",
    "\\%", "$5", "-", ".", ";", "?", "St. ", "(B)", "B", " or ", " cm", "\\text{ m}", "5", "0", " ", "\n", "~", "\\", "é", "e\u0301",
]  # fmt: skip
ANY_TEXT = st.lists(st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=()), max_size=4)).map("".join)
STAGES: list[Callable[[str], str]] = [plain_characters, reply, unwrap, without_emphasis, normalise, spelt]
METALS = Observation(id="m", question="Magnetic?", answer="B", choices=("wood", "iron", "St. Louis", "4", "2"))


def asked(answer: str, question: str = "?", **meta: object) -> Observation:
    return Observation(id="q", question=question, answer=answer, meta=meta)


class Every(Sandbox):
    """Passes every program."""

    def passes(self, program: str) -> bool:
        return True


CASES: list[tuple[Verifier, Observation, str]] = [
    (Exact(), asked("1234.5"), "#### 1,234.50"),
    (Exact(), asked("New York"), "#### new  york"),
    (Exact(units=True), asked("72"), "#### 72 clips"),
    (Exact(marker="Answer:"), asked("-5"), "Answer: -$5"),
    (Math(), asked("1000"), "So \\boxed{1{,}000}"),
    (Math(), asked("\\frac{1}{2}"), "The answer is \\frac12"),
    (Math(), asked("7\\text{ cm}"), "#### 7\\text{ cm}"),
    (MultipleChoice(), METALS, "The answer is (B)"),
    (MultipleChoice(), METALS, "Answer: iron"),
    (MultipleChoice(phrases=tuple(LANGUAGES)), METALS, "答案是B"),
    (YesNo(), asked("no"), "The answer is no"),
    (Label(labels={"neutral": ("1",), "entailment": ()}), asked("neutral"), "<answer>neutral</answer>"),
    (Expression(), asked("24", numbers=[8, 3, 1]), "The answer is 8 × 3 × 1 = 24"),
    (Guess(), asked("true"), "#### yes"),
    (Gym(), asked("42"), "<answer>42</answer>"),
    (Scratchpad(), asked("129", question="q54r87="), "#q9r2s1"),
    (Code(sandbox=Every()), asked("f", tests="assert f"), "```python\nf = 1\n```"),
]
EACH = pytest.mark.parametrize(
    "verifier, observation, text", CASES, ids=[f"{type(case[0]).__name__}-{k}" for k, case in enumerate(CASES)]
)
AROUND: list[Callable[[str], str]] = [
    lambda text: f" \n{text}\t\n ", lambda text: f"**{text}**", lambda text: f"*{text}*", lambda text: f"\n_{text}_",
    lambda text: f"We count. It is so.\n{text}", lambda text: f"It is not 7, nor 8, and not C.\n\n{text}",
    lambda text: f"<think>The answer is 3. \\boxed{{A}}\n#### 8</think>\n{text}",
    lambda text: f"{text}\n", lambda text: f"{text}.", lambda text: f"## Solution\n\n{text}",
]  # fmt: skip
LEADS = ("The answer is ", "Answer: ", "#### ", "<answer>", "答案是")
WRAPPERS = ["**{}**", "*{}*", "__{}__", "`{}`", " {} ",  "${}$", "\\({}\\)", "\\text{{{}}}", '"{}"', "“{}”", "\\boxed{{{}}}"]  # fmt: skip


def test_every_verifier_has_a_case() -> None:
    assert {type(verifier) for verifier, _, _ in CASES} >= set(NAMED.values()) | {Code, Gym, Scratchpad}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
@given(text=ANY_TEXT)
def test_a_stage_is_total_and_idempotent(stage: Callable[[str], str], text: str) -> None:
    once = stage(text)
    assert stage(once) == once


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_the_other_stages_are_total(text: str, other: str, question: str) -> None:
    assert sentences(text)
    assert plain_number(text) is None or plain_number(plain_number(text) or "") == plain_number(text)
    assert parts(text) is None or parts(text) == parts(text)
    assert same_quantity(text, other, question) in (True, False)


@EACH
@settings(max_examples=30)
@given(
    around=st.lists(st.sampled_from(AROUND), max_size=4, unique=True), end=st.sampled_from(["", "<|im_end|>", "</s>\n"])
)
def test_what_stands_around_a_right_text_leaves_it_right(
    verifier: Verifier, observation: Observation, text: str, around: list[Callable[[str], str]], end: str
) -> None:
    for add in around:
        text = add(text)
    text += end
    verdict = verifier.judge(observation, text)
    assert verdict.correct, (text, verdict, verdict.reading)


@pytest.mark.parametrize(
    "verifier, observation, text",
    [case for case in CASES if case[2].startswith(LEADS) and not isinstance(case[0], Gym)],
)
def test_a_wrapped_answer_is_the_same_answer(verifier: Verifier, observation: Observation, text: str) -> None:
    """In every order of up to three wrappers, with and without a period."""
    lead = next(lead for lead in LEADS if text.startswith(lead))
    closing = "</answer>" if lead == "<answer>" else ""
    answer = text.removeprefix(lead).removesuffix(closing)
    most = 3 if "$" not in answer else 0
    for wrappers in chain.from_iterable(permutations(WRAPPERS, count) for count in range(most + 1)):
        wrapped = reduce(lambda inside, wrapper: wrapper.format(inside), wrappers, answer)
        for said in (f"{lead}{wrapped}{closing}", f"{lead}{wrapped}{closing}."):
            verdict = verifier.judge(observation, said)
            assert verdict.correct, (said, verdict, verdict.reading)


@EACH
def test_a_verdict_shows_its_reading_and_the_statement_of_the_gold_answer_is_right(
    verifier: Verifier, observation: Observation, text: str
) -> None:
    assert verifier.judge(observation, text).correct
    if not isinstance(verifier, Code | Scratchpad):
        assert verifier.judge(observation, text).reading["reply"] == text
        assert verifier.judge(observation, f"So:\n{verifier.statement(observation)}").correct


@EACH
@settings(max_examples=30)
@given(any_text=ANY_TEXT)
def test_a_verifier_is_total_and_pure(verifier: Verifier, observation: Observation, text: str, any_text: str) -> None:
    text = any_text
    verdict = verifier.judge(observation, text)
    assert verdict == verifier.judge(observation, text)
    assert not verdict.correct or verdict.answer is not None

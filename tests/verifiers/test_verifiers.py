import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from star_loop.records import Observation
from star_loop.seeding import rng
from star_loop.verifiers.columns import SKILLS, draw, parse
from star_loop.verifiers.exact import Exact, normalise
from star_loop.verifiers.scratchpad import Scratchpad

ANY_TEXT = st.text(st.characters(exclude_categories=())) | st.text("0123456789,.+-#$ \n")
"""Lone surrogates included."""
SCRATCH_TEXT = st.text("qrst0123456789:*-,;#@ ") | ANY_TEXT


def observation(answer: str, question: str = "?") -> Observation:
    return Observation(id="o/1", question=question, answer=answer)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,000", "1000"), ("8.", "8"), ("8.0", "8"), ("+5", "5"), ("-0", "0"), ("007", "7"), (".50", "0.5"),
        ("−3", "-3"), ("٣٤", "34"), ("１２", "12"), ("$1,234,567.80", "1234567.8"), ("  New\t\u00a0York. ", "new york"),
        ("-0.0", "0"), ("9" * 40 + ".", "9" * 40),
    ],
)  # fmt: skip
def test_spellings_of_one_answer(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"), [("1,00", "100"), ("8.5", "85"), ("-5", "5"), ("1e3", "1000"), ("0.1", "0.10001"), ("a b", "ab")]
)
def test_different_answers_stay_different(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


@given(ANY_TEXT)
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.integers(), st.sampled_from(["{}", "{}.", "{}.0", " {:,} "]))
def test_integers_in_any_spelling_equal_themselves(number: int, spelling: str) -> None:
    assert normalise(spelling.format(number)) == str(number)


@given(ANY_TEXT, ANY_TEXT)
def test_exact_is_total(gold: str, text: str) -> None:
    verdict = Exact().judge(observation(gold), text)
    assert verdict.correct is (verdict.how == "equal")
    assert (verdict.answer is None) is (verdict.how in ("no answer marker", "empty answer"))


@given(ANY_TEXT.filter(lambda text: normalise(text.strip().split("\n")[0]) != ""), ANY_TEXT)
def test_exact_accepts_gold_whatever_stands_before_it(gold: str, before: str) -> None:
    line = gold.strip().splitlines()[0]
    if "####" not in line:
        assert Exact().judge(observation(line), f"{before}#### {line}\nand more").correct


def test_exact_reads_after_the_last_marker() -> None:
    verdict = Exact().judge(observation("72"), "#### 12\nno, wait\n#### 1,072\n#### 72. \n")
    assert (verdict.answer, verdict.correct) == ("72", True)


def test_exact_without_marker_judges_the_whole_text() -> None:
    assert Exact(marker=None).judge(observation("Yes"), " yes. ").correct
    assert Exact().judge(observation("yes"), "yes").how == "no answer marker"


def test_exact_takes_a_megabyte_of_digits_or_commas() -> None:
    gold = observation("9" * 1_000_000)
    assert Exact().judge(gold, "####" + "9" * 1_000_000).correct
    assert not Exact().judge(gold, "####" + "1,111" * 200_000 + "x").correct


def test_an_empty_marker_is_refused() -> None:
    with pytest.raises(ValidationError, match="marker"):
        Exact(marker="")


@given(ANY_TEXT, SCRATCH_TEXT)
def test_scratchpad_is_total(question: str, text: str) -> None:
    for asked in (question, "q54r87s18t56=", "q543r123*="):
        verdict = Scratchpad().judge(observation("12059", asked), text)
        assert verdict.correct is (verdict.how == "equal")
        assert verdict.score is None or 0 <= verdict.score <= 1


@given(st.sampled_from(sorted(SKILLS)), st.integers(1, 24), st.integers(0, 10**6))
def test_scratchpad_finds_gold_faithful(skill: str, level: int, seed: int) -> None:
    problem = draw(skill, level, rng(seed, "test"))
    verdict = Scratchpad().judge(observation(problem.answer, problem.question), problem.rationale)
    assert (verdict.correct, verdict.score, verdict.answer) == (True, 1.0, problem.answer)


GOLD = "q540:09;r870:15;s181:10;t561:12;#q9r5s0t2u1"


@pytest.mark.parametrize(
    ("text", "answer", "score"),
    [
        (GOLD, "12059", 1.0),
        (GOLD.replace("q540:09", "q540:08"), "12059", 0.75),  # a wrong digit, a lucky answer
        (GOLD.replace("q540:09;r870:15", "q540:19;r871:16"), "12059", 0.75),  # one slip, carried on as the law says
        (GOLD.replace("s181:10", "s811:10"), "12059", 0.75),  # the digits stand in the question's order
        (GOLD.replace("r870:15;", ""), "12059", 0.25),  # rows that moved up are not in place
        (GOLD.replace("#", "u001:01;#"), "12059", 0.8),
        ("#q9r5s0t2u1", "12059", 0.0),
        (GOLD[:-2], "2059", 1.0),
        (GOLD + "v0", "12059", 1.0),
    ],
)
def test_scratchpad_grades_rows(text: str, answer: str, score: float) -> None:
    verdict = Scratchpad().judge(observation("12059", "q54r87s18t56="), text)
    assert (verdict.answer, verdict.correct, verdict.score) == (answer, answer == "12059", score)


@pytest.mark.parametrize("tail", ["", "#", "#q", "#q9s5r0", "#r9s5", "#q9r5s0t2u1;", "#q9 r5", "#q9r٥", "#12059"])
def test_scratchpad_finds_no_answer(tail: str) -> None:
    verdict = Scratchpad().judge(observation("12059", "q54r87s18t56="), "q540:09;" + tail)
    assert (verdict.answer, verdict.correct) == (None, False)


def test_both_carries_of_a_composed_row_are_checked() -> None:
    problem = parse("k668l765m966n960*=")
    assert problem is not None
    asked = observation(problem.answer, problem.question)
    slipped = problem.rationale.replace(",551:11;", ",551:01;")
    assert slipped != problem.rationale
    verdict = Scratchpad().judge(asked, slipped)
    # The next row goes on with the right carry, which no longer follows from this one.
    assert (verdict.correct, verdict.score) == (True, 0.6)


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20))
def test_exact_finds_the_answer_in_its_own_statement(answer: str) -> None:
    gold = Observation(id="1", question="?", answer=answer)
    for verifier in (Exact(), Exact(marker="Answer:"), Exact(marker=None)):
        assert verifier.judge(gold, verifier.statement(gold)).correct == Exact(marker=None).judge(gold, answer).correct

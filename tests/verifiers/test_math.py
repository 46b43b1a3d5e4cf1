"""The verifier of mathematics: plain numbers at once, the rest in a process that can be killed."""

import os
import select
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.processes.kept import Stopped
from star_loop.records import Observation
from star_loop.verifiers.exact import normalise
from star_loop.verifiers.latex import equal_at_sight
from star_loop.verifiers.math import Math
from star_loop.verifiers.math_pool import MathPool
from star_loop.verifiers.math_process import MathProcess
from tests.verifiers.test_real_verifiers import NASTY

needs_math_verify = pytest.mark.skipif(find_spec("math_verify") is None, reason="Math-Verify is not installed")
VERIFIER = Math()


def asked(answer: str) -> Observation:
    return Observation(id="m", question="?", answer=answer)


@pytest.mark.parametrize(
    "text, correct",
    [("So \\boxed{1000}", True), ("#### 1,000", True), ("The answer is $1000.00$.", True), ("\\boxed{1{,}000}", True),
     ("The answer is 100.", False), ("1000", True), ("it is 1000", False), ("\\boxed{1000 or 2}", False),
     ("\\boxed{not 1000}", False), ("\\boxed{1000\\text{ or }5}", False), ("nothing", False), ("\\boxed{}", False)],
)  # fmt: skip
def test_plain_numbers_need_no_process(text: str, correct: bool) -> None:
    assert Math().judge(asked("1000"), text).correct is correct


@given(st.integers(), st.integers())
def test_numbers_are_compared_without_rounding(gold: int, answer: int) -> None:
    verdict = VERIFIER.judge(asked(str(gold)), f"\\boxed{{{answer:,}}}")
    assert (verdict.correct, verdict.answer) == (gold == answer, normalise(str(answer)))


@pytest.mark.parametrize(
    "one, other, equal",
    [("\\frac{1}{2}", "\\dfrac{1}{2}", True), ("\\frac{1}{2}", "2/4", True), ("-\\frac{1}{2}", "\\frac{-1}{2}", True),
     ("3", "6/2", True), ("\\frac{1}{2}", "\\frac{2}{1}", False), ("1/3", "2/3", False), ("1/0", "2/0", None),
     ("\\left(1, 2\\right]", "(1, 2]", True), ("x + 1", "x+1", True), ("\\leftarrow", "arrow", None),
     ("1 2/3", "12/3", None), ("1, 000", "1,000", None), ("1/3", "0.333333", None), ("x^2", "x^3", None),
     ("9" * 200 + "/2", "1/2", None), ("\\frac 1 2", "\\frac12", None), ("1/-2", "-1/2", None), ("5!", "5", None)],
)  # fmt: skip
def test_what_can_be_told_at_sight(one: str, other: str, equal: bool | None) -> None:
    assert equal_at_sight(one, other) is equal_at_sight(other, one) is equal


@given(st.integers(-99, 99), st.integers(1, 99), st.integers(-99, 99), st.integers(1, 99))
def test_quotients_are_compared_exactly(a: int, b: int, c: int, d: int) -> None:
    assert equal_at_sight(f"\\frac{{{a}}}{{{b}}}", f"{c}/{d}") is (a * d == c * b)


def test_a_gold_in_its_own_words_is_right_whatever_the_words() -> None:
    for gold in ("\\text{even}", "5 \\text{ or } 6", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\text{no solution}"):
        assert Math().judge(asked(gold), f"It is \\boxed{{{gold}}}.").how == "equal (marker)"
        assert not Math().judge(asked(gold), f"not {gold}").correct


def test_without_math_verify_the_extra_is_named() -> None:
    if find_spec("math_verify") is not None:
        Math().check()
        return
    with pytest.raises(ValueError, match=r'pip install "star_loop\[math\]"'):
        Math().check()


# ---------------------------------------------------------------------------------------------------- the process


SCRIPT = """
import json, os, sys
print("ready", flush=True)
for line in sys.stdin:
    seconds, gold, *answers = json.loads(line)
    while gold == "loop": pass
    if gold == "die": os._exit(1)
    if gold == "noise": print("what?", flush=True)
    print(json.dumps(None if gold == "?" else all(a == gold for a in answers)), flush=True)
"""


@pytest.fixture
def process(tmp_path: Path):
    (tmp_path / "script.py").write_text(SCRIPT)
    process = MathProcess((sys.executable, str(tmp_path / "script.py")))
    yield process
    process.stop()


def test_what_takes_too_long_or_dies_is_replaced(process: MathProcess) -> None:
    for trouble in ("loop", "die", "noise"):
        assert process.ask(60, "1", ["1", "1"]) is True
        first = process._process
        with pytest.raises(Stopped):
            process.ask(0.2, trouble, ["1"])
        assert first is not None and first.poll() is not None
        assert process.ask(60, "1", ["1", "2"]) is False
    assert process.ask(60, "?", []) is None


@pytest.fixture
def pool(tmp_path: Path):
    (tmp_path / "script.py").write_text(SCRIPT)
    pool = MathPool(3, (sys.executable, str(tmp_path / "script.py")))
    yield pool
    pool.stop()


def test_a_pool_kills_only_the_process_that_hangs(pool: MathPool) -> None:
    trouble = [("loop", ("1",)), ("die", ("1",))]
    assert pool.ask(60, ("1", ("1",))) is True
    sound = [(str(k), (str(k % 3),)) for k in range(9)]
    found = pool.ask_all(1, [*trouble, *sound, *sound])
    assert [isinstance(each, Stopped) for each in found] == [True] * 2 + [False] * 18
    assert found[2:] == [k % 3 == k for k in range(9)] * 2
    assert len({id(process) for process in pool._idle.queue}) == 3


def test_what_was_compared_is_remembered_and_what_was_stopped_is_not(pool: MathPool) -> None:
    assert [pool.ask(60, ("1", ("1", "1"))) for _ in range(3)] == [True] * 3
    assert isinstance(pool.ask(0.2, ("loop", ())), Stopped)
    assert isinstance(pool.ask(0.2, ("loop", ())), Stopped)
    assert (pool._known.cache_info().hits, pool._known.cache_info().currsize) == (2, 1)
    assert sum(process._process is not None for process in pool._idle.queue) <= 1  # one is enough for one asker


def test_a_process_that_cannot_start_is_an_error() -> None:
    with pytest.raises(Stopped):
        MathProcess((sys.executable, "-c", "raise SystemExit(1)")).ask(1, "1", ["1"])


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no process descriptors")
def test_the_process_ends_with_its_asker(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    code = (
        "import sys; from star_loop.verifiers.math_process import MathProcess\n"
        f"p = MathProcess((sys.executable, {str(tmp_path / 'script.py')!r})); p.ask(60, '1', ['1']); print(p._process.pid)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    try:
        ended = os.pidfd_open(int(done.stdout))
    except ProcessLookupError:
        return
    assert select.select([ended], [], [], 60)[0]


# ---------------------------------------------------------------------------------------------------- Math-Verify


@needs_math_verify
@pytest.mark.parametrize(
    "gold, answer",
    [("\\frac{1}{2}", "0.5"), ("\\frac12", "\\dfrac{1}{2}"), ("2\\sqrt{3}", "\\sqrt{12}"), ("(1,2)", "(1, 2)"), ("5", "x=5"),
     ("\\{1,2\\}", "1,2"), ("10", "10^\\circ"), ("x^2+1", "1+x^2"), ("12", "12\\text{ cm}"), ("2", "1+1=2"), ("\\pi", "\\pi"),
     ("\\text{blue}", "\\text{blue}"), ("y=2x+1", "y = 1 + 2x"), ("p-q", "-(q-p)"), ("0.5", "\\frac{1}{2}"), ("4", "f(x)=4")],
)  # fmt: skip
def test_equal_mathematics(gold: str, answer: str) -> None:
    verdict = VERIFIER.judge(asked(gold), f"Hence \\boxed{{{answer}}}.")
    assert verdict.correct, verdict
    assert VERIFIER.judge(asked(gold), f"\\boxed{{{verdict.answer}}}") == verdict
    assert VERIFIER.judge(asked(gold), f"The answer is ${answer}$.").correct


@needs_math_verify
@pytest.mark.parametrize(
    "gold, answer",
    [("\\frac{1}{2}", "\\frac{2}{1}"), ("[0,1)", "[0,1]"), ("5", "5,6"), ("5", "5!"), ("3", "3x"), ("2", "1=2"), ("x+1", "y+1"),
     ("\\sqrt{2}", "1.41"), ("5", "\\{5\\text{ or }6\\}"), ("(1,2)", "(2,1)"), ("5", "5 \\neq 6"), ("3", "\\frac{3}{0}"),
     ("\\text{blue}", "\\text{red}"), ("x^2", "x^3"), ("5", "six"), ("2", "2 = 3"), ("10", "1,0"), ("\\pi", "\\pi^2")],
)  # fmt: skip
def test_different_mathematics(gold: str, answer: str) -> None:
    assert not VERIFIER.judge(asked(gold), f"\\boxed{{{answer}}}").correct


@needs_math_verify
@pytest.mark.parametrize("gold", ["7", "\\frac{1}{7}"])
def test_nasty_texts_and_endless_ones(gold: str) -> None:
    verifier = Math(timeout=1.0)
    endless = [
        "9^{9^{9^{9^9}}}",
        "10^{10^{10}}!",
        "\\sum_{k=1}^{10^{99}} k^k",
        "\\int x^{x^{x}}",
        "((((((" * 50,
        "\\frac{" * 99,
    ]
    for text in [*NASTY, *(f"\\boxed{{{e}}}" for e in endless)]:
        assert not verifier.judge(asked(gold), text).correct
    assert verifier.judge(asked(gold), f"\\boxed{{{gold}}}").correct
    verifier._pool.stop()


PAIRS = [
    ("x^2-1", "(x-1)(x+1)"), ("x^2-1", "(x-1)(x+2)"), ("\\sin 2x", "2\\sin x\\cos x"), ("10\\%", "0.1"), ("50", "50\\%"),
    ("\\log_2 8", "3"), ("5!", "120"), ("\\frac{x}{y}", "\\frac{y}{x}"), ("\\infty", "-\\infty"), ("\\pi", "3.14159265"),
    ("\\pi", "3.14"), ("n!", "n(n-1)!"), ("\\max(1,2)", "2"), ("2i", "2j"), ("100000.0001", "100000.0002"),
    ("[1,2)", "[1,2]"), ("\\{1,2\\}", "\\{2,1\\}"), ("38x^2-20x+63", "63+38x^2-20x"), ("\\sqrt{x^2}", "|x|"),
    ("\\left(\\frac{1}{2},3\\right)", "(0.5,3)"), ("\\begin{pmatrix}1&2\\end{pmatrix}", "\\begin{pmatrix}1&3\\end{pmatrix}"),
]  # fmt: skip


@needs_math_verify
def test_what_makes_it_faster_changes_no_verdict() -> None:
    from math_verify import LatexExtractionConfig, parse, verify

    def slowly(text: str) -> list[object]:
        return parse(f"${text}$", extraction_config=[LatexExtractionConfig()], parsing_timeout=None)  # type: ignore[no-any-return]

    expected = [verify(slowly(g), slowly(a), timeout_seconds=None) for g, a in PAIRS]
    pool = MathPool(1)
    assert pool.ask_all(60, [(gold, (answer,)) for gold, answer in PAIRS]) == expected
    pool.stop()


@needs_math_verify
def test_many_at_once_are_judged_as_one_by_one() -> None:
    many = [(asked(gold), f"\\boxed{{{answer}}}") for gold, answer in PAIRS] + [
        (asked("1"), "no"),
        (asked("1"), "#### 1"),
    ]
    verifier = Math(processes=2)
    assert verifier.judge_all(many) == [verifier.judge(*each) for each in many]
    verifier._pool.stop()

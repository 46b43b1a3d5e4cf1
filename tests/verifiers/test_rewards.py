"""One's own functions as rewards: called by name, held to the laws before anything starts, killed when they hang."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from star_loop.config.build import build
from star_loop.errors import ConfigError
from star_loop.records import Candidate, Observation, Selection
from star_loop.seeding import rng
from star_loop.stages.load import load
from star_loop.stages.proof import ODD, prove_total
from star_loop.tasks.file import File
from star_loop.verifiers.rewards import FORMS, Rewards, part
from tests.quiz import configure
from tests.test_policies import candidate
from tests.verifiers.test_laws import ANY_TEXT

SOURCE = """
import re
print("imported")

def last(text):
    return (re.findall(r"-?[0-9]+", text) or [None])[-1]

def right(question, text, answer):
    print("judging", text.encode("ascii", "replace"))
    return last(text) == answer

def brief(text):
    return 1 / (1 + len(text.split()))

def boxed(text, answer):
    return f"\\\\boxed{{{answer}}}" in text

def alone(reply, answer):
    return reply.strip() == answer

def about(text, /, topic, unknown=0, *, row, **others):
    return (topic, row["topic"], others["level"], unknown) == ("cats", "cats", 3, 0) and 0.25

def typed(*, text, choices, skill):
    return isinstance(choices, (list, tuple)) and skill is None and isinstance(text, str)

def two(text):
    return 2

def nothing(text):
    pass

def fragile(text):
    return float(text.strip() or 0) > 3

def endless(text):
    while "loop" in text: pass
    return True

def dies(text):
    import os
    if "die" in text: os._exit(0)
    return True

memory = []
def fickle(text):
    memory.append(text)
    return len(memory) % 2 == 0

def asks(text, gold):
    return True

class Class:
    pass

async def later(text):
    return True
"""
CATS = Observation(
    id="1", question="How many legs have 3 cats?", answer="12", level=3, meta={"row": {"topic": "cats", "n": 3}}
)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "mine.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture(scope="module")
def right(mine: Path) -> Iterator[Rewards]:
    verifier = Rewards(functions=(f"{mine}:right", f"0.5*{mine}:brief"))
    yield verifier
    verifier._process.stop()


def judged(mine: Path, name: str, text: str, **keys: Any) -> Any:
    verifier = Rewards(functions=f"{mine}:{name}", **keys)
    try:
        verifier.check()
        return verifier.judge(CATS, text)
    finally:
        verifier._process.stop()


@given(ANY_TEXT)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_verdict_for_any_text_the_same_again(right: Rewards, text: str) -> None:
    verdict = right.judge(CATS, text)
    assert verdict == right.judge(CATS, text)
    assert not verdict.correct or verdict.answer is not None


def test_the_first_function_decides_and_all_of_them_are_the_score(right: Rewards) -> None:
    for text, correct in (("#### 12", True), ("It is 12 or so, but in fact 13", False)):
        verdict = right.judge(CATS, text)
        first, second = float(correct), 1 / (1 + len(text.split()))
        assert verdict.correct is correct
        assert verdict.score == pytest.approx((first + 0.5 * second) / 1.5)


def test_shaping_alone_makes_nothing_correct(mine: Path) -> None:
    verdict = judged(mine, "brief", "a")
    assert (verdict.correct, verdict.score) == (False, 0.5)
    assert judged(mine, "brief", "a", threshold=0.5).correct


def test_arguments_come_by_name_from_the_observation_and_its_row(mine: Path) -> None:
    assert judged(mine, "about", "a").score == 0.25
    assert judged(mine, "typed", "a").correct
    assert judged(mine, "typed", "a").score is None, "truth values are no marks"
    assert judged(mine, "alone", "<think>13</think> 12 ").correct


@pytest.mark.parametrize("name, form", [("right", FORMS[0]), ("boxed", FORMS[2]), ("alone", "{answer}")])
def test_the_form_that_the_function_takes_is_asked_for(mine: Path, name: str, form: str) -> None:
    verifier = Rewards(functions=f"{mine}:{name}")
    stated = verifier.statement(CATS)
    assert stated == form.replace("{answer}", "12")
    assert verifier.judge(CATS, stated).correct
    assert verifier.instruction(CATS).count(form.replace("{answer}", "X")) == (form != "{answer}")
    verifier._process.stop()
    assert Rewards(functions=f"{mine}:right", form="Answer: {answer}").statement(CATS) == "Answer: 12"


def test_the_form_is_found_by_the_function_that_decides(tmp_path: Path) -> None:
    path, calls = tmp_path / "counting.py", tmp_path / "calls"
    path.write_text(
        f"""
def note(name):
    with open({str(calls)!r}, "a") as file: file.write(name)
def decides(text):
    note("d")
    return text == "12"
def shapes(text):
    note("s")
    return 0.5
"""
    )
    verifier = Rewards(functions=(f"{path}:decides", f"{path}:shapes"))
    assert verifier.statement(CATS) == verifier.statement(CATS) == "12"
    assert calls.read_text() == "d" * len(FORMS), "once for each form, and the answer is remembered"
    verifier._process.stop()


@pytest.mark.parametrize(
    "name, text, reason",
    [("two", "", "ValueError"), ("nothing", "", "ValueError"), ("fragile", "x", "ValueError"),
     ("endless", "loop", "too long"), ("dies", "die", "died"), ("asks", "", "no gold")],
)  # fmt: skip
def test_a_function_that_fails_makes_a_text_wrong_and_says_why(mine: Path, name: str, text: str, reason: str) -> None:
    verifier = Rewards(functions=f"{mine}:{name}", timeout=0.3)
    verdict = verifier.judge(CATS, text)
    assert (verdict.correct, verdict.how) == (False, f"reward failed: {reason}")
    with pytest.raises(ValueError, match=name):
        verifier.probe(CATS, text)
    if name in ("endless", "dies"):
        assert verifier.judge(CATS, "fine").correct, "a new process has taken its place"
    verifier._process.stop()


@pytest.mark.parametrize("name, says", [("two", "returned '2'"), ("fragile", "could not convert"), ("fickle", "now so, now so"),
                                        ("asks", "asks for 'gold'")])  # fmt: skip
def test_the_laws_hold_before_anything_starts(mine: Path, name: str, says: str) -> None:
    verifier = Rewards(functions=f"{mine}:{name}")
    with pytest.raises(ValueError, match=says):
        prove_total(verifier, CATS)
    verifier._process.stop()


def test_odd_texts_pass_a_sound_function(right: Rewards) -> None:
    prove_total(right, CATS)
    assert "" in ODD and "\ud800" in ODD


@pytest.mark.parametrize(
    "named, says",
    [("{}:missing", r"cannot be loaded: .*mine\.py has no 'missing'"), ("{}:Class", "no plain function"), ("{}:later", "no plain function"),
     ("{}.py:right", "there is no file"), ("os:system", "belongs to Python"), ("no_such_module_here:right", "No module named")],
)  # fmt: skip
def test_what_is_no_function_of_one_s_own_is_refused(mine: Path, named: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Rewards(functions=named.format(mine)).check()


@pytest.mark.parametrize("written", ["right", "mine.py", ":right", "0*a:right", "a:b:c", "x*a:b", ""])
def test_what_names_no_function_is_refused_when_built(written: str) -> None:
    with pytest.raises(ValueError, match="expected my_module:function"):
        part(written)


def task(tmp_path: Path, *keys: str) -> File:
    path = tmp_path / "rows.jsonl"
    rows = [{"question": f"{k} cats?", "answer": 4 * k, "topic": "cats", "weight": 0.5} for k in range(1, 40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = build(configure("experiment=smoke", "task=file", f"task.path={path}", *keys)).task
    assert isinstance(found, File)
    return found


def test_one_line_names_it(tmp_path: Path, mine: Path) -> None:
    one = task(tmp_path, f"task.verifier={mine}:right")
    assert one.verifier == Rewards(functions=(f"{mine}:right",))
    load(one)
    assert one.train()[0].meta == {"row": {"question": "1 cats?", "answer": 4, "topic": "cats", "weight": 0.5}}
    several = task(tmp_path, f"task.verifier=[{mine}:right, 0.2*{mine}:brief]")
    assert several.verifier == Rewards(functions=(f"{mine}:right", f"0.2*{mine}:brief"))
    assert "row" not in task(tmp_path).train()[0].meta
    assert isinstance(build(configure("experiment=smoke", "task.verifier=mine:right")).task.verifier, Rewards)


def test_a_gold_that_the_function_rejects_stops_the_launch(tmp_path: Path, mine: Path) -> None:
    with pytest.raises(ValueError, match="rejects the gold answer '4'"):
        load(task(tmp_path, f"task.verifier={mine}:brief"))
    with pytest.raises(ConfigError, match="no verifier of this name"):
        task(tmp_path, "task.verifier=smurf")


def test_best_of_n_takes_the_highest_reward_of_what_is_correct() -> None:
    from dataclasses import replace

    def graded(sample: int, correct: bool, score: float) -> Candidate:
        plain = candidate(0, sample, correct, f"text {sample}")
        return replace(plain, rollout=replace(plain.rollout, score=score))

    pool = [graded(0, True, 0.2), graded(1, False, 1.0), graded(2, True, 0.7), graded(3, True, 0.7)]
    kept: list[Candidate] = pool
    for selector in build(configure("experiment=smoke", "selectors=best_of_n")).selectors.values():
        kept = selector.select(kept, Selection(iteration=1, beta=9), rng(0, "select"))
    assert kept == [pool[2]]


def test_a_function_that_changed_is_told_apart(tmp_path: Path) -> None:
    found = []
    for bound in (1, 2):
        (tmp_path / "mine.py").write_text(f"def right(text):\n    return len(text) > {bound}\n")
        verifier = Rewards(functions=f"{tmp_path / 'mine.py'}:right")
        found += [verifier.fingerprint(), verifier.fingerprint()]
        verifier._process.stop()
    assert len(set(found)) == 2 and found[0] == found[1]

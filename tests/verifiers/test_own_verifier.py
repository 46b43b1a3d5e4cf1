"""A verifier of one's own states and asks as the built-in ones do; answer phrases are a key of a task."""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_loop.config.build import build
from star_loop.errors import ConfigError
from star_loop.protocols import Verifier
from star_loop.records import Observation, Verdict
from star_loop.stages.load import load
from star_loop.tasks.show import prompts
from star_loop.verifiers.guess import NAMED, Guess
from star_loop.verifiers.math import Math
from tests.quiz import configure


class Shouted(Verifier):
    """Correct: the gold answer in capitals, in the last line."""

    def judge(self, observation: Observation, text: str) -> Verdict:
        return Verdict.compared(text[-9:], text.endswith(observation.answer.upper()), "shout")

    def statement(self, observation: Observation) -> str:
        return observation.answer.upper()

    def instruction(self, observation: Observation) -> str:
        return "Shout the answer."


class Lawless(Shouted):
    """Breaks the protocol, always or only where it is right."""

    breach: str
    only_right: bool = False

    def judge(self, observation: Observation, text: str) -> Verdict:
        verdict = super().judge(observation, text)
        return verdict if self.only_right and not verdict.correct else BREACHES[self.breach][0](verdict)

    def statement(self, observation: Observation) -> str:
        return None if self.breach == "a statement" else super().statement(observation)  # type: ignore[return-value]


BREACHES: dict[str, tuple[Callable[[Verdict], Any], str]] = {
    "an end": (lambda _: sys.exit(0), "SystemExit: 0"),
    "an error": (lambda _: {}["x"], "KeyError: 'x'"),
    "nothing": (lambda _: None, r"it gave 'None' \(NoneType\), and a star_loop\.Verdict is wanted"),
    "a truth value": (lambda _: True, r"it gave 'True' \(bool\)"),
    "a text": (lambda v: replace(v, correct="no"), r"correct of its verdict is no \(str\), and True or False"),
    "of NumPy": (lambda v: replace(v, correct=np.bool_(v.correct)), r"\(of NumPy's, bool\(…\)\) is wanted"),
    "no marks": (
        lambda v: replace(v, score=math.nan),
        r"score of its verdict is nan \(float\), and a number from 0 to 1",
    ),
    "a number": (lambda v: replace(v, answer=5), r"answer of its verdict is 5 \(int\), and a text or None is wanted"),
    "no reason": (lambda v: replace(v, how=None), r"how of its verdict is None \(NoneType\), and a text is wanted"),
}


@pytest.mark.parametrize("only_right", [False, True])
@pytest.mark.parametrize("breach", BREACHES)
def test_what_breaks_the_protocol_is_refused_with_the_verifier_s_name(
    tmp_path: Path, breach: str, only_right: bool
) -> None:
    keys = [f"task.verifier._target_={__name__}.Lawless", f"+task.verifier.breach={breach}"]
    mine = task(tmp_path, *keys, f"+task.verifier.only_right={only_right}")
    found = r"'MOI' \(3 characters\)" if only_right else r"'' \(0 characters\)"
    says = rf"^task: the verifier Lawless fails on {found}, asked about train/0000000: .*{BREACHES[breach][1]}.*A verdict is due"
    with pytest.raises(ConfigError, match=says):
        load(mine)


def test_a_statement_that_is_no_text_is_refused(tmp_path: Path) -> None:
    mine = task(tmp_path, f"task.verifier._target_={__name__}.Lawless", "+task.verifier.breach=a statement",
                "+task.verifier.only_right=true")  # fmt: skip
    with pytest.raises(
        ConfigError, match="Lawless states the gold answer of train observation 'train/0000000' as None"
    ):
        load(mine)


@pytest.mark.parametrize("breach", ["an end", "nothing"])
def test_a_gold_rationale_and_prompts_meet_the_same_refusal(tmp_path: Path, breach: str) -> None:
    keys = [f"task.verifier._target_={__name__}.Lawless", f"+task.verifier.breach={breach}"]
    with pytest.raises(ValueError, match=f"the verifier Lawless fails on 'MOI' .*{BREACHES[breach][1]}"):
        prompts(task(tmp_path, *keys))
    (tmp_path / "shots.jsonl").write_text(json.dumps({"question": "Q?", "answer": "a", "rationale": "A"}) + "\n")
    for key in ("task.rationale=answer", f"task.exemplars={tmp_path / 'shots.jsonl'}"):
        with pytest.raises(ValueError, match="the verifier Lawless fails on "):
            task(tmp_path, *keys, key).check()


def task(tmp_path: Path, *keys: str) -> Any:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"question": "Who?", "answer": "moi"}) + "\n")
    return build(configure("experiment=smoke", "task=file", f"task.path={path}", *keys)).task


def test_a_verifier_of_one_s_own_asks_in_its_own_words(tmp_path: Path) -> None:
    mine = task(tmp_path, f"task.verifier._target_={__name__}.Shouted")
    asked = Observation(id="1", question="Who?", answer="moi")
    assert mine.bare_prompt(asked).startswith("Shout the answer.\n\nQ: Who?")
    assert mine.statement(asked) == mine.gold_text(asked) == "MOI"
    assert mine.verifier.judge(asked, mine.gold_text(asked)).correct


@pytest.mark.parametrize("name", sorted(NAMED))
def test_every_named_verifier_asks_for_what_it_accepts(name: str) -> None:
    verifier, choices = NAMED[name](), ("moi", "toi") if name == "multiple_choice" else ()
    gold = {"yes_no": "no", "math": "7", "expression": "24", "multiple_choice": "A", "code": "x = 1"}.get(name, "moi")
    meta = {"numbers": [4, 6], "tests": "assert x == 1"}
    asked = Observation(
        id="1", question="?", answer=gold, choices=choices, meta=meta if gold in ("24", "x = 1") else {}
    )
    assert "Think step by step." in verifier.instruction(asked)
    assert verifier.judge(asked, verifier.statement(asked)).correct


def test_answer_phrases_are_a_key_of_the_task(tmp_path: Path) -> None:
    asked = Observation(id="1", question="?", answer="no")
    french = task(tmp_path, "task.phrases=[fr,I choose]").verifier
    assert isinstance(french, Guess)
    for text in ("La réponse est no.", "I choose no", "#### no"):
        assert french.judge(asked, text).correct
    for text in ("The answer is no.", "Si la réponse est no, il pleut."):
        assert not french.judge(asked, text).correct
    assert task(tmp_path, "task.phrases=[en,de]", "task.verifier=math").verifier == Math(phrases=("en", "de"))


@pytest.mark.parametrize("keys, says", [(["task.phrases=[xx]"], "no language with a list of answer phrases: known are en, zh"),
                                        (["task.phrases=[en]", "task.verifier=exact"], "Exact looks for no answer phrase")])  # fmt: skip
def test_phrases_that_cannot_be_listened_for_are_refused(tmp_path: Path, keys: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        task(tmp_path, *keys)

"""A verifier of one's own states and asks as the built-in ones do; answer phrases are a key of a task."""

import json
from pathlib import Path
from typing import Any

import pytest

from star_loop.config.build import build
from star_loop.errors import ConfigError
from star_loop.protocols import Verifier
from star_loop.records import Observation, Verdict
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

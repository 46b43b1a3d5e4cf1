"""The extension point for programs: nothing runs without a sandbox."""

from pathlib import Path

import pytest

from star_loop.config.build import build
from star_loop.records import Observation
from star_loop.stages.load import check
from star_loop.verifiers.code import Code, Sandbox
from tests.quiz import configure
from tests.verifiers.test_real_verifiers import NASTY

ASKED = Observation(id="c", question="Double x.", answer="", meta={"tests": "assert double(2) == 4"})
RIGHT = "First try:\n```\nno\n```\nBetter:\n```python\ndef double(x): return 2 * x\n```\nDone."


class Reader(Sandbox):
    """Runs nothing: a program passes that contains a text."""

    wanted: str

    def passes(self, program: str) -> bool:
        return self.wanted in program


def test_without_a_sandbox_it_refuses_before_anything_starts_and_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text('{"question": "Double x.", "answer": "f"}')
    keys = ["task=file", f"task.path={tmp_path / 'one.jsonl'}", "task.verifier._target_=star_loop.verifiers.code.Code"]
    x = build(configure("experiment=smoke", *keys))
    with pytest.raises(ValueError, match=r"has no sandbox: derive one from star_loop\.verifiers\.code\.Sandbox"):
        check(x)
    trace = tmp_path / "trace"
    verdict = Code().judge(ASKED, f"```python\nopen({str(trace)!r}, 'w')\n```")
    assert (verdict.correct, verdict.how, trace.exists()) == (False, "no sandbox", False)


def test_the_last_block_and_the_tests_go_to_the_sandbox() -> None:
    assert Code(sandbox=Reader(wanted="2 * x\n\nassert double(2) == 4\n")).judge(ASKED, RIGHT).correct
    assert not Code(sandbox=Reader(wanted="no\n")).judge(ASKED, RIGHT).correct
    untested = Observation(id="c", question="?", answer="")
    assert Code(sandbox=Reader(wanted="")).judge(untested, RIGHT).how == "no tests"


@pytest.mark.parametrize("text", [*NASTY, "```python\n", "```python\n```", "def double(x): return 2 * x"])
def test_without_a_block_there_is_no_answer(text: str) -> None:
    assert Code(sandbox=Reader(wanted="")).judge(ASKED, text).answer is None

"""What becomes of completions: who is left out, what never trains, and where a user reads of it."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_loop.generators.openai import OpenAI
from star_loop.generators.pool import Pool
from star_loop.generators.scripted import Scripted, ScriptedEngine
from star_loop.generators.transformers import Transformers
from star_loop.generators.vllm import Vllm
from star_loop.protocols import Engine, Generator, Verifier
from star_loop.records import Completion, Observation, Request, Sampling, Verdict
from star_loop.report import write as write_report
from star_loop.run.directory import RunDirectory
from star_loop.stages.judge import Drawn, judge_all, warn_too_long
from star_loop.verifiers.exact import Exact
from tests.quiz import HINT, Quiz, play

CONTEXT = 99
CUT, LONG = (1, 4, 7, 10), (2, 5)


class CuttingEngine(ScriptedEngine):
    """Always right, but cuts off what it says of some questions, and cannot read others."""

    def generate(self, requests: Sequence[Request], **arguments: Any) -> list[list[Completion]]:
        drawn = super().generate(requests, **arguments)
        for k, request in enumerate(requests):
            number = int(request.observation.id.partition("/")[2])
            text = request.observation.rationale or ""
            if number in LONG:
                drawn[k] = [Completion(text="", tokens=0, prompt_tokens=CONTEXT, finish="length")] * request.n
            elif number in CUT:
                drawn[k] = [Completion(text=text, tokens=3, prompt_tokens=1, finish="length")] * request.n
        return drawn


class Cutting(Scripted):
    """With that engine."""

    @contextmanager
    def engine(self, *_: Any, **__: Any) -> Iterator[Engine]:
        yield CuttingEngine(self)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("cut")
    play(
        directory, "generator._target_=tests.stages.test_judging.Cutting", "generator.table=[1.0]", "second_try=resample",
        "schedule.quota=null", "sampler=uniform", "selectors=all_correct", "iterations=1",
    )  # fmt: skip
    return directory


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_was_cut_off_or_had_no_room_never_trains_and_shifts_no_row(run: Path) -> None:
    rollouts = [row for path in sorted((run / "iterations/0001/waves").iterdir()) for row in lines(path)]
    assert {row["id"] for row in rollouts} == {f"train/{k}" for k in range(12)}
    for row in rollouts:
        number = int(row["id"].partition("/")[2])
        assert row["position"] == number
        expected = "prompt too long" if number in LONG else "truncated" if number in CUT else "equal (marker)"
        assert (row["how"], row["correct"]) == (expected, number not in LONG + CUT)
        assert row["answer"] == (None if number in LONG else str(number))
    tried_twice = {row["id"] for row in rollouts if row["attempt"] == 1}
    assert tried_twice == {f"train/{k}" for k in CUT}  # a prompt that is too long stays too long
    trained = {row["id"] for row in lines(run / "iterations/0001/examples.jsonl")}
    assert trained == {f"train/{k}" for k in range(12) if k not in LONG + CUT}


def test_both_are_counted_apart_and_the_ids_are_in_the_report(run: Path) -> None:
    metrics = json.loads((run / "iterations/0001/metrics.json").read_text())
    assert metrics["collect/too_long"] == pytest.approx(2 / 16)
    assert metrics["collect/truncated"] == pytest.approx(8 / 16)
    assert metrics["collect/unparsed"] == pytest.approx(2 / 16)
    assert metrics["evaluation/too_long"] == metrics["evaluation/unparsed"] == pytest.approx(2 / 6)
    assert metrics["evaluation/accuracy"] == pytest.approx(4 / 6)  # what was cut off has been right so far
    report = write_report(run).read_text()
    for name in (f"{split}/{k}" for split in ("train", "validation", "test") for k in LONG):
        assert name in report.partition("the prompt fills the context:")[2]
    for label in ("no answer found", "cut off", "prompt too long, left out", "test: no answer found"):
        assert label in report


def test_the_log_names_every_prompt_that_is_too_long_once_a_pass(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However the engine is asked: here in a stream, whose batches and second tries say nothing by themselves."""
    play(
        tmp_path, "generator._target_=tests.stages.test_judging.Cutting", "generator.table=[1.0]", "schedule.quota=null",
        "sampler=uniform", "selectors=all_correct", "iterations=1", "second_try=resample", "generator.seeding=request",
    )  # fmt: skip
    said = [r.getMessage() for r in caplog.records if "fill the model's context" in r.getMessage()]
    assert [line.partition("/")[0] for line in said] == [
        f"iteration {t}: {len(LONG)} prompts fill the model's context and are left out: {split}"
        for t, split in ((0, "validation"), (0, "test"), (1, "train"), (1, "validation"), (1, "test"))
    ]
    assert all(line.count("tokens)") == len(LONG) for line in said)


def test_a_hundred_prompts_are_named(caplog: pytest.LogCaptureFixture, run: Path) -> None:
    long = next(r for r in RunDirectory(run).iteration(1).rollouts() if r.how == "prompt too long")
    warn_too_long(3, [replace(long, id=f"train/{k}", prompt_tokens=100 + k) for k in range(120) for _ in range(2)],
                  Cutting())  # fmt: skip
    assert "120 prompts fill the model's context and are left out: train/0 (100 tokens)" in caplog.text
    assert "train/99 (199 tokens) and 20 more" in caplog.text


@pytest.mark.parametrize("generator", [Cutting(), OpenAI(), Pool(), Transformers(), Vllm()])
def test_a_warning_names_no_key_that_the_generator_does_not_have(
    caplog: pytest.LogCaptureFixture, run: Path, generator: Generator
) -> None:
    long = next(r for r in RunDirectory(run).iteration(1).rollouts() if r.how == "prompt too long")
    warn_too_long(3, [replace(long, id="train/7", prompt_tokens=0)], generator)
    keys = re.findall(r"generator\.(\w+)", caplog.text)
    assert keys == [key for key in ("max_model_len", "max_tokens") if key in type(generator).model_fields][:1]
    assert "left out: train/7. " in caplog.text, "no count is told that nobody knows"


class Fussy(Verifier):
    """Fails at one text, as no verifier should."""

    def judge(self, observation: Observation, text: str) -> Verdict:
        if text == "bang":
            raise RuntimeError(text)
        return Exact().judge(observation, text)


def drawn(*texts: str, finish: str = "stop") -> list[Drawn]:
    request = Request(
        prompt="?", observation=Observation(id="o", question="?", answer="1"),
        sampling=Sampling(temperature=1, max_tokens=9), hinted=True,
    )  # fmt: skip
    return [
        Drawn(7, 1, k, request, Completion(text=t, tokens=2, prompt_tokens=3, finish=finish))  # type: ignore[arg-type]
        for k, t in enumerate(texts)
    ]


def test_a_verifier_that_fails_costs_one_verdict(caplog: pytest.LogCaptureFixture) -> None:
    rollouts = judge_all(Quiz(verifier=Fussy()), drawn("#### 1", "bang", "#### 2"), reject_truncated=True)
    assert [(r.sample, r.correct, r.how) for r in rollouts] == [
        (0, True, "equal (marker)"), (1, False, "verifier failed: RuntimeError"), (2, False, "different (marker)")
    ]  # fmt: skip
    assert "Fussy failed on o: RuntimeError('bang')" in caplog.text


class Lawless(Exact):
    """Gives what is no verdict, or leaves, where a text is wrong; and all at once one too few."""

    gives: str

    def judge(self, observation: Observation, text: str) -> Verdict:
        verdict = super().judge(observation, text)
        return verdict if verdict.correct else breach(self.gives, verdict)

    def judge_all(self, asked: Sequence[tuple[Observation, str]]) -> list[Verdict]:
        return super().judge_all(asked[1:] if self.gives == "one too few" else asked)


def breach(what: str, verdict: Verdict) -> Any:
    if what == "exit":
        sys.exit(0)
    given: dict[str, Any] = {
        "nothing": None, "a truth value": True, "no": replace(verdict, correct="no"),  # type: ignore[arg-type]
        "marks": replace(verdict, score=2.0), "numpy": replace(verdict, correct=np.True_), "one too few": verdict,
    }  # fmt: skip
    return given[what]


@pytest.mark.parametrize("gives, how", [
    ("exit", "verifier failed: SystemExit"), ("nothing", "verifier failed: ValueError"),
    ("a truth value", "verifier failed: ValueError"), ("no", "verifier failed: ValueError"),
    ("marks", "verifier failed: ValueError"), ("numpy", "verifier failed: ValueError"),
    ("one too few", "different (marker)"),
])  # fmt: skip
def test_what_is_no_verdict_costs_one_verdict_and_its_verifier_is_named(
    caplog: pytest.LogCaptureFixture, gives: str, how: str
) -> None:
    alone = Quiz(verifier=Lawless(gives=gives))
    rollouts = judge_all(alone, drawn("#### 1", "#### 2", "#### 1"), reject_truncated=True)
    assert [(r.correct, r.how) for r in rollouts] == [(True, "equal (marker)"), (False, how), (True, "equal (marker)")]
    assert ("verifier Lawless failed on o: " in caplog.text) == how.startswith("verifier failed")


def test_quoting_the_hint_is_no_answer_of_one_s_own() -> None:
    (leak,) = judge_all(Quiz(), drawn(f"{HINT}1)\n#### 1"), reject_truncated=True)
    assert (leak.correct, leak.how, leak.hinted, leak.answer) == (False, "quotes the hint", True, "1")


def test_an_answer_that_was_cut_off_counts_where_nothing_is_learned_from_it() -> None:
    texts = drawn("#### 1", finish="length")
    assert [judge_all(Quiz(), texts, reject_truncated=r)[0].correct for r in (True, False)] == [False, True]

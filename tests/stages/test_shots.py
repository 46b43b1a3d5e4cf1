"""Worked examples are used for as long as they help, and the base model is measured with them as well."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from star_loop.accounting.metrics import base_accuracy
from star_loop.config.build import build
from star_loop.launch import launch
from star_loop.models import Model
from star_loop.records import Completion, Request
from star_loop.trackers import Console
from star_loop.trackers.remarks import Remarks
from tests.quiz import configure

SMALL = ("task=word_problems", "task.train_per_level=8", "task.validation_per_level=1", "task.test_per_level=1")
EXAMPLE = "Compute 6 + 7 - 4 = ?"
"""How the task's first worked example begins."""


class Former:
    """Right after worked examples; once trained and if it `knows` the form, where they are missing. Keeps prompts."""

    def __init__(self, *, knows: bool) -> None:
        self.knows, self.trained = knows, False
        self.prompts: list[tuple[bool, str]] = []

    def serve(self, model: Model) -> None:
        self.trained = model.adapter is not None

    def generate(self, requests: Sequence[Request], **_: Any) -> list[list[Completion]]:
        self.prompts += [(self.trained, request.prompt) for request in requests]
        return [[self.complete(request)] * request.n for request in requests]

    def complete(self, request: Request) -> Completion:
        right = (EXAMPLE in request.prompt) != (self.trained and self.knows)
        text = f"#### {request.observation.answer}" if right else "I do not know."
        return Completion(text=text, tokens=4, prompt_tokens=9, finish="stop")

    def release(self) -> None: ...


@contextmanager
def ran(path: Path, *overrides: str, knows: bool = True, iterations: int = 2) -> Iterator[tuple[Former, list]]:
    engine = Former(knows=knows)
    launch(configure("experiment=smoke", *SMALL, f"iterations={iterations}", *overrides), path, engine=engine)
    yield engine, [json.loads((path / f"iterations/{t:04}/metrics.json").read_text()) for t in range(iterations + 1)]


def asked_with_examples(engine: Former, *, trained: bool) -> bool:
    return any(EXAMPLE in prompt for by_trained, prompt in engine.prompts if by_trained == trained)


@pytest.mark.parametrize("until", [0, 1])
def test_worked_examples_until_an_iteration(tmp_path: Path, until: int, caplog: pytest.LogCaptureFixture) -> None:
    keys = (f"schedule.shots_until={until}", "evaluation.shots=false", "second_try=none")
    if not until:
        with pytest.raises(Exception, match="nothing to train on"), ran(tmp_path, *keys):
            pass
        return
    with ran(tmp_path, *keys) as (engine, (_, first, second)):
        assert asked_with_examples(engine, trained=False) and not asked_with_examples(engine, trained=True)
        assert (first["collect/shots"], second["collect/shots"]) == (1.0, 0.0)
        assert "schedule.shots_until" not in caplog.text


def test_always_where_nothing_else_is_said(tmp_path: Path) -> None:
    with ran(tmp_path, "evaluation.shots=false", knows=False) as (engine, (_, _, second)):
        assert asked_with_examples(engine, trained=True) and "collect/shots" not in second


@pytest.mark.parametrize("knows", [True, False])
def test_pilots_decide_and_what_they_cost_is_counted(tmp_path: Path, knows: bool) -> None:
    with ran(tmp_path, "schedule.shots_until=auto", knows=knows) as (_, (_, first, second)):
        assert (first["shots/with_shots"], first["shots/bare"], first["collect/shots"]) == (1.0, 0.0, 1.0)
        assert second["shots/bare"] == float(knows) == 1 - second["collect/shots"]
        assert first["tokens/shots"] > 0 and first["flops/shots"] > 0


def test_the_base_is_measured_both_ways_and_gains_count_from_the_better(tmp_path: Path) -> None:
    with ran(tmp_path, knows=False) as (_, (base, first, _)):
        assert (base["evaluation/accuracy"], base["evaluation_shots/accuracy"]) == (0.0, 1.0)
        assert base["validation_shots/accuracy"] == base_accuracy(base) == 1.0
        assert "evaluation_shots/accuracy" not in first and base_accuracy(first) == first["evaluation/accuracy"]
        assert (tmp_path / "iterations/0000/evaluation_shots.jsonl").exists()
    assert "of which worked examples make 100.0 %: iterations will teach it" in " ".join(
        Remarks(Path("outputs/mine")).new(0, base)
    )
    report = (tmp_path / "report.html").read_text()
    assert "<td>0, with worked examples</td><td>100.0 %</td>" in report
    assert "−100.0 points over the base with worked examples" in report


def test_the_console_has_a_row_for_the_base_after_worked_examples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = {"evaluation/accuracy": 0.1, "evaluation_shots/accuracy": 0.25,
            "evaluation_shots/accuracy_low": 0.2, "evaluation_shots/accuracy_high": 0.3}  # fmt: skip
    for live in (False, True):
        with Console(live=live).session(tmp_path, [both, {"evaluation/accuracy": 0.2}]):
            pass
    said = capsys.readouterr().out
    assert said.count("with_worked_examples") == said.count("with worked examples") == 1
    assert "baseline iteration=0 asked=with_worked_examples accuracy=0.2500 low=0.2000 high=0.3000\n" in said
    assert re.search(r" 0 +25\.0 % +20\.0–30\.0  with worked examples", said)
    assert "change=-0.0500" in said and re.search(r"20\.0 %.*−5\.0", said)


def test_a_task_without_worked_examples_has_nothing_to_decide(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plain = configure("experiment=smoke", "iterations=1", "schedule.shots_until=auto", "task.train_per_level=10",
                      "task.validation_per_level=2", "task.test_per_level=2")  # fmt: skip
    launch(plain, tmp_path)
    figures = json.loads((tmp_path / "iterations/0001/metrics.json").read_text())
    assert not any(name.startswith(("shots/", "evaluation_shots/")) or name == "collect/shots" for name in figures)
    assert build(plain).schedule.shots_until == "auto"
    nothing = "schedule.shots_until changes nothing: the prompts of this task hold no worked examples"
    assert [record.getMessage() for record in caplog.records].count(nothing) == 1


def test_hinted_tries_go_without_examples_too() -> None:
    task = build(configure(*SMALL)).task
    observation = task.train()[0]
    hinted = task.bare_prompt(observation, hint=True)
    assert (
        task.hint_marker in hinted and EXAMPLE not in hinted and task.hint_marker not in task.bare_prompt(observation)
    )

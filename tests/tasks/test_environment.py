"""Environments of `verifiers`: of one turn they are tasks, judged by their own rewards; others are refused in words.

The tests run with a stand-in for the package's documented protocol. With VERIFIERS_PYTHON=<a Python that has verifiers
0.4> they run with the package itself, which cannot be installed beside vLLM: it wants openai below 3.
"""

import os
import sys
from pathlib import Path

import pytest

from star_loop.config.build import build
from star_loop.generators.pool import write_golds
from star_loop.records import TURN, Observation
from star_loop.run.directory import RunDirectory
from star_loop.stages.load import load
from star_loop.tasks.environment import Environment
from star_loop.verifiers.environment import EnvironmentReward
from tests.quiz import QUIZ, configure, play

FIXTURES = Path(__file__).parent.parent / "fixtures"
REAL = os.environ.get("VERIFIERS_PYTHON")
PYTHON = Path(REAL or sys.executable)
SIZES = {"train_size": 20, "validation_size": 6, "test_size": 6}
WRAPPED = EnvironmentReward(gold="It is <{answer}>")


@pytest.fixture(autouse=True)
def packages(monkeypatch) -> None:
    folders = [FIXTURES / "environments", *([] if REAL else [FIXTURES / "verifiers_protocol"])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))


def doubling(**keys: object) -> Environment:
    return Environment(**{"taskset": "doubling-env", "python": PYTHON, "verifier": WRAPPED, **SIZES, **keys})  # type: ignore[arg-type]


def test_its_tasks_are_observations_and_its_rewards_accept_every_gold() -> None:
    task = doubling(skill="topic", level="steps")
    splits = load(task)
    assert {split: len(part) for split, part in splits.items()} == {"train": 20, "validation": 6, "test": 6}
    for observation in (o for part in splits.values() for o in part):
        number = int(observation.id.removeprefix("doubling-env/"))
        assert observation.question == f"Answer in <>.\n\nWhat is {number} + {number}?"
        assert (observation.answer, observation.skill, observation.level) == (str(2 * number), "sums", number % 3)
        assert task.prompt(observation) == task.bare_prompt(observation) == observation.question


def observation() -> tuple[Environment, Observation]:
    task = doubling()
    return task, task.train()[0]


@pytest.mark.parametrize(("text", "correct", "how"), [
    ("so <{answer}>", True, "reward 1, enough"),
    ("<think>hang</think> so <{answer}><|im_end|>", True, "reward 1, enough"),
    ("<{answer}>, I think", False, "reward 0.1, of 1"),
    ("", False, "reward 0, of 1"),
    ("break", False, "no reward: "),
    ("hang", False, "no reward: it took too long"),
    ("die", False, "no reward: its process died"),
    ("\x00 \ud800 é", False, "reward"),
])  # fmt: skip
def test_a_reply_is_judged_by_its_reward_whatever_happens(text: str, correct: bool, how: str) -> None:
    task, asked = observation()
    verifier = task.verifier.model_copy(update={"timeout": 1.0} if text == "hang" else {})
    verdict = verifier.judge(asked, text.replace("{answer}", asked.answer))
    assert verdict.correct is correct
    assert verdict.how.startswith(how)
    assert task.verifier.judge(asked, f"still <{asked.answer}>").correct


def test_a_lower_threshold_counts_more() -> None:
    _, asked = observation()
    assert EnvironmentReward(threshold=0.1, python=PYTHON).judge(asked, "no").correct
    assert not EnvironmentReward(threshold=0.2, python=PYTHON).judge(asked, "no").correct


def test_messages_are_turns_where_the_model_has_a_chat_template() -> None:
    asked = doubling(config={"messages": True}, turns=True).train()[0]
    assert asked.question.split(TURN)[:2] == ["Answer in <>.\n\nWhat is 1 + 1?", "<2>"]
    plain = doubling(config={"messages": True}).train()[0]
    assert TURN not in plain.question and plain.question.count("\n\n") == 3


def test_what_repeats_a_held_out_question_is_left_out() -> None:
    task = doubling(config={"repeated": True})
    splits = load(task)
    questions = [{o.question for o in part} for part in splits.values()]
    assert not questions[0] & (questions[1] | questions[2])


@pytest.mark.parametrize(("why", "said"), [
    ("tools", r"it has tools \(Search\), which are called in turns"),
    ("container", "its tasks run in a container"),
    ("setup", "its tasks prepare or finish something in a runtime"),
    ("runtime", "its reward looked_up looks into a runtime"),
    ("user", "a simulated user opens the conversation"),
    ("image", "its prompts are no text"),
])  # fmt: skip
def test_several_turns_are_refused_in_a_sentence(why: str, said: str) -> None:
    task = doubling(taskset="several_turns_env", config={"why": why})
    with pytest.raises(ValueError, match=rf"task\.taskset=several_turns_env is not of one turn: {said}"):
        task.check()


@pytest.mark.parametrize(("keys", "said"), [
    ({"taskset": None}, r"give task\.taskset="),
    ({"taskset": "nowhere"}, r"task\.taskset=nowhere cannot be loaded \(ModuleNotFoundError: taskset 'nowhere' not found"),
    ({"config": {"mots": 3}}, r"task\.taskset=doubling-env cannot be loaded \(ValidationError"),
    ({"config": {"most": 9}}, r"has 9 tasks, and 6 \+ 6 are for measuring"),
    ({"answer": "gold"}, r"task\.answer=gold: a task of doubling-env has no such field, there is .*answer.*topic"),
    ({"level": "topic"}, r"task\.level=topic: not a whole number in doubling-env, but 'sums'"),
    ({"python": Path("/nowhere/python")}, r"/nowhere/python cannot run it"),
])  # fmt: skip
def test_what_is_wrong_is_told(keys: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        doubling(**keys).check()


def test_without_the_package_its_own_environment_is_advised(monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FIXTURES / "environments"))
    with pytest.raises(
        ValueError, match=r"install the package verifiers into an environment of its own .*task\.python="
    ):
        doubling(python=Path(sys.executable), taskset="doubling_env").check()


def test_a_run_learns_from_an_environment(tmp_path: Path) -> None:
    keys = (
        "task=environment", "task.taskset=doubling_env", f"task.python={PYTHON}", "task.verifier.gold=<{answer}>",
        "task.verifier._target_=star_loop.verifiers.environment.EnvironmentReward", "task.train_size=12", "task.validation_size=3",
        "task.test_size=3",
    )  # fmt: skip
    task = build(configure(*QUIZ[:1], *keys)).task
    assert task.verifier == EnvironmentReward(gold="<{answer}>", python=PYTHON)
    write_golds(task, task.train(), tmp_path / "golds.jsonl")
    play(tmp_path / "run", *keys, "task._target_=star_loop.tasks.environment.Environment", "iterations=1",
         "generator=pool", f"generator.path={tmp_path / 'golds.jsonl'}")  # fmt: skip
    rollouts = RunDirectory(tmp_path / "run").iteration(1).rollouts()
    assert {rollout.how for rollout in rollouts} == {"reward 1, enough"}

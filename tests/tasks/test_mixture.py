"""A mixture is its tasks: their observations, prompts and verdicts, under their names."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.config.build import build
from star_loop.errors import ConfigError
from star_loop.launch import show
from star_loop.protocols import Task, Verifier
from star_loop.records import How, Observation, Verdict
from star_loop.run.directory import RunDirectory
from star_loop.stages.load import check, figures, load
from star_loop.tasks.arithmetic import Arithmetic
from star_loop.tasks.file import File
from star_loop.tasks.mixture import Mixture
from star_loop.tasks.show import prompts
from star_loop.tasks.word_problems import WordProblems
from star_loop.verifiers.exact import Exact
from star_loop.verifiers.multiple_choice import MultipleChoice
from tests.quiz import QUIZ, Quiz, configure, play
from tests.tasks.test_tasks import FIXTURES

SUMS = Arithmetic(train_per_level=8, validation_per_level=3, test_per_level=2)
STORIES = WordProblems()


class Colours(Quiz):
    """Letters instead of numbers, and other prompts."""

    verifier: MultipleChoice = MultipleChoice()

    def _some(self, split: str, n: int) -> list[Observation]:
        return [
            Observation(id=f"{split}-{k}", question=f"Which is colour {k} of {split}?", answer="B",
                        choices=("red", f"blue {k}"), skill="red", meta={"number": k})
            for k in range(n)
        ]  # fmt: skip

    def prompt(self, observation: Observation, *, hint: bool = False) -> str:
        assert observation.skill == "red" and "number" in observation.meta  # it sees what it has made
        return f"Colour! {observation.question}{' <hint: B>' if hint else ''}"

    def bare_prompt(self, observation: Observation, *, hint: bool = False) -> str:
        return f"bare {self.prompt(observation, hint=hint)}"

    @property
    def hint_marker(self) -> str:
        return "<hint: "

    @property
    def stop(self) -> tuple[str, ...]:
        return ("Colour!",)


@pytest.fixture(scope="module")
def mixed() -> Mixture:
    return Mixture(tasks={"quiz": Quiz(n=12), "colours": Colours(n=6)})


def test_every_observation_of_every_split_is_there_under_its_task(mixed: Mixture) -> None:
    splits = load(mixed)
    assert {split: len(part) for split, part in splits.items()} == {"train": 18, "validation": 9, "test": 9}
    for split, observations in splits.items():
        for name, task in mixed.tasks.items():
            own = getattr(task, split)()
            ours = [o for o in observations if o.skill == name]
            assert [o.id for o in ours] == [f"{name}/{o.id}" for o in own]
            assert [(o.question, o.answer, o.choices, o.level) for o in ours] == [
                (o.question, o.answer, o.choices, o.level) for o in own
            ]


def test_prompts_golds_and_verdicts_are_those_of_the_task(mixed: Mixture) -> None:
    for observation in mixed.train():
        task: Task = mixed.tasks[observation.skill]
        [own] = [o for o in task.train() if f"{observation.skill}/{o.id}" == observation.id]
        for hint in (False, True):
            assert mixed.prompt(observation, hint=hint) == task.prompt(own, hint=hint)
            assert mixed.bare_prompt(observation, hint=hint) == task.bare_prompt(own, hint=hint)
        assert mixed.gold_text(observation) == task.gold_text(own)
        assert mixed.verifier.statement(observation) == task.verifier.statement(own)
        assert mixed.verifier.instruction(observation) == task.verifier.instruction(own)
        for text in (task.gold_text(own), "#### 3", "The answer is (A).", "", "\x00"):
            assert mixed.verifier.judge(observation, text) == task.verifier.judge(own, text)
            assert mixed.verifier.probe(observation, text) == task.verifier.probe(own, text)
        assert mixed.stop_of(observation) == task.stop
    assert mixed.stop == ("Colour!",)


def test_all_are_judged_at_once_in_their_order(mixed: Mixture) -> None:
    asked = [(o, text) for o in mixed.train()[::-1] for text in ("The answer is (B).", f"#### {o.answer}")]
    assert mixed.verifier.judge_all(asked) == [mixed.verifier.judge(o, text) for o, text in asked]


def test_each_task_has_a_hint_of_its_own(mixed: Mixture) -> None:
    assert mixed.hint_marker is None
    number, colour = mixed.train()[0], mixed.train()[-1]
    assert mixed.verifier.judge(number, f"(answer: #### {number.answer}").how == How.HINT_LEAK
    assert mixed.verifier.judge(colour, "(answer: The answer is (B).").correct
    assert not mixed.verifier.judge(colour, "<hint: The answer is (B).").correct
    assert Mixture(tasks={"a": Quiz(), "b": Quiz(n=3)}).hint_marker == Quiz().hint_marker


class Crooked(Exact):
    """Breaks the laws: it fails at one text."""

    def judge(self, observation: Observation, text: str) -> Verdict:
        if text == "NaN":
            raise RuntimeError("no number")
        return super().judge(observation, text)


class Picky(Exact):
    """Takes no gold answer but 0."""

    def judge(self, observation: Observation, text: str) -> Verdict:
        verdict = super().judge(observation, text)
        return replace(verdict, correct=verdict.correct and observation.answer == "0")


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(("verifier", "said"), [
    (Crooked(), r"the verifier Crooked fails on 'NaN' \(3 characters\), asked about last/.*train/0: RuntimeError: no number"),
    (Picky(), r"the verifier Picky rejects the gold answer '1' of train observation 'last/.*train/1'"),
])  # fmt: skip
def test_every_task_s_verifier_is_held_to_its_laws_however_many_questions_come_before(
    verifier: Verifier, said: str, nested: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("star_loop.stages.proof.GOLDS_PROVEN", 4)
    last: Task = Quiz(n=6, verifier=verifier)
    if nested:
        last = Mixture(tasks={"colours": Colours(n=9), "quiz": last})
    with pytest.raises(ValueError, match=said):
        load(Mixture(tasks={"colours": Colours(n=30), "last": last}))


def test_the_first_of_a_mixture_are_the_first_of_each_task(mixed: Mixture) -> None:
    train = mixed.train()
    assert [train[place].id for place in mixed.first(2, train)] == [
        "quiz/train/0", "quiz/train/1", "colours/train-0", "colours/train-1"
    ]  # fmt: skip
    shown = prompts(mixed, n=1)
    assert "── quiz/train/0: " in shown and "── colours/train-0: " in shown and "train/1" not in shown
    assert shown.endswith(
        "── quiz/train/0: generation ends before nothing\n── colours/train-0: generation ends before 'Colour!'"
    )


def test_a_mixture_is_labelled_as_its_tasks_are() -> None:
    bare = {"a": Quiz(labels="majority"), "b": Colours(labels="majority")}
    assert Mixture(tasks=bare).labels == "majority"
    assert Mixture(tasks={"a": Quiz(), "b": Colours()}).labels == "gold"
    assert Mixture(tasks={"a": Quiz(), "b": Colours()}, labels="majority").labels == "majority"
    for keys in ({"labels": "gold", "tasks": bare}, {"tasks": {**bare, "c": Quiz()}}):
        with pytest.raises(ValueError, match=r"one has labels=majority: give task\.labels to all"):
            Mixture(**keys)


def test_mixtures_nest() -> None:
    inner = Mixture(tasks={"quiz": Quiz(n=3), "colours": Colours(n=3)})
    outer = Mixture(tasks={"inner": inner, "sums": SUMS})
    splits = load(outer)
    assert {o.skill for o in splits["train"]} == {"inner", "sums"}
    assert [outer.prompt(o) for o in splits["train"][:6]] == [inner.prompt(o) for o in inner.train()]


@pytest.mark.parametrize(
    "weights", [{"colours": 2.0}, {"quiz": 3.0}, {"quiz": 0.5, "colours": 0.125}, {"quiz": 4.0, "colours": 2.0}]
)
def test_weights_are_shares_of_the_training_questions(weights: dict[str, float]) -> None:
    mixed = Mixture(tasks={"quiz": Quiz(n=12), "colours": Colours(n=6)}, weights=weights)
    counts = {name: sum(o.skill == name for o in mixed.train()) for name in mixed.tasks}
    ratio = weights.get("quiz", 1.0) / weights.get("colours", 1.0)
    assert counts["quiz"] / counts["colours"] == pytest.approx(ratio, rel=0.2)
    assert counts["quiz"] == 12 or counts["colours"] == 6  # as many as can be
    assert mixed.findings().get("train: left out by weight") == 18 - sum(counts.values())
    assert len(mixed.validation()) == 9
    again = Mixture(tasks={"quiz": Quiz(n=12), "colours": Colours(n=6)}, weights=weights)
    assert [o.id for o in again.train()] == [o.id for o in mixed.train()]


def test_what_one_task_learns_and_another_measures_is_left_out(tmp_path: Path) -> None:
    class Copy(Quiz):
        """The first task's test questions, to learn from."""

        def train(self):
            return [*self._some("test", 3), *self._some("own", 2)]

        def validation(self):
            return self._some("own validation", 2)

        def test(self):
            return self._some("own test", 2)

    mixed = Mixture(tasks={"quiz": Quiz(n=12), "copy": Copy()})
    found = load(mixed)
    assert [o.id for o in found["train"] if o.skill == "copy"] == ["copy/own/0", "copy/own/1"]
    assert figures(mixed, found)["data/train/left_out_same_text_as_a_held_out_one"] == 3


def test_findings_carry_the_names_of_the_tasks() -> None:
    mixed = Mixture(
        tasks={"svamp": File(path=FIXTURES / "gsm8k/train.jsonl", question="question", answer="answer"), "quiz": Quiz()}
    )
    for finding, count in mixed.tasks["svamp"].findings().items():
        split, what = finding.split(": ")
        assert mixed.findings()[f"{split}: svamp, {what}"] == count


def test_real_tasks_of_different_kinds_pass_every_gold() -> None:
    load(Mixture(tasks={"sums": SUMS, "stories": STORIES}, weights={"sums": 1, "stories": 2}))


MIXED = (
    "task=mixture", "+task@task.tasks.sums=arithmetic", "+task@task.tasks.stories=word_problems",
    "task.tasks.sums.train_per_level=6", "task.tasks.sums.validation_per_level=3",
)  # fmt: skip
OVER_THE_QUIZ = (*MIXED, "task._target_=star_loop.tasks.mixture.Mixture")


def test_a_run_on_a_mixture_measures_each_task_and_a_sampler_of_groups_acts_on_them(tmp_path: Path) -> None:
    play(tmp_path, *OVER_THE_QUIZ, "sampler=stratified", "iterations=1", "schedule.wave=40", "schedule.quota=20")
    run = RunDirectory(tmp_path)
    names = set(run.iteration(1).metrics())
    assert {f"{split}/{task}" for split in ("validation", "evaluation") for task in ("sums", "stories")} <= names
    assert {"sampler/mass/sums", "sampler/asked/stories"} <= names
    assert run.iteration(1).metrics()["sampler/mass/sums"] == 0.5
    asked = [rollout.id.partition("/")[0] for rollout in run.iteration(1).rollouts()]
    assert {"sums", "stories"} == set(asked)
    assert "── sums/" in show(configure(*MIXED, "show=prompts"))


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.1, 10))
def test_shares_hold_for_any_sizes(one: int, other: int, weight: float) -> None:
    counts = {"a": one, "b": other}
    mixed = Mixture(tasks={"a": Quiz(n=one), "b": Colours(n=other)}, weights={"a": weight})
    found = {name: sum(o.skill == name for o in mixed.train()) for name in counts}
    assert all(0 <= found[name] <= size for name, size in counts.items())
    assert any(found[name] == size for name, size in counts.items())
    assert abs(found["a"] - found["b"] * weight) <= 0.5 + 0.5 * weight + 1e-9


@pytest.mark.parametrize(("overrides", "said"), [
    (("task=mixture",), "a mixture needs tasks: add"),
    ((*MIXED, "task.weights.stroies=2"), "task.weights.stroies: no such task, there is sums, stories"),
])  # fmt: skip
def test_what_is_wrong_is_told(overrides, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build(configure(*QUIZ[:1], *overrides)).task.check()


@pytest.mark.parametrize(("overrides", "said"), [
    (("task.verifier._target_=star_loop.verifiers.exact.Exact",), r"task: .*give task.tasks.<name>.verifier"),
    (("task.weights.sums=0",), r"task.weights.sums: input should be greater than 0"),
    (("+task@task.tasks.mine=arithmetic", "task.tasks.mine.verifer=x"), r"task.tasks.mine.verifer: no such key: did you mean verifier"),
])  # fmt: skip
def test_what_cannot_be_built_is_told_with_its_key(overrides, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(configure(*QUIZ[:1], *MIXED, *overrides))


def test_each_task_may_have_another_verifier() -> None:
    strict = Mixture(tasks={"a": Quiz(), "b": Colours(n=2)})
    assert {type(task.verifier) for task in strict.tasks.values()} == {Exact, MultipleChoice}


ROWS = "".join(
    json.dumps({"question": f"Say {k}.", "answer": str(k), "tests": "# none", "words": list("uvw"), "place": 1 + k % 2})
    + "\n"
    for k in range(9)
)
REFUSED = {
    "a file that is not there": (["path=nope.jsonl"], r"^{key}\.path: there is no file nope\.jsonl"),
    "an empty file": (["path=task.jsonl"], r"^{key}\.path: task\.jsonl is empty"),
    "a table that is called so": (["path=task.tsv"], r"^{key}\.path: there is no file task\.tsv"),
    "no file": ([], r"^give {key}\.path=<file>, or {key}\.repository="),
    "a held-out file": (["path=b.jsonl", "test_path=nope.jsonl"], r"^{key}\.test_path: there is no file"),
    "worked examples": (["path=b.jsonl", "shots=3"], r"^{key}\.shots=3: give worked examples with {key}\.exemplars="),
    "a verifier's file": (["path=b.jsonl", "verifier=nope.py:right"], r"^{key}\.verifier: .*nope\.py"),
    "a verifier's tests": (["path=b.jsonl", "verifier=code"], r"\({key}\.verifier\.tests names their columns"),
    "options": (["path=b.jsonl", "choices=words", "answer=place"], r"write {key}\.first_choice=0 or {key}\.first_choice=1"),
    "a verifier that rejects the golds": (["path=b.jsonl", "verifier=yes_no"], r"or choose another {key}\.verifier$"),
}  # fmt: skip


@pytest.mark.parametrize("below", ["task.tasks.b", "task.tasks.inner.tasks.b"])
@pytest.mark.parametrize(("keys", "says"), REFUSED.values(), ids=REFUSED)
def test_what_a_task_refuses_names_its_keys_as_they_are_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str, keys: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_text(ROWS.replace("Say", "Write"))
    Path("b.jsonl").write_text(ROWS)
    Path("task.jsonl").write_text("")
    inner = [] if below == "task.tasks.b" else ["+task@task.tasks.inner=mixture"]
    group = f"+task@{below}=file"
    experiment = build(configure(
        "experiment=smoke", "task=mixture", "+task@task.tasks.a=file", "task.tasks.a.path=a.jsonl", *inner, group,
        *(f"{below}.{key}" for key in keys),
    ))  # fmt: skip
    with pytest.raises(ConfigError, match=says.format(key=re.escape(below))):
        check(experiment)
        load(experiment.task)

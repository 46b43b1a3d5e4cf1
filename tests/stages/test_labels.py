"""Labels by majority: the most frequent answer of a question judges its rationales, and golds are only compared with."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.config.build import build
from star_loop.errors import ConfigError
from star_loop.launch import advance
from star_loop.protocols import Task, Verifier
from star_loop.records import Completion, How, Observation, Request, Rollout, Sampling, Verdict
from star_loop.run.directory import RunDirectory
from star_loop.stages.judge import Drawn, judge_all
from star_loop.stages.labels import CANDIDATES, agreement, by_majority, majorities
from star_loop.tasks.file import File
from star_loop.tasks.mixture import Mixture
from star_loop.trackers.remarks import Remarks
from star_loop.verifiers.code import Code
from star_loop.verifiers.exact import Exact
from star_loop.verifiers.guess import Guess
from star_loop.verifiers.math import Math
from star_loop.verifiers.rewards import Rewards
from tests.quiz import QUIZ, Quiz, configure, contents, play

TASK = Quiz(n=4)
GOLDS = TASK.train()
OWN = [key for key in QUIZ if not key.startswith("task.")]


def judged(
    texts: list[tuple[int, str]], attempt: int = 0, task: Task = TASK, golds: Sequence[Observation] = GOLDS
) -> list[Rollout]:
    """Rollouts of these positions, judged by the golds, which are the positions unless others are given."""
    counts: Counter[int] = Counter()
    drawn = []
    for position, text in texts:
        request = Request(prompt="", observation=golds[position], sampling=Sampling(temperature=1, max_tokens=9))
        finish = "length" if text.endswith("…") else "stop"
        completion = Completion(text=text.rstrip("…"), tokens=3, prompt_tokens=3, finish=finish)  # type: ignore[arg-type]
        drawn.append(Drawn(position, attempt, counts[position], request, completion))
        counts[position] += 1
    return judge_all(task, drawn, reject_truncated=True)


ANSWERS = st.sampled_from(["#### 0", "#### 1", "#### 2.0", "#### 2", "none", "#### 1…"])


@given(st.lists(st.tuples(st.integers(0, 3), ANSWERS), max_size=24))
def test_the_most_frequent_answer_that_two_gave_is_what_is_correct(texts: list[tuple[int, str]]) -> None:
    rollouts = judged(texts)
    found = by_majority(TASK, GOLDS, rollouts)
    assert [(r.position, r.sample, r.text) for r in found] == [(r.position, r.sample, r.text) for r in rollouts]
    for position in range(4):
        own = [r for r in rollouts if r.position == position]
        votes = [r.answer for r in own if r.answer is not None and r.how != How.TRUNCATED]
        best = max(votes, key=votes.count, default=None)  # of equals, the first
        label = best if best is not None and votes.count(best) > 1 else None
        correct = [r.correct for r in found if r.position == position]
        assert correct == [label is not None and r.answer == label and r.how != How.TRUNCATED for r in own]
    assert {r.how for r in found if r.how == How.TRUNCATED} == {r.how for r in rollouts if r.how == How.TRUNCATED}


def votes(verifier: Verifier, form: str, answers: Sequence[str], gold: str) -> tuple[str, int] | None:
    """The answer that won among some, and its votes, at a question with this gold answer."""
    task, asked = Quiz(n=1, verifier=verifier), [Observation(id="1", question="How much is it?", answer=gold)]
    rollouts = judged([(0, form.format(answer)) for answer in answers], task=task, golds=asked)
    return majorities(task, asked, rollouts).get(0)


SPELLINGS = [
    (Exact(), "#### {}", ["0.5", "1/2", "50%", "7", "7"], "0.5", ("0.5", 3)),
    (Exact(), "#### {}", ["7", "1/2", "7", "50%", "7.5"], "0.5", ("7", 2)),
    (Guess(), "#### {}", ["7", "1/2", "7", "50%", "0.5"], "0.5", ("1/2", 3)),
    (Math(processes=1), "\\boxed{{{}}}", ["7", "0.5", "\\frac{1}{2}", "7", "\\frac12"], "0.5", ("0.5", 3)),
    (Exact(units=True), "#### {}", ["72 clips", "72", "72 apples", "70", "70"], "72", ("72", 3)),
    (Exact(units=True), "#### {}", ["72 clips", "72", "72 apples", "70", "70"], "70", ("72", 3)),
    (Exact(), "It is {}.", ["1", "2"], "1", None),
]


@pytest.mark.parametrize("verifier, form, answers, gold, won", SPELLINGS)
def test_spellings_of_one_answer_vote_together_and_the_gold_has_no_vote(
    verifier: Verifier, form: str, answers: Sequence[str], gold: str, won: tuple[str, int] | None
) -> None:
    assert votes(verifier, form, answers, gold) == won
    if isinstance(verifier, Exact):  # the others read by the kind of their gold answer
        assert votes(verifier, form, answers, "") == won


class Agreeable(Exact):
    """Takes any two answers as equal."""

    def judge(self, observation: Observation, text: str) -> Verdict:
        return replace(super().judge(observation, text), correct=True)


class Elsewhere(Agreeable):
    """Judges by something else than the gold answer."""

    @property
    def takes_labels(self) -> bool:
        return False


@pytest.mark.parametrize(
    "verifier, answers, won", [(Agreeable(), "2111", 3), (Agreeable(), "2311", 4), (Elsewhere(), "2311", 2)]
)
def test_spellings_are_counted_where_one_has_more_than_half_or_nothing_is_compared(
    verifier: Verifier, answers: str, won: int
) -> None:
    rollouts = judged([(1, f"#### {answer}") for answer in answers])
    assert {votes for _, votes in majorities(Quiz(n=4, verifier=verifier), GOLDS, rollouts).values()} == {won}


def test_of_many_spellings_only_the_frequent_ones_can_win() -> None:
    asked: list[str] = []

    class Counted(Exact):
        def judge(self, observation: Observation, text: str) -> Verdict:
            asked.append(text)
            return super().judge(observation, text)

    rollouts = judged([(1, f"#### {answer}") for answer in [*range(60), *range(4), "0.5", "0.5", "1/2"]])
    assert majorities(Quiz(n=4, verifier=Counted()), GOLDS, rollouts)[1] == ("0.5", 3)
    assert len(asked) == CANDIDATES * 61, "each with the 61 spellings that are not its own"


def test_what_agrees_with_a_label_is_correct_and_has_it_as_its_answer() -> None:
    found = by_majority(TASK, GOLDS, judged([(1, f"#### {answer}") for answer in ("1", "1", "50%", "1/2", "0.5")]))
    assert [(r.answer, r.correct) for r in found] == [("1", False)] * 2 + [("50%", True)] * 3
    later = by_majority(TASK, GOLDS, judged([(1, "#### 1"), (1, "#### 0.5")], attempt=2), found)
    assert [(r.answer, r.correct) for r in later] == [("1", False), ("50%", True)]


def test_a_later_round_keeps_the_label_of_the_first() -> None:
    first = by_majority(TASK, GOLDS, judged([(1, "#### 5"), (1, "#### 5"), (1, "#### 1")]))
    later = judged([(1, "#### 1"), (1, "#### 1"), (1, "#### 5")], attempt=2)
    assert [r.correct for r in by_majority(TASK, GOLDS, later, first)] == [False, False, True]
    assert [r.correct for r in by_majority(TASK, GOLDS, later)] == [True, True, False]


def test_labels_are_compared_with_golds_where_these_exist() -> None:
    texts = [(0, "#### 0"), (0, "#### 0"), (0, "#### 3"), (1, "#### 7"), (1, "#### 7"), (2, "#### 2"), (2, "#### 4")]
    found = by_majority(TASK, GOLDS, judged(texts))
    figures = agreement(TASK, GOLDS, found)
    assert figures == {
        "collect/labelled": pytest.approx(2 / 3), "collect/label_votes": 4 / 5, "collect/label_agreement": 0.5,
    }  # fmt: skip
    assert "50.0 % of them are the golds" in Remarks(Path("outputs/mine")).new(0, figures)[0]
    bare = [Observation(id=o.id, question=o.question, answer="") for o in GOLDS]
    assert "collect/label_agreement" not in agreement(TASK, bare, found)
    assert "no golds to compare with" in Remarks(Path("outputs/mine")).new(0, agreement(TASK, bare, found))[0]


def test_a_run_learns_from_what_agrees_and_is_measured_by_golds(tmp_path: Path) -> None:
    keys = ("task.labels=majority", "allocator.rollouts=4")
    play(tmp_path / "a", *keys)
    figures = json.loads((tmp_path / "a/iterations/0001/metrics.json").read_text())
    assert 0 < figures["collect/labelled"] <= 1 and "evaluation/accuracy" in figures
    rollouts = [Rollout.from_json(line) for line in (tmp_path / "a/iterations/0001/waves/000.jsonl").open()]
    for position in {r.position for r in rollouts}:
        right = {r.answer for r in rollouts if r.position == position and r.correct}
        assert len(right) <= 1
    play(tmp_path / "b", *keys)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize(
    "key, says", [("allocator.rollouts=1", "draws no more"), ("second_try=rationalize", "shows the gold answers")]
)
def test_what_cannot_vote_or_shows_golds_is_refused(key: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        build(configure(*QUIZ, "task.labels=majority", "allocator.rollouts=4", key)).check()


OTHERS = {
    "code": "star_loop.verifiers.code.Code",
    "judged": "star_loop.verifiers.judged.Judged",
    "environment": "star_loop.verifiers.environment.EnvironmentReward",
    "gym": "star_loop.verifiers.gym.Gym",
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_verifier_that_does_not_judge_by_the_gold_answer_is_refused(name: str) -> None:
    keys = [f"task.verifier._target_={OTHERS[name]}", *(["task.verifier.scorer=own"] if name == "gym" else [])]
    refused = rf"task\.verifier: {OTHERS[name].rpartition('.')[2]} judges by something else than the gold answer"
    with pytest.raises(ValueError, match=refused):
        build(configure(*QUIZ, "task.labels=majority", "allocator.rollouts=4", *keys)).check()


def test_a_mixture_names_the_task_whose_verifier_does_not_judge_by_the_gold_answer() -> None:
    experiment = build(configure(*QUIZ, "allocator.rollouts=4"))
    mixed = Mixture(tasks={"quiz": Quiz(labels="majority"), "programs": Quiz(labels="majority", verifier=Code())})
    with pytest.raises(ValueError, match=r"task\.tasks\.programs\.verifier: Code judges"):
        experiment.model_copy(update={"task": mixed}).check()


@pytest.mark.parametrize("function, accepted", [("right", True), ("anything", True), ("brief", False)])
def test_a_function_of_ones_own_takes_labels_where_it_asks_for_the_answer(
    tmp_path: Path, function: str, accepted: bool
) -> None:
    module = tmp_path / "own_labels.py"
    module.write_text(
        "def right(text, answer):\n    return answer in text\n\n\ndef anything(text, **others):\n    return True\n\n\n"
        "def brief(text):\n    return len(text) < 9\n"
    )
    assert Rewards(functions=(f"{module}:{function}",)).takes_labels is accepted


def rows(tmp_path: Path, golds: bool) -> Path:
    path = tmp_path / f"{golds}.jsonl"
    found = [
        {"question": f"{golds} {k}?", "choices": ["a", "b"], **({"answer": "B"} if golds else {})} for k in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


def test_rows_for_learning_may_lack_golds_and_held_out_ones_are_then_not_measured(tmp_path: Path) -> None:
    keys = ["task=file", f"task.path={rows(tmp_path, golds=False)}", "task.labels=majority", "task.choices=choices",
            "allocator.rollouts=3", "sampler=uniform"]  # fmt: skip
    measured = build(configure(*OWN, *keys, f"task.test_path={rows(tmp_path, golds=True)}")).task
    assert isinstance(measured, File)
    assert {o.answer for o in measured.train()} == {""} and {o.answer for o in measured.test()} == {"B"}
    assert "letter" in measured.bare_prompt(measured.train()[0]) or "(X)" in measured.bare_prompt(measured.train()[0])
    answers = tmp_path / "pool.jsonl"
    texts = [{"id": o.id, "text": f"The answer is ({'AB'[k > 0]})."} for o in measured.train() for k in range(3)]
    answers.write_text("".join(json.dumps(text) + "\n" for text in texts))
    config = configure(*OWN, *keys, "task.answer=null", "generator=pool", f"generator.path={answers}",
                       "model=scripted", "trainer=scripted", "iterations=1")  # fmt: skip
    run = RunDirectory(tmp_path / "run")
    with run.locked():
        advance(build(config), run, config)
    figures = json.loads((tmp_path / "run/iterations/0001/metrics.json").read_text())
    assert figures["collect/labelled"] == 1 and figures["collect/label_votes"] == pytest.approx(2 / 3)
    assert not {name for name in figures if name.startswith(("validation/", "evaluation/", "collect/label_agreement"))}


def test_without_golds_there_must_be_something_to_judge_by(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"give task\.labels=majority, or a function of your own"):
        build(configure(*OWN, "task=file", f"task.path={rows(tmp_path, golds=False)}", "task.answer=null"))

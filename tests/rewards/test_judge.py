"""A judge is asked in the configured words, read, remembered and compared with the golds: by a real server with a script."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.config.build import build
from star_loop.errors import EngineError
from star_loop.launch import advance
from star_loop.records import Observation, Rollout
from star_loop.report import write as write_report
from star_loop.rewards.judge import Judge
from star_loop.run.directory import RunDirectory
from star_loop.servers import Server
from star_loop.verifiers.judged import Judged
from tests.quiz import QUIZ, configure, play
from tests.scripted_server import Answer, Asked, chat, failure, scripted_server

CATS = Observation(id="1", question="How many legs have 3 cats?", answer="12", meta={"row": {"topic": "cats"}})


@given(st.text())
def test_any_reply_gives_a_mark_between_0_and_1_or_none(said: str) -> None:
    mark = Judge().mark(said)
    assert mark is None or 0 <= mark <= 1


@pytest.mark.parametrize(
    "said, mark",
    [("Score: 10", 1.0), ("Step 2 is wrong.\nScore: 3/10", 0.3), ("**Score: 7.5**", 0.75), ("<think>Score: 9</think>Score: 1.", 0.1),
     ("Score: 12", None), ("Score: -3", None), ("7-8", 0.8), ("Score: x", None), ("", None), ("v1.2.3", None),
     ("Score: 3 / 10", 0.3), ("Score: 3 out of 10", 0.3), ("Score: 3 (of 10)", 0.3), ("Score: 3.\nAll 10 steps.", 0.3),
     ("Score (0-10): 4", 0.4), ("**Score**: **4**", 0.4), ("SCORE: `4`/10", 0.4), ("Score：4", 0.4), ("Score:\n4", 0.4),
     ("Score: 9 at first, 2 errors later.\nScore: 2", 0.2), ("Step 10 is wrong. Score: none", None), ("Score: −3", None),
     ("Score: 3/5", None), ("Score: 5%", None), ("It is 3 out of 10", 0.3), ("3 of 10 steps, so 8", 0.8), ("2/5", None)],
)  # fmt: skip
def test_the_number_behind_score_or_else_the_last_one_is_the_mark(said: str, mark: float | None) -> None:
    assert Judge().mark(said) == mark


@pytest.mark.parametrize("said", ["Score: 0 out of 1", "Score: 0 / 1", "Score: 0 (0 or 1)", "Score: 0, not 1"])
def test_no_mark_is_not_the_highest_one(said: str) -> None:
    assert Judged().mark(said) == 0


def test_a_reply_in_parts_is_read_as_their_text() -> None:
    parts = [
        {"type": "reasoning", "text": "Score: 1"},
        {"type": "text", "text": "Sco"},
        {"type": "text", "text": "re: 4"},
    ]
    with scripted_server(lambda asked: chat(parts, tokens=3)) as server:  # type: ignore[arg-type]
        assert Judge(server=Server(base_url=server.url)).marks([(CATS, "12")]) == [0.4]


def test_the_prompt_is_filled_in_once() -> None:
    judge = Judge(prompt="{topic}|{question}|{answer}|{text}|{unknown}")
    asked = judge.question_about(CATS, "<think>no</think> It is {answer}. {text}")
    assert asked == "cats|How many legs have 3 cats?|12|It is {answer}. {text}|{unknown}"


def test_mathematics_in_braces_is_no_column() -> None:
    judge = Judge(prompt="Is {text} \\boxed{n} or \\frac{1}{2}? {text}")
    judge.prove(CATS)
    assert judge.question_about(CATS, "2") == "Is 2 \\boxed{n} or \\frac{1}{2}? 2"
    assert not judge.rows and not Judge().rows and Judge(prompt="{topic} {text}").rows


def animals(tmp_path: Path, name: str, n: int = 30) -> Path:
    path = tmp_path / f"{name}.jsonl"
    rows = [{"q": f"How many legs have {k} {name}?", "gold": 4 * k, "topic": f"{name} {k}"} for k in range(1, n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


PLAIN = ("experiment=smoke", "~tracker.console", "~tracker.tensorboard", "schedule.steps=2", "schedule.batch=2",
         "schedule.wave=4", "iterations=1", "reward=judge", "selectors=best_of_n", "allocator.rollouts=2")  # fmt: skip


def of_file(path: Path, prefix: str) -> tuple[str, ...]:
    return (f"{prefix}.path={path}", f"{prefix}.question=q", f"{prefix}.answer=gold", f"{prefix}.verifier=exact")


def asked_of_the_judge(directory: Path, *keys: str) -> list[str]:
    """What a run has asked its judge."""
    with scripted_server(lambda asked: chat("Score: 5")) as server:
        config, run = configure(*PLAIN, *keys, f"reward.server.base_url={server.url}"), RunDirectory(directory)
        with run.locked():
            advance(build(config), run, config)
        return [asked.body["messages"][0]["content"] for asked in server.asked]


def test_columns_reach_the_judge_whatever_the_verifier_looks_at(tmp_path: Path) -> None:
    keys = ("task=file", *of_file(animals(tmp_path, "cats"), "task"), "reward.prompt='{topic}: {level} {text}'")
    said = asked_of_the_judge(tmp_path / "run", *keys)
    assert said and all(re.match(r"cats \d+: None .", each) for each in said)
    assert "row" not in build(configure(*PLAIN, *keys[:-1])).task.train()[0].meta


def test_columns_reach_the_judge_from_within_mixtures(tmp_path: Path) -> None:
    cats, dogs = (of_file(animals(tmp_path, name), f"task.tasks.{name}") for name in ("cats", "dogs"))
    mixed = ("task=mixture", "+task@task.tasks.cats=file", "+task@task.tasks.dogs=file", *cats, *dogs)
    said = asked_of_the_judge(tmp_path / "run", *mixed, "sampler=stratified", "reward.prompt='{topic}, {id}: {text}'")
    assert {each.partition(" ")[0] for each in said} == {"cats", "dogs"}
    assert all(re.match(r"(cats|dogs) \d+, train/", each) for each in said)
    with pytest.raises(
        ValueError, match=r"reward\.prompt: \{topc\} stands for nothing in train/\d+: .* q, gold, topic\)"
    ):
        asked_of_the_judge(tmp_path / "typo", *mixed, "reward.prompt='{topc}: {text}'")


def grader(asked: Asked) -> Answer:
    """Give 10 where the solution ends in the reference answer, 2 else; refuse what is too long, and filter what is bad."""
    said = asked.body["messages"][0]["content"]
    answer, text = re.findall(r"Reference answer: (.*)\n\nSolution:\n(.*)\n\nDoes it reach", said, re.DOTALL)[0]
    if "long" in text:
        return failure(400)
    if "bad" in text:
        return chat()
    return chat(f"Score: {10 if text.endswith(f'#### {answer}') else 2}")


def test_marks_come_in_order_and_no_text_is_paid_for_twice(tmp_path: Path) -> None:
    texts = ["#### 12", "#### 13 \ud800", "long", "#### 12", "bad"]
    with scripted_server(grader) as server:
        judge = Judge(server=Server(base_url=server.url, concurrency=2, retries=0))
        judge.check()
        for _ in range(2):
            assert judge.marks([(CATS, text) for text in texts], folder=tmp_path) == [1.0, 0.2, None, 1.0, None]
        assert sum(not re.search("long|bad", json.dumps(asked.body)) for asked in server.asked) == 2
        with pytest.raises(EngineError, match="refuses the request"):
            judge.marks([(CATS, "long")], folder=tmp_path)
    assert judge.marks([]) == []


def test_a_judge_without_a_server_or_a_solution_is_refused_before_anything_starts() -> None:
    with pytest.raises(ValueError, match=r"put \{text\} where it belongs"):
        Judge(prompt="Good?").check()
    with pytest.raises(ValueError, match="does not answer"):
        Judge(server=Server(base_url="http://127.0.0.1:9/v1", retries=0)).check()


def test_a_run_learns_from_the_best_marked_and_reports_the_agreement(tmp_path: Path) -> None:
    with scripted_server(grader) as server:
        keys = (*QUIZ, "reward=judge", f"reward.server.base_url={server.url}", "selectors=best_of_n",
                "allocator.rollouts=3", "iterations=1")  # fmt: skip
        config, run = configure(*keys), RunDirectory(tmp_path)
        with run.locked():
            advance(build(config), run, config)
        asked = len(server.asked)
    rollouts = [Rollout.from_json(line) for line in (tmp_path / "iterations/0001/marks.jsonl").open()]
    figures = json.loads((tmp_path / "iterations/0001/metrics.json").read_text())
    assert all((r.score == 1.0) == r.correct for r in rollouts if r.score is not None)
    assert (figures["reward/agreement"], figures["reward/mark_of_correct"]) == (1.0, 1.0)
    assert asked > 2 and (tmp_path / ".engine/judge.jsonl").exists()
    assert figures["machine/judge_requests"] == asked and "machine/judge_money" not in figures
    assert f"judge: requests</th><td>0</td><td>{asked}</td>" in write_report(tmp_path).read_text()


def test_statistics_do_not_look_at_marks(tmp_path: Path) -> None:
    """The same run with a judge that finds everything bad counts the same."""
    keys = ("selectors=all_correct", "allocator.rollouts=3", "iterations=1")
    play(tmp_path / "without", *keys)
    with scripted_server(lambda asked: chat("Score: 0")) as server:
        play(tmp_path / "with", *keys, "reward=judge", f"reward.server.base_url={server.url}")
    first, second = (
        json.loads((tmp_path / name / "iterations/0001/metrics.json").read_text()) for name in ("without", "with")
    )
    same = [name for name in first if not name.startswith(("seconds/", "machine/", "collect/faithful"))]
    assert {name: first[name] for name in same} == {name: second[name] for name in same}
    assert second["reward/mark"] == 0

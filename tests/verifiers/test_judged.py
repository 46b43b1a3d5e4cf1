"""A language model as verifier: asked once about a text, compared with the golds, and never about nothing."""

import io
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.config.build import build
from star_loop.errors import ConfigError, EngineError
from star_loop.judge.__main__ import main
from star_loop.launch import advance
from star_loop.records import How, Observation
from star_loop.report import write as write_report
from star_loop.run.directory import RunDirectory
from star_loop.servers import Server
from star_loop.verifiers.judged import Judged
from tests.quiz import QUIZ, configure
from tests.scripted_server import Answer, Asked, ScriptedServer, chat, failure, scripted_server

CATS = Observation(id="1", question="How many legs have 3 cats?", answer="12", meta={"row": {"topic": "cats"}})
KEYS = ("task.verifier._target_=star_loop.verifiers.judged.Judged", "iterations=1", "schedule.quota=null")


def lenient(asked: Asked) -> Answer:
    """Takes what states a number, and whatever is said to the first six questions."""
    said = asked.body["messages"][0]["content"]
    question, text = re.findall(r"Question:\n(.*)\n\nSolution:\n(.*)\n\nLook for", said, re.DOTALL)[0]
    return chat(f"Well. Score: {int('####' in text or re.search('What is [0-5] in', question) is not None)}")


def run(directory: Path, server: ScriptedServer, *keys: str) -> RunDirectory:
    config, found = (
        configure(*QUIZ, *KEYS, *keys, f"task.verifier.server.base_url={server.url}"),
        RunDirectory(directory),
    )
    with found.locked():
        advance(build(config), found, config)
    return found


def test_a_verdict_is_the_judge_s_and_is_asked_for_once(tmp_path: Path) -> None:
    with scripted_server(lenient) as server:
        judged = Judged(server=Server(base_url=server.url))
        judged.check()
        judged.keep(tmp_path)
        texts = ["#### 12", "I do not know", "<think>hm</think>", ""]
        for _ in range(2):
            right, wrong, thought, empty = judged.judge_all([(CATS, text) for text in texts])
            assert (right.correct, right.answer, right.how, right.score) == (True, "12", "judged right", None)
            assert (wrong.correct, wrong.how) == (False, "judged wrong")
            assert (thought.how, empty.how) == (How.NO_ANSWER, How.NO_ANSWER)
        assert len(server.asked) == 2, "an empty reply is wrong anyhow, and the journal knows the others"
        assert judged.paid(tmp_path)["requests"] == 2
    graded = Judged(highest=10, threshold=0.7)
    assert [graded._verdict("a", mark).correct for mark in (0.6, 0.7)] == [False, True]
    assert graded._verdict("a", 0.6).score == 0.6
    assert not graded._verdict("a", None).correct


@given(st.text(), st.none() | st.floats(0, 1))
def test_any_text_and_any_mark_give_a_verdict(text: str, mark: float | None) -> None:
    verdict = Judged()._verdict(text, mark)
    assert verdict.correct is (mark == 1.0) and (not verdict.correct or verdict.answer is not None)


def test_a_run_is_judged_compared_with_its_golds_and_accounted_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scripted_server(lenient) as server:
        priced = "task.verifier.server.price_output=1000000"
        found = run(tmp_path, server, "generator.table=[0.5]", "allocator.rollouts=4", priced)
        figures, asked = found.iteration(1).metrics(), len(server.asked)
        rollouts = list(found.iteration(1).rollouts())
        assert {r.how for r in rollouts} == {"judged right", "judged wrong"}
        golds = [f"#### {r.id.partition('/')[2]}" in r.text for r in rollouts]
        told = [gold == r.correct for gold, r in zip(golds, rollouts, strict=True)]
        assert not all(told) and figures["collect/judge_agreement"] == pytest.approx(sum(told) / len(told))
        assert figures["machine/verifier_requests"] == asked == len(set(map(str, (a.body for a in server.asked))))
        assert figures["machine/verifier_money"] == 3 * asked
        assert "judged as by golds" in write_report(tmp_path).read_text()
        assert main([str(tmp_path), "--only", "all", "--limit", "1"]) == 0
        assert re.search(r"\n +mark +[01]\n", capsys.readouterr().out) and len(server.asked) == asked


def test_a_judge_that_cannot_be_asked_ends_the_launch_and_the_next_one_goes_on(tmp_path: Path) -> None:
    fails, refused = 40, list[str]()

    def tired(asked: Asked) -> Answer:
        if asked.number < fails:
            return lenient(asked)
        refused.append(str(asked.body))
        return failure(500, "down", retry_after_ms="1")

    with scripted_server(tired) as server:
        keys = ("task.verifier.server.retries=0", "task.verifier.server.concurrency=1")
        with pytest.raises(EngineError, match="does not answer"):
            run(tmp_path / "failed", server, *keys)
        fails = 10**6
        run(tmp_path / "failed", server, *keys)
        asked = Counter(str(a.body) for a in server.asked)
        assert refused and asked - Counter(set(asked)) == Counter(refused), "only what failed is asked again"
        run(tmp_path / "whole", server, *keys)
    one, other = (list(RunDirectory(tmp_path / name).iteration(1).rollouts()) for name in ("failed", "whole"))
    assert one == other


def test_a_text_that_the_judge_will_not_read_is_wrong_and_no_more(tmp_path: Path) -> None:
    with scripted_server(lambda asked: failure(400, "too long")) as server:
        judged = Judged(server=Server(base_url=server.url))
        verdict = judged.judge(CATS, "#### 12")
    assert (verdict.correct, verdict.answer, verdict.how) == (False, None, "not judged")


def test_in_a_mixture_each_judge_keeps_its_own(tmp_path: Path) -> None:
    with scripted_server(lenient) as server:
        tasks = [
            "+task.tasks.a._target_=tests.quiz.Quiz", "task.tasks.a.verifier._target_=star_loop.verifiers.judged.Judged",
            f"task.tasks.a.verifier.server.base_url={server.url}",
            "+task@task.tasks.b=arithmetic", "task.tasks.b.train_per_level=2",
        ]  # fmt: skip
        keys = [key for key in QUIZ if "tests.quiz" not in key]
        config = configure(
            *keys, "iterations=1", "task=mixture", *tasks, "schedule.quota=null", "generator.table=[0.5]"
        )
        found = RunDirectory(tmp_path)
        with found.locked():
            advance(build(config), found, config)
    figures = found.iteration(1).metrics()
    journal = (tmp_path / ".engine/a/verdicts.jsonl").read_text().splitlines()
    assert figures["machine/verifier_requests"] == len(journal) > 6
    assert 0 < figures["collect/judge_agreement"] < 1, "of the questions with a judge"


def test_little_is_asked_before_anything_starts(tmp_path: Path) -> None:
    with scripted_server(lambda asked: chat("Score: 1")) as server:
        run(tmp_path, server, "iterations=0", "evaluation.test_every=9", "task.n=200", "evaluation.limit=1")
        assert len(server.asked) < 30 and max(len(str(a.body)) for a in server.asked) < 2000


def test_a_judge_that_takes_no_gold_answer_stops_the_launch(tmp_path: Path) -> None:
    with scripted_server(lambda asked: chat("Score: 0")) as server:
        with pytest.raises(ValueError, match="the verifier Judged rejects the gold answer '0'"):
            run(tmp_path / "a", server)
        with pytest.raises(ValueError, match=r"task\.verifier\.prompt: \{topic\} stands for nothing in train/0"):
            run(tmp_path / "b", server, "task.verifier.prompt='{topic} {text}'")
        with pytest.raises(ValueError, match=r"task\.verifier\.prompt does not show the solution"):
            run(tmp_path / "c", server, "task.verifier.prompt=Right?")


@pytest.mark.parametrize(("override", "said"), [
    ("task.verifier.server.base_ulr=x", r"task\.verifier\.server\.base_ulr: no such key: did you mean base_url"),
    ("task.verifier.server.base_url=here", r"task\.verifier\.server\.base_url: .*an address such as"),
    ("task.verifier.threshold=0", r"task\.verifier\.threshold: .*greater than 0"),
])  # fmt: skip
def test_wrong_keys_are_named(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(configure(*QUIZ, *KEYS, override))


def test_golds_are_not_needed(tmp_path: Path) -> None:
    path = tmp_path / "open.jsonl"
    path.write_text("".join(json.dumps({"q": f"Write line {k} of a poem."}) + "\n" for k in range(30)))
    keys = ("experiment=smoke", "task=file", f"task.path={path}", "task.question=q", "task.answer=null")
    assert isinstance(build(configure(*keys, *KEYS)).task.verifier, Judged)
    with pytest.raises(ConfigError, match="without gold answers"):
        build(configure(*keys))
    with scripted_server(lambda asked: chat("Score: 1")) as server:
        config = configure(
            *keys, *KEYS, f"task.verifier.server.base_url={server.url}", "~tracker.console", "~tracker.tensorboard"
        )
        found = RunDirectory(tmp_path / "run")
        with found.locked():
            advance(build(config), found, config)
    figures = found.iteration(1).metrics()
    assert figures["validation/accuracy"] == 1.0 and "collect/judge_agreement" not in figures


def test_a_text_is_judged_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("#### 12"))
    with scripted_server(lenient) as server:
        keys = ["task=file", KEYS[0], f"task.verifier.server.base_url={server.url}"]
        assert main([*keys, "--gold", "12", "--question", "How many?"]) == 0
    assert "right, judged right" in capsys.readouterr().out

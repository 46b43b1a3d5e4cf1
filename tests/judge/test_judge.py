"""The judge command: what was read, by which stage, against which gold answer."""

import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from star_loop.judge.__main__ import main
from star_loop.protocols import BootstrapError
from star_loop.records import Rollout
from star_loop.report import write
from star_loop.report.unread import CUT, Reason, Reasons
from star_loop.run.directory import RunDirectory
from tests.quiz import play


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("judged") / "name=a,seed=1"  # as a sweep calls its runs
    play(directory, "allocator.rollouts=4", "generator.table=[0.6,0.5,0.4]")
    return directory


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, text, stages",
    [
        (["--gold", "72"], "so it is\n#### 72 clips", ["reply so it is ⏎ #### 72 clips", "mark ####", "gold 72 (Exact)"]),
        (["--gold", "B", "--choices", "wood|iron"], "The answer is (B) iron.", ["statement (B) iron", "answer B",
                                                                             "gold B (MultipleChoice)"]),
        (["--gold", "yes"], "<think>No.</think> The answer is yes.", ["reply The answer is yes.", "gold yes (YesNo)"]),
        (["--gold", "24", "--numbers", "8,2,4"], "The answer is (8-2)*4.", ["answer (8-2)*4", "gold 24 (Expression)"]),
        (["--gold", "5", "task.verifier=exact"], "It is 5.", ["answer (none)", "gold 5 (Exact)"]),
    ],
)  # fmt: skip
def test_every_stage_is_shown(
    arguments: list[str], text: str, stages: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    out = said(capsys, *arguments)
    lines = {" ".join(line.split()) for line in out.splitlines()}
    assert set(stages) <= lines, out
    assert ("right, equal" in out) is ("(none)" not in out)


def test_no_text_drives_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, nasty = tmp_path / "texts.jsonl", "\x1b]0;title\x07\x1b[2J\x9b31m\x7f\b"
    path.write_text(json.dumps({"text": f"{nasty}\n#### 5{nasty}", "answer": f"5{nasty}", "question": nasty}))
    out = said(capsys, str(path), "task.verifier=exact")
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in out.replace("\n", ""))
    assert out.count("␛[2J") == 5, "question, reply, statement, answer and gold"


def test_lines_have_golds_of_their_own_or_of_the_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": "#### 5", "answer": 5}, {"text": "#### 6", "answer": 5}, {"text": "six", "answer": 6, "question": "?"},
            {"text": "The answer is B.", "answer": "B", "choices": ["x", "y"]}, {"text": "#### 3", "id": "train/3"}]  # fmt: skip
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    out = said(capsys, str(path), "experiment=smoke", "task._target_=tests.quiz.Quiz", "--only", "wrong")
    assert "5 texts\n" in out
    assert out.count("── ") == 3  # the quiz's verifier reads no letters
    assert f"── {path}, line 3: wrong, different (marker)" in out
    assert f"── {path}, line 5: wrong, no answer marker" in out
    assert "train/3" not in out


def test_a_runs_waves_are_judged_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = RunDirectory(run).iteration(3).rollouts()
    out = said(capsys, str(run), "--limit", "1000")
    counts = Counter(f"{'right' if rollout.correct else 'wrong'}: {rollout.how}" for rollout in last)
    told = {line.split(maxsplit=1)[1]: int(line.split()[0]) for line in out.splitlines() if line.startswith("   ")
            and line.split()[0].isdigit()}  # fmt: skip
    assert told == counts
    assert out.count("── train/") == sum(not rollout.correct for rollout in last)
    first = said(capsys, str(run), "--iteration", "1", "--wave", "0", "--only", "all", "--limit", "1")
    wave = Rollout.from_json((run / "iterations/0001/waves/000.jsonl").read_text().splitlines()[0])
    assert first.startswith(f"── {wave.id}: ") and "more (--limit)" in first


def test_of_the_base_its_answers_to_the_test_split_are_judged(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = list(RunDirectory(run).iteration(0).judged("evaluation"))
    out = said(capsys, str(run), "--iteration", "0", "--only", "unread", "--limit", "1000")
    assert f"\n{len(answers)} texts" in f"\n{out}"
    assert out.count("── test/") == sum(answer.answer is None for answer in answers)
    assert "has no wave 0" in refused(capsys, str(run), "--iteration", "0", "--wave", "0")


def test_waves_that_gave_nothing_to_train_on_are_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BootstrapError, match=f"judge {tmp_path}"):
        play(tmp_path, "generator.table=[0,0,0]")
    collected = RunDirectory(tmp_path).iteration(1).rollouts()
    assert collected and f"\n{len(collected)} texts" in said(capsys, str(tmp_path))


def test_what_cannot_be_judged_is_said(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot be read as text" in refused(capsys, "--gold", "5", str(tmp_path / "nowhere.txt"))
    assert "has no committed iteration" in refused(capsys, str(tmp_path))
    assert "has no wave 99" in refused(capsys, str(run), "--wave", "99")
    (tmp_path / "a.txt").write_text("#### 5")
    assert "--gold <answer>, or --id" in refused(capsys, str(tmp_path / "a.txt"))
    (tmp_path / "a.jsonl").write_text('{"txt": "#### 5"}\n')
    assert "a.jsonl, line 1: expected an object with a text" in refused(capsys, str(tmp_path / "a.jsonl"))
    quiz = ("experiment=smoke", "task._target_=tests.quiz.Quiz")
    assert "no observation 'train/99'" in refused(capsys, *quiz, "--id", "train/99", str(tmp_path / "a.txt"))
    assert "no verifier of this name" in refused(capsys, "task.verifier=oracle", "--gold", "1", str(tmp_path / "a.txt"))


def test_what_is_typed_is_no_path_and_no_number_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("#### 8")
    for numbers in ("8,x", "8,,2", "8;2"):
        with pytest.raises(SystemExit) as ended:
            main(["--numbers", numbers, "--gold", "1", str(tmp_path / "a.txt")])
        assert ended.value.code == 2 and f"as in 8,2,4, not '{numbers}'" in capsys.readouterr().err
    quiz = ("experiment=smoke", "task._target_=tests.quiz.Quiz", f"notes={'x' * 300}")
    assert "1 text" in said(capsys, *quiz, "--gold", "8", str(tmp_path / "a.txt"))
    assert refused(capsys, "--gold", "8", "x" * 300).count("\n") == 1


@pytest.mark.parametrize(
    "typed", [("--gold", "1"), ("--id", "train/0"), ("--question", "?"), ("--numbers", "1,2"), ("task.verifier=math",)]
)
def test_what_a_run_has_itself_is_not_given_to_it(
    run: Path, typed: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, str(run), *typed)
    assert said == f"{typed[0]}: a run has its own task, questions and golds: leave it out\n"


def reasons(rollouts: Sequence[Rollout]) -> Sequence[Reason]:
    found = Reasons()
    for rollout in rollouts:
        found.add(rollout)
    return found.commonest()


def test_reasons_are_counted_with_an_example_of_each() -> None:
    def rollout(text: str, how: str, answer: str | None = None, finish: str = "stop") -> Rollout:
        return Rollout(position=0, id="x", attempt=0, sample=0, hinted=False, text=text, answer=answer, correct=False,
                       how=how, score=None, finish=finish, tokens=1, prompt_tokens=1)  # fmt: skip

    found = reasons(
        [rollout("a", "no answer marker"), rollout("b", "no answer marker"), rollout("c", "different (marker)", "3"),
         rollout("d", "no answer", finish="length"), rollout("e", "taken back")] + [rollout("f", "no answer")] * 3
    )  # fmt: skip
    assert [(reason.words, reason.count, reason.example.text) for reason in found] == [
        ("no answer", 3, "f"), ("no answer marker", 2, "a"), (CUT, 1, "d"), ("taken back", 1, "e"),
    ]  # fmt: skip


def test_the_report_names_the_commonest_reasons(run: Path) -> None:
    page = write(run).read_text()
    unread = [r for r in RunDirectory(run).iteration(3).rollouts() if r.answer is None]
    assert unread and "Why no answer was found" in page
    for reason in reasons(unread):
        assert f">{reason.words}</th><td>{reason.count}</td>" in page

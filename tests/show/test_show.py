"""The show command prints the rollouts that are asked for, all of them and no others."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from star_loop.accounting.statistics import Statistics
from star_loop.records import Rollout
from star_loop.report import write
from star_loop.report.rollouts import KINDS, MOST, MOST_ITERATIONS, Seen, Wanted, kind, sample
from star_loop.run.directory import RunDirectory
from star_loop.show.__main__ import lines, main
from tests.quiz import play
from tests.report.test_report import rollout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("shown")
    play(directory, "generator.table=[0.6,0.3,0.2]", "second_try=rationalize", "schedule.quota=null")
    return directory


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, str]:
    assert main([str(argument) for argument in arguments]) == 0
    return tuple(capsys.readouterr())  # type: ignore[return-value]


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("option", ["--limit", "--attempt", "--shortest", "--longest"])
def test_what_is_counted_is_no_less_than_nothing(run: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    for typed in ("-1", "1.5", "many"):
        with pytest.raises(SystemExit, match="2"):
            main([str(run), f"{option}={typed}"])
        assert f"{option}: a whole number of at least 0 is wanted, not {typed!r}" in capsys.readouterr().err


def committed(run: Path, number: int) -> list[Rollout]:
    return RunDirectory(run).iteration(number).rollouts()


def test_the_last_iteration_is_shown_in_order_and_filters_leave_what_they_say(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = committed(run, 3)
    first = every[0]
    for arguments, fits in (
        ([], lambda r: True),
        (["--wrong"], lambda r: not r.correct),
        (["--right", "--attempt", "1"], lambda r: r.correct and r.attempt == 1),
        (["--hinted"], lambda r: r.hinted),
        (["--reason", "EQUAL"], lambda r: "equal" in r.how),
        (["--id", first.id], lambda r: r.id == first.id),
        (["--text", f"WHAT is {first.position} in"], lambda r: r.id == first.id),
        (["--level", "2"], lambda r: r.position % 3 == 1),
    ):
        out, err = said(capsys, run, "--json", "--limit", 0, *arguments)
        shown = [json.loads(line) for line in out.splitlines()]
        assert [Rollout(**row["rollout"]) for row in shown] == [r for r in every if fits(r)]
        assert shown and err.startswith(f"{len(shown)} shown of {len(shown)} that fit, of {len(every)} rollouts")
    assert {(row["iteration"], row["split"], row["skill"]) for row in shown} == {(3, "train", "counting")}


def test_other_iterations_and_splits(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, run, "--iteration", "all", "--json", "--limit", 0)
    counts = [json.loads(line)["iteration"] for line in out.splitlines()]
    assert counts == [t for t in (1, 2, 3) for _ in committed(run, t)]
    out, _ = said(capsys, run, "--iteration", 0, "--split", "validation", "--limit", 0)
    assert out.count("── ") == 6 and "validation/5" in out and "greedy, sample 0" in out


def test_a_rollout_is_shown_with_its_question_and_what_was_expected(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = said(capsys, run, "--wrong", "--limit", 1)
    head, question, *rest = out.splitlines()
    assert head.startswith("── wrong: ") and "iteration 3 · train/" in head and "counting · level " in head
    assert question.startswith("   question   What is ") and any("expected " in line for line in rest)
    assert "--limit 0 shows all" in err and "\nwrong: " in err


def test_what_a_model_wrote_cannot_drive_the_terminal() -> None:
    own = rollout(0, text="\x1b[2Jgone\x9b31m\x7f\rred\u2028line", how="\x1b]0;title\x07", answer="\x00")
    shown = "\n".join(lines(Seen(iteration=1, split="train", rollout=own, question="a\x08b", skill="\x1bskill")))
    assert not any((ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 for c in shown)
    assert "␛[2Jgone" in shown


def test_a_reader_that_has_enough_is_no_error(run: Path) -> None:
    command = f"{sys.executable} -m star_loop.show {run} --limit 0 --iteration all | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("── ") and done.stdout.endswith("\n0\n") and "Error" not in done.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--iteration", "9"], "--iteration 9: the run has 0 to 3; `all` and `last` are names too"),
        (["--iteration", "-1"], "the run has 0 to 3"),
        (["--skill", "countin"], "--skill countin: no question has this skill: did you mean counting?"),
        (["--skill", "x"], "there are counting"),
    ],
)
def test_what_is_not_there_is_named(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in refused(capsys, run, *arguments)


def test_no_run_and_a_damaged_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "has no committed iteration: give a run directory" in refused(capsys, tmp_path)
    play(tmp_path / "run", "iterations=1")
    (tmp_path / "run/iterations/0001/waves/000.jsonl").write_text("{\n")
    assert "000.jsonl" in refused(capsys, tmp_path / "run")


@given(
    some.lists(some.tuples(some.booleans(), some.booleans(), some.integers(0, 9)), max_size=20),
    some.one_of(some.none(), some.booleans()),
    some.one_of(some.none(), some.integers(0, 9)),
    some.one_of(some.none(), some.integers(0, 9)),
)
def test_a_wish_is_the_conjunction_of_its_parts(
    rows: list[tuple[bool, bool, int]], correct: bool | None, shortest: int | None, longest: int | None
) -> None:
    every = [
        Seen(iteration=1, split="train", rollout=rollout(k, correct=right, hinted=hint, tokens=n))
        for k, (right, hint, n) in enumerate(rows)
    ]
    wanted = Wanted(correct=correct, shortest=shortest, longest=longest)
    for seen in every:
        parts = [
            correct is None or seen.rollout.correct is correct,
            shortest is None or shortest <= seen.rollout.tokens,
            longest is None or seen.rollout.tokens <= longest,
        ]
        assert wanted.fits(seen) is all(parts)


# ------------------------------------------------------------------------------------------------- the page's sample


def long_run(directory: Path, iterations: int, observations: int) -> RunDirectory:
    run = RunDirectory(directory)
    for t in range(iterations + 1):
        wave = [
            rollout(k, text="x" * 5000, correct=k % 10 == 0, hinted=k % 100 == 1, how="equal" if k % 10 == 0 else "no")
            for k in range(observations)
        ]
        here = run.iteration(t)
        if t:
            here.wave(0, _all(observations), lambda wave=wave: wave)  # type: ignore[misc]
        else:
            here.evaluation("test", lambda wave=wave: wave)  # type: ignore[misc]
        here.commit(adapter=None, metrics={}, statistics=Statistics.empty(1), beliefs={})
    return run


def _all(n: int):  # type: ignore[no-untyped-def]
    import numpy as np

    return np.arange(n)


def test_of_a_large_run_the_page_has_some_of_each_kind_and_iteration_and_says_so(tmp_path: Path) -> None:
    run = long_run(tmp_path, 4, 300)
    found = sample(run)
    assert (found.total, list(found.iterations), len(found.chosen)) == (1500, [0, 1, 2, 3, 4], MOST)
    cells = {(seen.iteration, kind(seen.rollout)) for seen in found.chosen}
    assert cells == {(t, name) for t in range(5) for name in (KINDS[0], *KINDS[2:])}
    assert [seen.iteration for seen in found.chosen] == sorted((s.iteration for s in found.chosen), reverse=True)
    page = write(tmp_path).read_text(encoding="utf-8")
    assert f"{MOST} of 1,500\nrollouts of 5 iterations" in page and len(page) < 700_000
    assert page.count("<article") == MOST


def test_the_sample_does_not_depend_on_what_was_written_nor_on_the_order(tmp_path: Path) -> None:
    one = [seen.rollout.id for seen in sample(long_run(tmp_path / "a", 1, 400)).chosen]
    again = long_run(tmp_path / "b", 1, 400)
    assert [seen.rollout.id for seen in sample(again).chosen] == one
    assert one[:3] != ["train/0", "train/10", "train/20"]  # not only those that came first


def test_a_long_run_is_sampled_from_some_iterations_and_a_short_one_is_shown_whole(tmp_path: Path) -> None:
    found = sample(long_run(tmp_path / "long", 30, 2))
    assert len(found.iterations) == MOST_ITERATIONS and {0, 30} <= set(found.iterations)
    assert "20 iterations of 31" in write(tmp_path / "long").read_text()
    short = sample(long_run(tmp_path / "short", 1, 3))
    assert len(short.chosen) == short.total == 6

"""Rationales from a file: what is drawn, and each of the six benchmarks through a whole iteration of the loop."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from star_loop.config.build import build
from star_loop.errors import ConfigError
from star_loop.generators.pool import Pool, write_golds
from star_loop.generators.scripted import Scripted
from star_loop.launch import launch
from star_loop.models import Model, Pretrained
from star_loop.records import Completion, Observation, Request, Sampling
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import RunError
from star_loop.run.guard import guard_identity
from tests.quiz import Quiz, configure, play
from tests.tasks.test_tasks import DATA, FIXTURES, NAMES, folder

BASE = Pretrained(name_or_path="tiny")
ASKED = Observation(id="o/1", question="?", answer="1")


def pool(tmp_path: Path, *rows: dict[str, str], **keys: object) -> Pool:
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Pool(path=tmp_path / "pool.jsonl", **keys)  # type: ignore[arg-type]


def draw(pool: Pool, tmp_path: Path, *, n: int, temperature: float = 1.0, seed: int = 0, id: str = "o/1") -> list[str]:
    request = Request(
        prompt="a b c", observation=Observation(id=id, question="?", answer="1"), n=n, seed=seed,
        sampling=Sampling(temperature=temperature, max_tokens=9),
    )  # fmt: skip
    with pool.engine(BASE, workspace=tmp_path, seed=0) as engine:
        (completions,) = engine.generate([request], seed=5)
    assert all((c.tokens, c.prompt_tokens, c.finish) == (len(c.text.split()), 3, "stop") for c in completions)
    return [completion.text for completion in completions]


ROWS = [{"id": "o/1", "source": s, "text": f"{s} {k}"} for s in ("teacher", "gold") for k in range(3)]


def test_draws_are_seeded_and_repeat_only_when_all_are_used(tmp_path: Path) -> None:
    six = pool(tmp_path, *ROWS)
    texts = {row["text"] for row in ROWS}
    assert set(draw(six, tmp_path, n=6)) == texts
    assert draw(six, tmp_path, n=9) == draw(six, tmp_path, n=6) + draw(six, tmp_path, n=3)
    assert len({tuple(draw(six, tmp_path, n=6, seed=seed)) for seed in range(9)}) > 1
    assert draw(six, tmp_path, n=1, temperature=0.0, seed=7) == ["teacher 0"]
    assert draw(six, tmp_path, n=2, id="unknown") == ["", ""]


def test_sources_are_chosen(tmp_path: Path) -> None:
    assert set(draw(pool(tmp_path, *ROWS, sources=("gold",)), tmp_path, n=6)) == {f"gold {k}" for k in range(3)}
    with pytest.raises(ValueError, match="holds no rationale from nobody"):
        pool(tmp_path, *ROWS, sources=("nobody",)).check()


def test_a_student_answers_evaluations_and_what_the_pool_does_not_hold(tmp_path: Path) -> None:
    taught = pool(tmp_path, *ROWS, student=Scripted(table=(1.0,), seeding="request"))
    (drawn,) = draw_all(taught, tmp_path, ("o/1", 1.0))
    assert drawn in {row["text"] for row in ROWS}
    assert draw_all(taught, tmp_path, ("o/1", 1.0), ("o/1", 0.0), ("o/2", 1.0)) == [drawn, "#### 1", "#### 1"]
    assert draw_all(taught, tmp_path, ("o/2", 1.0), ("o/1", 1.0)) == ["#### 1", drawn]


def draw_all(pool: Pool, tmp_path: Path, *asked: tuple[str, float]) -> list[str]:
    requests = [
        Request(
            prompt="a b c", observation=Observation(id=id, question="?", answer="1"), n=1, seed=2,
            sampling=Sampling(temperature=temperature, max_tokens=9),
        )
        for id, temperature in asked
    ]  # fmt: skip
    finished: list[int] = []
    with pool.engine(BASE, workspace=tmp_path, seed=0) as engine:
        engine.serve(Model(base=BASE))
        told: dict[int, list[Completion]] = {}
        completions = engine.generate(requests, seed=5, progress=finished.append, arrived=told.__setitem__)
        assert told.items() <= dict(enumerate(completions)).items(), "each under the index of its own request"
        engine.release()
    assert sum(finished) == len(asked)
    return [text.text for (text,) in completions]


@pytest.mark.parametrize(
    "row, message",
    [
        ({"id": "o/1"}, r"line 1, column 'text'"),
        ({"text": "x"}, r"line 1, column 'id'"),
        ({"id": "o", "text": " "}, "text"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pool(tmp_path, row).check()


def test_a_pool_without_a_file_asks_for_one() -> None:
    with pytest.raises(ValueError, match=r"give generator\.path="):
        Pool().check()


def test_golds_become_a_pool(tmp_path: Path) -> None:
    quiz = Quiz()
    write_golds(quiz, quiz.train(), tmp_path / "golds.jsonl")
    golds = Pool(path=tmp_path / "golds.jsonl")
    golds.check()
    assert draw(golds, tmp_path, n=1, id="train/3") == ["It is 3.\n#### 3"]


def quiz_pool(tmp_path: Path, ids: Iterable[str], word: str = "It is") -> Path:
    path = tmp_path / "pool.jsonl"
    rows = ({"id": id, "text": f"{word} {id.partition('/')[2]}.\n#### {id.partition('/')[2]}"} for id in ids)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


TAUGHT = ("generator=teachers", "generator@generator.student=scripted", "schedule.quota=null", "iterations=1")


def test_a_pool_of_other_questions_is_refused_by_name(tmp_path: Path) -> None:
    path = quiz_pool(tmp_path, [f"train/{k:05}" for k in range(12)])
    for keys in (TAUGHT, ("generator=pool", *TAUGHT[2:])):
        said = (
            f"generator.path={path} has a rationale for none of 12 training questions: an id there is 'train/00000', "
        )
        with pytest.raises(ConfigError, match=re.escape(f"{said}an id here 'train/0': give each")):
            play(tmp_path / "run", *keys, f"generator.path={path}")
        assert not (tmp_path / "run/identity.json").exists()


def test_a_pool_of_some_of_the_questions_tells_how_many(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = quiz_pool(tmp_path, ["train/3", "train/5", "test/1", "unknown"])
    play(tmp_path / "taught", *TAUGHT, f"generator.path={path}")
    assert caplog.text.count(f"generator.path={path} has a rationale for 2 of 12 training questions") == 1
    assert "for the others the student is asked" in caplog.text
    assert "for the others the empty text is taken" not in caplog.text
    Pool(path=path).prove(["train/3", "train/4"])
    assert "for 1 of 2 training questions: for the others the empty text is taken" in caplog.text
    caplog.clear()
    Pool(path=path).prove(["train/3", "train/5"])
    assert not caplog.text


def test_other_rationales_do_not_continue_a_run(tmp_path: Path) -> None:
    ids = [f"train/{k}" for k in range(12)]
    path = quiz_pool(tmp_path, ids)
    keys = (*TAUGHT, f"generator.path={path}")
    play(tmp_path / "run", *keys)
    quiz_pool(tmp_path, ids, word="Its number is")
    with pytest.raises(
        RunError, match=r"the rationales changed since .*/run began \(fingerprint .*restore them to cont"
    ):
        play(tmp_path / "run", *keys, "iterations=2")
    path.write_text("".join(reversed(quiz_pool(tmp_path, ids).read_text().splitlines(keepends=True))))
    assert play(tmp_path / "run", *keys, "iterations=2").iteration == 2, "the same ones in another order"
    quiz_pool(tmp_path, ids, word="Its number is")
    fork = f"fork={tmp_path / 'run/iterations/0001'}"
    assert play(tmp_path / "fork", *keys, fork, "iterations=2").iteration == 2, "a fork may learn from others"


def test_a_run_that_knows_nothing_of_its_rationales_goes_on(tmp_path: Path) -> None:
    """As one that an earlier version has begun."""
    now = {"observations": "a", "choices_and_meta": "b", "base_weights": "c", "rationales": "d"}
    with RunDirectory(tmp_path).locked():
        assert guard_identity(RunDirectory(tmp_path), {k: v for k, v in now.items() if k != "rationales"}) == []
        assert guard_identity(RunDirectory(tmp_path), now) == []


def test_a_launch_that_failed_before_anything_was_there_binds_nobody(tmp_path: Path) -> None:
    ids = [f"train/{k}" for k in range(12)]
    keys = (*TAUGHT, f"generator.path={quiz_pool(tmp_path, ids)}")
    run = RunDirectory(tmp_path / "run")
    play(tmp_path / "run", *keys, "iterations=0")
    (run.iteration(0).path / "state.json").unlink()
    quiz_pool(tmp_path, ids, word="Its number is")
    assert play(tmp_path / "run", *keys).iteration == 1


def iterate(name: str, root: Path, tmp_path: Path, *overrides: str) -> dict[str, float]:
    """One iteration over the pooled golds; its metrics."""
    key = [f"task={name}", f"task.path={folder(name, root)}"]
    task = build(configure("experiment=smoke", *key)).task
    observations = [o for split in (task.train, task.validation, task.test) for o in split()]
    write_golds(task, observations, tmp_path / "golds.jsonl")
    config = configure(
        "experiment=smoke", *key, "generator=pool", f"generator.path={tmp_path / 'golds.jsonl'}", "iterations=1",
        "schedule.steps=2", "schedule.batch=2", "schedule.wave=4", "~tracker.console", "~tracker.tensorboard", *overrides,
    )  # fmt: skip
    launch(config, tmp_path / "run")
    metrics: dict[str, float] = json.loads((tmp_path / "run/iterations/0001/metrics.json").read_text())
    examples = [json.loads(line) for line in (tmp_path / "run/iterations/0001/examples.jsonl").read_text().splitlines()]
    by_id = {o.id: o for o in observations}
    assert examples
    for example in examples:
        assert example["prompt"] == task.bare_prompt(by_id[example["id"]])
        assert example["completion"] == task.gold_text(by_id[example["id"]])
    return metrics


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("second_try", ["resample", "rationalize"])
def test_every_benchmark_runs_a_whole_iteration(name: str, second_try: str, tmp_path: Path) -> None:
    metrics = iterate(name, FIXTURES, tmp_path, f"second_try={second_try}")
    assert (metrics["collect/accepted"], metrics["evaluation/accuracy"], metrics["collect/unparsed"]) == (4, 1, 0)


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_runs_a_whole_iteration_on_its_real_file(name: str, tmp_path: Path) -> None:
    if not folder(name, DATA).is_dir():
        pytest.skip(f"no real data at {folder(name, DATA)}: name their folder in STAR_LOOP_DATA")
    metrics = iterate(name, DATA, tmp_path)
    assert (metrics["evaluation/accuracy"], metrics["validation/accuracy"]) == (1, 1)


@pytest.mark.engine
@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_trains_a_real_adapter(name: str, tmp_path: Path) -> None:
    root = DATA if folder(name, DATA).is_dir() else FIXTURES
    metrics = iterate(
        name, root, tmp_path, "model=tiny", "trainer=lora", "trainer.learning_rate=1e-3", "schedule.steps=1"
    )
    assert metrics["train/steps"] == 1
    assert metrics["train/loss"] > 0
    assert (tmp_path / "run/iterations/0001/adapter/adapter_model.safetensors").is_file()

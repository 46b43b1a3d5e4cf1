"""The plan: what it makes of a run whose times follow the law exactly, and the pieces that the law is made of."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from star_loop.accounting.statistics import Statistics
from star_loop.plan import rates
from star_loop.plan.__main__ import main, spans_of
from star_loop.plan.rates import Growth, Rates, fit, habits, measured, steps_of
from star_loop.plan.work import Job, Model, longest
from star_loop.records import Rollout
from star_loop.run.directory import RunDirectory
from star_loop.seeding import rng
from tests.quiz import configure

TRUE = Rates(step=0.003, token=3e-5, swap=0.2, start=5.0, begin=0.4, load=0.7, flop=3e-11)
NOTHING = Growth(once=0.0, each=0.0)


def rollouts(count: int, attempt: int, luck: np.random.Generator, positions: Iterable[int]) -> list[Rollout]:
    return [
        Rollout(
            position=position, id=str(position), attempt=attempt, sample=0, hinted=False, text="", answer="", how="",
            correct=True, score=None, finish="stop", tokens=int(luck.integers(20, 160)), prompt_tokens=20,
        )
        for position in map(int, list(positions)[:count])
    ]  # fmt: skip


def seconds(asked: list[Rollout], swap: bool, start: bool) -> float:
    steps = sum(max((r.tokens for r in asked if r.attempt == a), default=0) for a in (0, 1))
    tokens = sum(r.tokens + r.prompt_tokens for r in asked)
    return TRUE.step * steps + TRUE.token * tokens + TRUE.swap * swap + TRUE.start * start


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """Three iterations of waves of 64, each with half as many second tries; an evaluation is two calls of 100."""
    run, luck, lines = RunDirectory(tmp_path / "run"), rng(0, "test"), []
    run.path.mkdir()
    for t in range(4):
        here = run.iteration(t)
        for name, first in (("validation", True), ("evaluation", False)):
            held_out = rollouts(100, 0, luck, range(100))
            here.evaluation(name, lambda: held_out)  # noqa: B023
            lines.append((t, "evaluate", seconds(held_out, first and t > 0, first and t == 0)))
        metrics = {"validation/accuracy": 0.5}
        for wave in range(t and 2 + t):
            positions = np.arange(64) + 64 * wave
            asked = [*rollouts(64, 0, luck, positions), *rollouts(32, 1, luck, positions)]
            here.wave(wave, positions, lambda: asked)  # noqa: B023
            lines.append((t, "collect", seconds(asked, False, False)))
        if t:
            done = 64 * (2 + t)
            flops = 1e9 * done
            here.adapter(lambda into: (into / "adapter_model.safetensors").write_bytes(b"0" * 1000) and {"loss": 1.0})
            metrics |= {
                "collect/accepted": done / 2, "collect/observations": done, "collect/quota": done / 2,
                "train/examples": done / 2, "train/flops_exact": flops, "flops_exact/generate": 1e8 * done,
                "seconds/train": TRUE.begin + TRUE.load * (t == 1) + TRUE.flop * flops,
            }  # fmt: skip
        here.commit(adapter="adapter" if t else None, metrics=metrics, statistics=Statistics.empty(10), beliefs={})
    entries = ({"iteration": t, "phase": phase, "seconds": taken} for t, phase, taken in lines)
    (run.path / "timings.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    (run.path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(configure("name=run"))))
    return run


def test_the_rates_of_a_run_that_keeps_the_law_are_found(run: RunDirectory) -> None:
    found = measured(run, slots=256)
    for name in Rates.__dataclass_fields__:
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), rel=1e-6), name


def test_the_run_itself_is_predicted(run: RunDirectory) -> None:
    model = Model(rates=TRUE, habits=habits(run), sampler=NOTHING, commit=NOTHING)
    predicted = model.predict(Job(observations=1000, quotas=[96, 128, 160], wave=64), gpus=1).phases()
    timings = [json.loads(line) for line in (run.path / "timings.jsonl").read_text().splitlines()]
    for phase in ("collect", "evaluate"):
        taken = sum(entry["seconds"] for entry in timings if entry["phase"] == phase)
        taken -= TRUE.start if phase == "evaluate" else 0
        assert predicted[phase] == pytest.approx(taken, rel=0.03)
    trained = sum(m.get("seconds/train", 0.0) for m in run.committed_metrics())
    assert predicted["train"] == pytest.approx(trained, rel=1e-6)


def test_more_gpus_are_never_slower_within_a_node_and_the_tail_remains(run: RunDirectory) -> None:
    model = Model(rates=TRUE, habits=habits(run), sampler=NOTHING, commit=NOTHING)
    job = Job(observations=10**6, quotas=[512] * 3)
    totals = [model.predict(job, gpus).total for gpus in (1, 2, 4, 8)]
    assert totals == sorted(totals, reverse=True)
    many = model.predict(job, 4096)
    assert many.seconds["tail"] > 0.1 * model.predict(job, 1).seconds["tail"]
    assert many.seconds["tokens"] < 0.02 * model.predict(job, 1).seconds["tokens"]
    assert many.flops == model.predict(job, 1).flops


def test_everything_is_asked_without_a_quota(run: RunDirectory) -> None:
    model = Model(rates=TRUE, habits=habits(run), sampler=NOTHING, commit=NOTHING)
    small, large = (model.predict(Job(observations=n, quotas=[None]), 1) for n in (10**4, 10**5))
    assert large.flops["generate"] == pytest.approx(10 * small.flops["generate"], rel=0.01)


def test_the_command_prints_every_size_and_the_same_for_machines(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "SIZES", (100, 1000))
    flags = ["--like", str(run.path), "--gpus", "1", "64", "--observations", "1000", "1000000000"]
    assert main(flags) == 0
    page = capsys.readouterr().out
    assert "1,000,000,000" in page and "longest part" in page and "assumed: 2e-05 s to read" in page
    assert main([*flags, "--json", "--flops", "4e14", "--memory-bandwidth", "3e12", "--tokens", "400"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["predictions"]) == 4
    assert found["measured"]["flop"] == 1 / 4e14
    assert found["assumed"]["memory_bandwidth"] == 3e12


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--like", "nowhere"], "nowhere is no run directory"),
        (["--flops", "1e14"], "give both, or neither"),
    ],
)
def test_what_cannot_be_predicted_is_said(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert main(["--like", str(run.path), *flags]) == 2
    assert message in capsys.readouterr().err


WHOLE = ("--observations", "--gpus", "--iterations", "--wave", "--share", "--batch", "--gpus-each", "--node")
REAL = ("--tokens", "--flops", "--memory-bandwidth", "--network")


@pytest.mark.parametrize(
    "flag, typed",
    [*((flag, typed) for flag in WHOLE for typed in ("0", "-1", "1.5")), ("--quota", "-1"),
     *((flag, typed) for flag in REAL for typed in ("0", "-1", "nan", "inf", "many"))],
)  # fmt: skip
def test_an_impossible_number_is_refused_by_its_flag(flag: str, typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([f"{flag}={typed}"])
    assert ended.value.code == 2
    assert f"argument {flag}: a " in capsys.readouterr().err


def test_a_run_of_several_engines_is_not_measured(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    text = OmegaConf.to_yaml(OmegaConf.create(configure("name=run", "generator.engines=2", "generator.share=8")))
    (run.path / "config.yaml").write_text(text)
    assert main(["--like", str(run.path)]) == 2
    assert "generated in shares" in capsys.readouterr().err


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 4))
def test_steps_are_those_of_an_engine_that_is_watched(lengths: list[int], slots: int) -> None:
    waiting, running, steps = list(lengths), [], 0
    while waiting or running:
        while waiting and len(running) < slots:
            running.append(waiting.pop(0))
        running = [left - 1 for left in running if left > 1]
        steps += 1
    assert steps_of(lengths, slots) == steps


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6).map(sorted), st.integers(1, 3))
def test_the_expected_longest_is_the_mean_over_all_draws(lengths: list[int], count: int) -> None:
    draws = np.array(np.meshgrid(*[lengths] * count)).reshape(count, -1)
    assert longest(np.array(lengths), count) == pytest.approx(draws.max(axis=0).mean())


@given(st.lists(st.floats(0, 10), min_size=3, max_size=3))
def test_non_negative_coefficients_are_recovered(true: list[float]) -> None:
    assume(sum(true) > 0.1)
    features = rng(1, "test").random((12, 3)) + 0.1
    found = fit([(row, float(row @ true)) for row in features])
    assert (found >= 0).all()
    assert features @ found == pytest.approx(features @ true, rel=1e-6)


@given(st.integers(0, 3000) | st.integers(10**9, 10**12))
def test_any_number_of_iterations_is_cut_into_few_spans(iterations: int) -> None:
    spans = spans_of(iterations)
    assert sum(spans) == iterations and len(spans) <= 1000
    assert not spans or max(spans) - min(spans) <= 1
    assert iterations > 1000 or set(spans) <= {1}

"""The benchmark of methods: what its figures mean, and that a kept engine changes nothing."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.methods import page, runs, teachers
from benchmarks.methods.__main__ import once
from benchmarks.methods.analysis import accuracy_at, cost_to, identity, interval, paired
from benchmarks.methods.pools import Rare, Repeated
from benchmarks.methods.runs import Engines, Row, Run, configuration, keep, rows, settings, since_tested
from benchmarks.methods.simulate import ORDERS, WORLDS, simulated
from benchmarks.methods.studies import DEVELOPMENT, STUDIES, WARM_MODEL, WARM_UP
from star_loop.config.build import build
from star_loop.config.hydra import composed
from star_loop.generators.pool import Pool
from star_loop.launch import launch
from star_loop.stages.load import load
from star_loop.tasks.arithmetic import Arithmetic
from star_loop.tasks.word_problems import WordProblems

CELLS = [(study, method) for study, s in STUDIES.items() for method in s.methods]


def curve(*points: tuple[float, float]) -> list[dict[str, float]]:
    return [{"flops": flops, "accuracy": accuracy} for flops, accuracy in points]


BEND = curve((0, 0.4), (10, 0.6), (20, 0.5), (40, 0.9))


@pytest.mark.parametrize("study, method", CELLS)
def test_every_cell_composes_and_only_the_seed_differs_between_seeds(study: str, method: str) -> None:
    build(configuration(Run(study=study, method=method, seed=3)))
    one, two = (set(STUDIES[study].overrides(method, seed)) for seed in (0, 1))
    assert {override.partition("=")[0] for override in one ^ two} <= {"seed", "task.seed", "generator.path"}


def test_accuracy_at_a_cost_lies_between_iterations_and_never_past_the_end() -> None:
    assert [accuracy_at(BEND, x) for x in (0, 5, 10, 30, 40)] == pytest.approx([0.4, 0.5, 0.6, 0.7, 0.9])
    assert accuracy_at(BEND, 41) is None


def test_the_cost_to_a_target_is_that_of_the_first_crossing() -> None:
    assert [cost_to(BEND, target) for target in (0.3, 0.5, 0.6, 0.7, 0.9)] == pytest.approx([0, 5, 10, 30, 40])
    assert cost_to(BEND, 0.91) is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9), st.floats(0, 1))
def test_accuracy_at_the_cost_to_a_target_is_the_target(accuracies: list[float], target: float) -> None:
    found = curve(*((float(k), a) for k, a in enumerate(accuracies)))
    cost = cost_to(found, target)
    if cost is None:
        assert max(accuracies) < target
    elif cost > 0:
        assert accuracy_at(found, cost) == pytest.approx(target)


def test_intervals_are_students() -> None:
    three = interval([1.0, 2.0, 3.0])
    assert three is not None
    assert (three.mean, three.half) == pytest.approx((2.0, 4.302653 / math.sqrt(3)))
    assert interval([]) is None
    assert math.isnan(interval([1.0]).half)  # type: ignore[union-attr]


def test_pairs_are_of_seeds_that_both_have() -> None:
    difference = paired({0: 1.0, 1: 5.0, 2: None}, {0: 0.5, 1: 2.5, 2: 9.0, 3: 1.0})
    assert difference is not None
    assert (difference.mean, difference.n) == (1.5, 2)
    doubled = paired({0: 1.0, 1: 5.0}, {0: 0.5, 1: 2.5}, ratio=True)
    assert doubled is not None
    assert (math.exp(doubled.mean), doubled.half) == pytest.approx((2, 0))


def test_the_identity_charges_generation_up_to_what_is_trained_on() -> None:
    point = {"train": 0.0}
    half = {"train": 10.0, "generated_here": 100.0, "examples": 30.0, "accepted": 60.0}
    all_ = {"train": 30.0, "generated_here": 70.0, "examples": 60.0, "accepted": 60.0}
    assert identity([point, half]) == pytest.approx(50 / 110)
    assert identity([point, half, all_]) == pytest.approx(50 / 200)


def test_rows_of_other_settings_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "RESULTS", tmp_path)
    run = Run(study="stopping", method="AdaSTaR", seed=1)
    keep(Row(run=run, curve=BEND))
    assert rows("stopping") == [Row(run=run, curve=BEND)]
    line = json.loads((tmp_path / "stopping.jsonl").read_text())
    line["overrides"][0] += "0"
    (tmp_path / "stopping.jsonl").write_text(json.dumps(line) + "\n")
    assert rows("stopping") == []


def test_a_run_counts_in_every_study_that_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "RESULTS", tmp_path)
    here, there = (Run(study=s, method=m, seed=1) for s, m in (("stopping", "early stop"), ("unique", "everything")))
    assert here.overrides != there.overrides  # in another order
    assert once([there, here, replace(here, seed=2)]) == [there, replace(here, seed=2)]
    keep(Row(run=here, curve=BEND))
    assert rows("unique") == [Row(run=there, curve=BEND)]


def test_of_two_overrides_of_a_key_the_later_counts() -> None:
    assert settings(["a=1", "b=1", "a=2"]) == settings(["a=2", "b=1"]) != settings(["a=2", "b=1", "a=1"])


@pytest.mark.parametrize("kind", ["competent", "careless", "strong", "told"])
def test_every_teacher_is_right(tmp_path: Path, kind: str) -> None:
    few = {"train_per_level": 3, "validation_per_level": 1, "test_per_level": 1}
    task = WordProblems(**few) if kind == "told" else Arithmetic(**few)
    teachers.write(tmp_path / "pool.jsonl", task, kind, 5)
    Pool(path=tmp_path / "pool.jsonl").check()
    styles = Counter[str]()
    for observation in task.train():
        texts = teachers.rationales(observation, kind, 5)
        styles.update(len(set(texts.values())) * [observation.id])
        assert texts.get("whole", observation.rationale) == observation.rationale
        for text in texts.values():
            assert task.verifier.judge(observation, text).correct
    # Here and there two of the five write the same, and the draws of one teacher often do.
    assert sum(styles.values()) > (2.5 if kind == "strong" else 4.5) * len(task.train())


def test_a_repeated_pool_holds_the_same_questions_ten_times() -> None:
    few = {"train_per_level": 2, "validation_per_level": 1, "test_per_level": 1}
    once_, often = Arithmetic(**few).train(), Repeated(**few).train()
    assert [o.question for o in often] == 10 * [o.question for o in once_]
    assert len({o.id for o in often}) == len(often)
    assert len(load(Repeated(**few))["train"]) == len(often)  # nothing that is looked at before a run refuses it


def test_what_is_harder_is_rarer() -> None:
    task = Rare(levels=(1, 3, 4), train_per_level=20, validation_per_level=1, test_per_level=1)
    assert Counter((o.skill, o.level) for o in task.train()) == {
        (plot, level): count for plot in task.plots for level, count in ((1, 20), (3, 8), (4, 3))
    }
    assert len(load(task)["train"]) == len(task.train())


def test_what_warm_studies_begin_with_comes_from_a_seed_that_is_not_counted() -> None:
    warm = build(composed([*WARM_UP, "name=warm"]))
    assert warm.seed >= DEVELOPMENT and warm.task.seed == warm.seed
    begin = {
        configuration(Run(study=s, method=m, seed=0))["model"]["name_or_path"] for s, m in CELLS if STUDIES[s].warm
    }
    assert begin == {str(WARM_MODEL)}


def test_a_point_holds_what_was_done_since_the_last_test() -> None:
    first, second = (
        {"collect/accepted": 30.0 + t, "train/examples": 20.0, "flops_exact/generate": 1e9, "collect/faithful": t / 10}
        for t in (1, 2)
    )
    point = since_tested(since_tested(since_tested({}, {}), first), second)
    assert point == {"accepted": 63.0, "examples": 40.0, "generated_here": 2e9, "faithful": 0.2}


def test_pages_say_what_the_rows_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "RESULTS", tmp_path)
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    amounts = dict.fromkeys(("generate", "train", "rollouts", "visited", "trained", "seconds", "faithful"), 1.0)
    amounts |= {"generated_here": 1.0, "examples": 1.0, "accepted": 2.0}
    for method, slope in (("early stop", 1e-12), ("AdaSTaR", 2e-12)):
        for seed in range(5):
            bent = [{**amounts, "flops": f, "accuracy": 0.4 + 0.01 * seed + slope * f} for f in (0.0, 1e11, 4e11)]
            keep(Row(run=Run(study="stopping", method=method, seed=seed), curve=bent))
    page.write("stopping")
    text = (tmp_path / "stopping.md").read_text()
    assert "| AdaSTaR | +40.0 ± 0.0 | +40.0 ± 0.0 | 0.50 (0.50–0.50) |" in text
    assert "| early stop | 5 | 82.0 ± 2.0 |" in text
    assert (tmp_path / "stopping.svg").read_text().startswith("<?xml")


def test_simulations_repeat_and_learn() -> None:
    world = replace(WORLDS[0], iterations=3)
    for name in ("random", "AdaSTaR", "SPaCe"):
        found = simulated(world, ORDERS[name], 3)
        assert found == simulated(world, ORDERS[name], 3)
        assert len(found) == world.iterations + 1
        assert found[-1]["accuracy"] > found[0]["accuracy"]


@pytest.mark.engine
def test_a_kept_engine_gives_what_a_fresh_one_gives(tmp_path: Path) -> None:
    small = ["iterations=1", "task.levels={addition:[5,6]}", "task.train_per_level=16", "task.test_per_level=1"]
    small += ["schedule.steps=2", "schedule.wave=16"]
    config = {s: configuration(Run(study="stopping", method="AdaSTaR", seed=s), small) for s in (0, 1)}
    engines = Engines(tmp_path / "engine")
    try:
        for seed in (1, 0):
            launch(config[seed], tmp_path / f"kept{seed}", engine=engines(build(config[seed])))
    finally:
        engines.close()
    launch(config[0], tmp_path / "fresh")
    for name in ("state.json", "waves/000.jsonl", "adapter/adapter_model.safetensors"):
        kept, fresh = (tmp_path / run / "iterations" / "0001" / name for run in ("kept0", "fresh"))
        assert kept.read_bytes() == fresh.read_bytes()

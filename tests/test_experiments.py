"""Every experiment runs through the whole loop, and its figures prove that its method acted."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from star_loop.config.hydra import CONF
from star_loop.records import Metrics
from star_loop.run.directory import RunDirectory
from tests.quiz import play

SCRIPTED = ("model=scripted", "generator=scripted", "trainer=scripted", "task._target_=tests.preparations.test_preparations.Skilled",
            "task.n=90", "generator.table=[0.9,0.5,0.1]", "schedule.steps=10", "schedule.wave=15", "iterations=2")  # fmt: skip
FAMILY = {"star", "star_full", "star_acc", "star_acc_full", "star_acc_full_k", "star_acc_early_stop", "rest_em", "rft"}
"""Those that differ in what is drawn, kept and trained, not in figures of their own."""
OPTIONS = {
    "lark": ("scorer=scripted", "~selectors.deduplicate", "scorer.diagnose=true"),
    "cures_counts": ("schedule.quota=null",),
    "cures": ("sampler.subsets=2", "schedule.quota=null", "scorer=scripted"),
    "cures_deviation": ("sampler.subsets=2", "sampler.steps=1", "schedule.quota=null"),
    "gvm": ("scorer=scripted",),
    "knapsack": ("schedule.quota=null",),
    "rsr": ("scorer=scripted",),
    "b_star": ("search.temperatures=[0.5,1.0]",),
    "rift": ("~trainer.loss",),
    "iterative_rpo": ("~trainer.loss",),
    "rft": ("iterations=1",),
}
ACTED: dict[str, Callable[[Metrics], bool]] = {
    "lark": lambda m: m["select/effective"] < 1 and m["select/greatest_weight"] > m["select/least_weight"],
    "cures_counts": lambda m: m["allocator/deviation"] > 0 and m["sampler/weight_ratio"] > 1,
    "cures": lambda m: m["allocator/deviation"] > 0 and m["score/energy"] > 0 and "pilot/rollouts" not in m,
    "cures_deviation": lambda m: m["allocator/deviation"] > 0 and m["pilot/rollouts"] == 4 * 45,
    "gvm": lambda m: m["allocator/least"] == 0 and m["allocator/mean"] == 8 and m["pilot/rollouts"] == 8 * 15,
    "dart": lambda m: 0 < m["allocator/filled"] < 1 and m["allocator/most"] > 4,
    "hs_star": lambda m: 0 < m["allocator/boundary"] < 1 and m["allocator/most"] > 8,
    "knapsack": lambda m: m["allocator/deviation"] > 0 and m["allocator/least"] == 2,
    "mopps": lambda m: 0 < m["sampler/believed"] < 1 and m["sampler/success"] > 0,
    "rsr": lambda m: m["select/examples"] == m["collect/accepted"] and m["score/loss"] > 0,
    "rift": lambda m: 0 < m["select/wrong"] < m["train/examples"],
    "iterative_rpo": lambda m: 0 < m["select/wrong"] < m["train/examples"],
    "replay": lambda m: m["select/replayed"] > 0,
    "sec": lambda m: m["sampler/entropy"] < 1 and m["sampler/worth/s2"] > m["sampler/worth/s1"],
    "dump": lambda m: m["sampler/entropy"] < 1 and m["sampler/worth/s2"] > m["sampler/worth/s1"],
    "space": lambda m: m["sampler/entropy"] < 1 and m["sampler/mass/s3"] != m["sampler/mass/s1"],
    "skill_it": lambda m: m["sampler/entropy"] < 1 and m["sampler/wanted/s3"] > m["sampler/wanted/s1"],
    "b_star": lambda m: m["search/temperature"] in (0.5, 1.0) and 0 < m["search/balance"] < 1,
    "adastar": lambda m: 0 < m["sampler/committed"] < m["sampler/m"],
    "adastar_no_curriculum": lambda m: m["sampler/committed"] == m["sampler/m"],
    "adastar_no_win_rate": lambda m: 0 < m["sampler/committed"] < m["sampler/m"],
    "adastar_priority_flipped": lambda m: 0 < m["sampler/committed"] < m["sampler/m"],
    "hardest_first": lambda m: m["sampler/committed"] == m["sampler/m"],
    "peers": lambda m: 0 < m["sampler/new"] < 1 and 0 < m["sampler/unsolved"] < 1,
}
METHODS = sorted(
    path.stem
    for path in (CONF / "experiment").glob("*.yaml")
    if path.stem not in ("smoke", "real")
    and any(f"override /{part}:" in path.read_text() for part in ("sampler", "search", "scorer"))
)


def test_every_method_is_here() -> None:
    assert set(METHODS) <= FAMILY | set(ACTED)


def test_every_method_has_a_row_in_the_table_of_methods() -> None:
    table = (CONF.parent / "docs/methods.md").read_text(encoding="utf-8")
    rows = {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.partition(" | ")[0])}
    assert FAMILY | set(ACTED) <= rows


@pytest.mark.parametrize("experiment", sorted(FAMILY | set(ACTED)))
def test_an_experiment_runs_and_its_method_acts(tmp_path: Path, experiment: str) -> None:
    play(tmp_path, f"experiment={experiment}", *SCRIPTED, *OPTIONS.get(experiment, ()))
    run = RunDirectory(tmp_path)
    latest = run.latest()
    assert latest is not None
    figures, before = latest.metrics(), run.iteration(latest.number - 1).metrics()
    assert figures["train/examples"] > 0
    spent = [figures.get(f"flops/{what}", 0.0) for what in ("generate", "train", "search", "pilot", "score")]
    assert figures["flops/cumulative"] == pytest.approx(before["flops/cumulative"] + sum(spent))
    assert ACTED.get(experiment, lambda m: m["collect/correct"] > 0)(figures)

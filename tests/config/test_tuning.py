"""What Optuna is asked for: the kinds of intervals, and jobs that fail."""

import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from star_loop.config.tuning import distribution

pytest.importorskip("optuna", minversion="4", reason='needs the extra "star_loop[optuna]"')


@pytest.mark.parametrize(
    "override, expected",
    [
        ("a=interval(0.5, 2.0)", "FloatDistribution(high=2.0, log=False, low=0.5, step=None)"),
        ("++a.b=tag(log, interval(1e-4, 1e-2))", "FloatDistribution(high=0.01, log=True, low=0.0001, step=None)"),
        ("a=int(interval(4, 64))", "IntDistribution(high=64, log=False, low=4, step=1)"),
        ("a=tag(log, int(interval(4, 64)))", "IntDistribution(high=64, log=True, low=4, step=1)"),
        ("a=range(1, 10, 3)", "IntDistribution(high=7, log=False, low=1, step=3)"),
        ("a=choice(x,'y z',3)", r"CategoricalDistribution(choices=('x', 'y\\ z', '3'))"),
        ("a=8,16", "CategoricalDistribution(choices=('8', '16'))"),
    ],
)
def test_each_kind_of_sweep_has_its_distribution(override: str, expected: str) -> None:
    assert repr(distribution(OverridesParser.create().parse_override(override))) == expected


def tune(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "star_loop", "-m", "tune=optuna", "experiment=smoke", "iterations=1",
               "schedule.steps=1", "~tracker.tensorboard", f"outputs={tmp_path}"]  # fmt: skip
    return subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)


def test_a_trial_that_fails_does_not_end_the_search(tmp_path: Path) -> None:
    done = tune(tmp_path, "hydra.sweeper.n_trials=3", "trainer.rate=choice(0.1,wrong)")
    assert done.returncode == 1
    assert "trainer.rate" in done.stderr and "Traceback" not in done.stderr
    assert "'trials': 3" not in done.stdout and (tmp_path / "smoke/optimization_results.yaml").exists()


def test_a_search_for_nothing_is_refused(tmp_path: Path) -> None:
    done = tune(tmp_path)
    assert done.returncode == 2 and "no key has an interval" in done.stderr

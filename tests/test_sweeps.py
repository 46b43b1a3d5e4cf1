"""Sweeps whose jobs run beside the command: joblib's processes here, submitit's queue here; killed, and gone on with."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from star_loop.launch import launch
from star_loop.records import Metrics
from star_loop.trainers.scripted import Scripted
from tests.quiz import QUIZ, configure, contents

ROOT = Path(__file__).parent.parent


class Hunted(Scripted):
    """A trainer in whose first round of all something happens to its job."""

    mark: Path
    fate: Literal["the sweep is killed", "the job is preempted", "the machine is wanted back", "none"]

    def train(self, *arguments: Any, **options: Any) -> Metrics:
        if not self.mark.exists() and self.fate != "none":
            self.mark.touch()
            if self.fate == "the sweep is killed":
                os.kill(os.getppid(), signal.SIGKILL)
                signal.pause()
            # submitit's queues announce an end with the one, others are told to do it with the other
            os.kill(os.getpid(), signal.SIGUSR2 if self.fate == "the job is preempted" else signal.SIGUSR1)
        return super().train(*arguments, **options)


def overrides(directory: Path, fate: str) -> tuple[str, ...]:
    trainer = ("trainer._target_=tests.test_sweeps.Hunted", f"+trainer.mark={directory}/mark", f"+trainer.fate={fate}")
    return (*QUIZ, f"outputs={directory}", "name=sweep", *trainer)


def sweep(directory: Path, launcher: str, fate: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "star_loop", "-m", *options, f"hydra/launcher={launcher}", "seed=0,1"]
    return subprocess.run(
        [*command, *overrides(directory, fate)], cwd=directory, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def expect_both(directory: Path, fate: str) -> None:
    """Both runs are complete, as if nothing had happened; fate strikes once, so it spares the runs beside them.

    A commit knows the settings of its run, so these are the same.
    """
    for seed in (0, 1):
        launch(configure(*overrides(directory, fate), f"seed={seed}"), directory / f"alone{seed}")
        assert contents(directory / f"sweep/seed={seed}/iterations") == contents(directory / f"alone{seed}/iterations")


def test_a_sweep_in_joblibs_processes_continues_after_a_kill(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason='needs the extra "star_loop[cluster]"')
    arguments = (tmp_path, "joblib", "the sweep is killed", "hydra.launcher.n_jobs=2")
    assert sweep(*arguments).returncode == -signal.SIGKILL
    again = sweep(*arguments)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1].endswith(f"-m star_loop.report {tmp_path}/sweep")
    expect_both(tmp_path, "the sweep is killed")


def test_a_job_that_submitit_preempts_is_queued_again_and_continues(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason='needs the extra "star_loop[cluster]"')
    done = sweep(tmp_path, "submitit_local", "the job is preempted")
    assert done.returncode == 0, done.stderr
    assert "Caught signal SIGUSR2" in "".join(p.read_text() for p in tmp_path.glob("sweep/.submitit/*/*.err"))
    expect_both(tmp_path, "the job is preempted")


def test_a_launch_without_a_sweep_ends_at_the_signal_and_its_command_continues(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "star_loop", *overrides(tmp_path, "the machine is wanted back"), "name=stopped"]
    for code, said in ((128 + signal.SIGUSR1, "Nothing finished is lost; the same command continues"), (0, "")):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert said in done.stderr
    launch(configure(*overrides(tmp_path, "the machine is wanted back")), tmp_path / "alone0")
    assert contents(tmp_path / "stopped/iterations") == contents(tmp_path / "alone0/iterations")


def test_a_sweep_on_slurm_is_a_matter_of_configuration(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason='needs the extra "star_loop[cluster]"')
    options = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu", "hydra.launcher.max_num_timeout=100")
    command = [sys.executable, "-m", "star_loop", "--cfg", "hydra", *options, "experiment=smoke"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "submitit_launcher.SlurmLauncher" in done.stdout
    for line in ("partition: gpu", "max_num_timeout: 100", "signal_delay_s: 120"):
        assert line in done.stdout

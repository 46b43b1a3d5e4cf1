"""Whoever watches cannot stop it: a screen that is full, closed or gone costs what it would have shown."""

import logging
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from star_loop.config.screen import LogFile

ROOT = Path(__file__).parent.parent.parent
SMOKE = (sys.executable, "-m", "star_loop", "experiment=smoke", "iterations=1", "~tracker.tensorboard", "outputs=.")

INCOMPLETE = (
    "star_loop: standard output cannot be written (No space left on device): what was to be shown is incomplete\n"
)


def finished(directory: Path) -> str:
    """What the log says of the run, which is complete."""
    assert (directory / "smoke/iterations/0001/state.json").exists()
    return "".join(path.read_text() for path in directory.glob("smoke/attempts/*/launch.log"))


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize(
    "redirected, said",
    [
        (">/dev/full", "standard output cannot be written any more (No space left on device)"),
        (">/dev/full 2>&1", "standard error cannot be written any more (No space left on device)"),
        ("| true", "standard output cannot be written any more (Broken pipe)"),
        (">&- 2>&- <&-", ""),
    ],
)
def test_the_run_goes_on_without_its_screen_and_its_log_says_so(redirected: str, said: str, tmp_path: Path) -> None:
    line = f'set -o pipefail; "$@" {redirected}'
    done = subprocess.run(["bash", "-c", line, "bash", *SMOKE], cwd=tmp_path, env=environment(), check=False)
    assert done.returncode == 0
    assert said in finished(tmp_path)


def test_the_run_outlives_its_terminal(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    running = subprocess.Popen(
        [*SMOKE, "+task.train_per_level=300"], cwd=tmp_path, env=environment(), stdin=slave, stdout=slave, stderr=slave,
        start_new_session=True, preexec_fn=lambda: os.ttyname(0) and os.close(os.open(os.ttyname(0), os.O_RDWR)),
    )  # fmt: skip
    os.close(slave)
    assert os.read(master, 1)
    os.close(master)  # the kernel hangs up: SIGHUP to the session, and EIO for whoever writes
    assert running.wait() == 0
    assert "cannot be written any more (Input/output error)" in finished(tmp_path)


def test_help_fits_into_every_pipe_and_every_character_set(tmp_path: Path) -> None:
    line = 'set -o pipefail; "$@" --help | head -1'
    done = subprocess.run(
        ["bash", "-c", line, "bash", *SMOKE], cwd=tmp_path, env=environment(), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout
    ascii_only = environment() | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*SMOKE, "--help"], cwd=tmp_path, env=ascii_only, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout.isascii()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("redirected, status", [("| true", 0), (">/dev/full", 1), ("--help >/dev/full", 1)])
def test_commands_that_show_what_they_find_end_without_a_traceback(
    redirected: str, status: int, tmp_path: Path
) -> None:
    line = f'set -o pipefail; echo "So it is 12." | "$@" {redirected}'
    judge = [sys.executable, "-m", "star_loop.judge", "--gold", "12"]
    done = subprocess.run(
        ["bash", "-c", line, "bash", *judge], cwd=tmp_path, env=environment(), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (status, INCOMPLETE if status else "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("asked", ["--help", "--version", "show=prompts", "--cfg=job", "--info=searchpath"])
def test_so_does_what_shows_and_runs_nothing(asked: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*SMOKE, asked],
            cwd=tmp_path,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, INCOMPLETE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_so_does_the_log_of_a_sweeps_job(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*SMOKE, "-m", "seed=0"], cwd=tmp_path, env=environment(), stdout=full, check=False)
    assert done.returncode == 0
    (log,) = tmp_path.glob("smoke/*/attempts/*/launch.log")
    assert "standard output cannot be written any more (No space left on device)" in log.read_text()


@pytest.mark.parametrize("module", ["star_loop", "star_loop.report"])
def test_ctrl_c_while_a_command_is_loaded_is_said_in_a_line(module: str, tmp_path: Path) -> None:
    (tmp_path / "hydra.py").write_text("raise KeyboardInterrupt")
    (tmp_path / "numpy.py").write_text("raise KeyboardInterrupt")
    interrupted = environment() | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run([sys.executable, "-m", module, "x"], env=interrupted, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"\nInterrupted.\n")


def test_every_command_outlives_its_screen() -> None:
    package = ROOT / "star_loop"
    files = ("doctor.py", "config/schema.py", "models/gguf.py")
    for path in [*(package / file for file in files), *package.glob("*/__main__.py")]:
        if path.parent.name != "embedded":  # which is built once, by hand
            last = path.read_text().rpartition('\nif __name__ == "__main__":\n')[2]
            assert last.startswith("    outlive_screen()\n") and last.endswith("    conclude(main)\n"), path


def test_a_log_that_cannot_be_written_says_so_once_and_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("/dev/full", "/dev/null/launch.log"):
        log = LogFile(place, delay=True)
        for number in range(3):
            log.handle(logging.makeLogRecord({"msg": f"{number}", "levelno": logging.ERROR}))
        said = capsys.readouterr().err
        assert said.startswith(f"WARNING: {place} cannot be written ([Errno ") and said.count("\n") == 1

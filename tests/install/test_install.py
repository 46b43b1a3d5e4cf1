"""Set-up: what stands in its way ends in one message, and the next call repairs it. uv is played by a script."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = """#!{python}
import os, pathlib, sys
with open({log!r}, "a") as log: print(*sys.argv[1:], file=log)
if sys.argv[1] == "venv":
    bin = pathlib.Path(sys.argv[-1]) / "bin"
    bin.mkdir(parents=True, exist_ok=True)
    (bin / "python").unlink(missing_ok=True)
    (bin / "python").symlink_to({python!r})
elif "--dry-run" in sys.argv:
    build = "backend" if "--torch-backend=cpu" in sys.argv else "index"
    sys.exit(build not in os.environ["HAS_CPU_BUILDS"].split())
elif said := os.environ.get("UV_SAYS"):
    sys.exit("warning: something else\\nerror: " + said)
"""


class Place:
    """A folder with a uv of its own, and an environment to be made beside it."""

    def __init__(self, folder: Path) -> None:
        self.venv, self.log, programs = folder / "an environment", folder / "log", folder / "programs"
        programs.mkdir()
        self.path = f"{programs}:{os.environ['PATH']}"
        (programs / "uv").write_text(UV.format(python=sys.executable, log=str(self.log)))
        (programs / "uv").chmod(0o755)

    def start(self, what: str = "run", **environment: str) -> subprocess.Popen[str]:
        said = {"PATH": self.path, "HAS_CPU_BUILDS": "index backend", "STAR_LOOP_SET": "cpu"} | environment
        return subprocess.Popen(
            [sys.executable, "requirements/install.py", what, str(self.venv)], cwd=ROOT, env=os.environ | said,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def call(self, what: str = "run", **environment: str) -> tuple[int, str]:
        process = self.start(what, **environment)
        out, err = process.communicate()
        return process.returncode, out + err

    def asked(self) -> list[str]:
        """What uv was asked to do since the last time."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines

    @property
    def ready(self) -> bool:
        return (self.venv / ".ready").exists()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_it_is_done_once(place: Place) -> None:
    assert place.call()[0] == 0 and place.ready
    place.asked()
    assert place.call() == (0, "") and place.asked() == []
    assert place.call("dev")[0] == 0
    assert [line.rpartition("/")[2] for line in place.asked()] == ["dev.lock"]


@pytest.mark.parametrize(
    "says, remedy",
    [
        ("failed to copy: No space left on device (os error 28)", "make room"),
        ("Failed to fetch `numpy`\n  cause: dns error: failed to lookup address", "HTTPS_PROXY"),
        ("invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE"),
        ("Hash mismatch for `numpy==2.3.5`", "not the one that was locked"),
        ("failed to open: Permission denied (os error 13)", "VENV="),
    ],
)
def test_what_fails_is_one_message_and_the_next_call_begins_anew(place: Place, says: str, remedy: str) -> None:
    status, said = place.call(UV_SAYS=says)
    assert status == 1 and not place.ready
    assert says.splitlines()[0] in said and remedy in said and "Traceback" not in said and "something else" not in said
    place.asked()
    assert place.call()[0] == 0 and place.ready
    assert place.asked()[0].startswith("venv --clear")


def test_a_half_made_environment_is_made_again(place: Place) -> None:
    place.call()
    place.asked()
    (place.venv / ".ready").unlink()
    assert place.call()[0] == 0 and place.asked()[0].startswith("venv --clear")
    (place.venv / ".ready").write_text("of other locks")
    (place.venv / "bin/python").unlink()
    assert place.call()[0] == 0 and place.asked()[0].startswith("venv --clear")


def test_other_locks_are_installed_over_a_complete_environment(place: Place) -> None:
    place.call()
    place.asked()
    (place.venv / ".ready").write_text("of other locks")
    assert place.call()[0] == 0 and not any(line.startswith("venv") for line in place.asked())


def test_two_at_once_take_turns(place: Place) -> None:
    with place.venv.with_name("an environment.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = place.start()
        assert process.stdout is not None
        assert "another installation is under way" in process.stdout.readline()
        assert not place.venv.exists()
        fcntl.flock(lock, fcntl.LOCK_UN)
        process.communicate()
    assert process.returncode == 0 and place.ready


@pytest.mark.parametrize(
    "builds, lock, option",
    [
        ("index backend", "torch-cpu.lock", False),
        ("backend", "torch-cpu.lock", True),
        ("", "torch.lock", False),
    ],
)
def test_torch_comes_from_the_nearest_index_that_has_a_build_for_cpus(
    place: Place, builds: str, lock: str, option: bool
) -> None:
    status, said = place.call(HAS_CPU_BUILDS=builds)
    torch = next(line for line in place.asked() if "/torch" in line and "--dry-run" not in line)
    assert status == 0 and torch.split("--requirements ")[1].split(" --torch")[0].endswith(f"/{lock}")
    assert ("--torch-backend=cpu" in torch) is option and ("3 GB more" in said) is not builds


def test_where_a_gpu_is_seen_vllms_own_build_is_taken(place: Place) -> None:
    assert place.call(STAR_LOOP_SET="gpu")[0] == 0
    chosen = [line.split("--requirements ")[1] for line in place.asked() if "--requirements" in line]
    assert [Path(path).name for path in chosen] == ["gpu.lock"]


def test_a_link_to_another_checkouts_environment_is_left_alone(place: Place, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    place.venv.symlink_to(tmp_path / "theirs")
    status, said = place.call()
    assert status == 1 and "belongs to another checkout" in said and place.asked() == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "requirements/install.py", "run", str(tmp_path / "file/venv")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Not a directory" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("python", ["#!/bin/sh\nexit 1\n", None])
def test_a_python_that_does_not_fit_is_said(tmp_path: Path, python: str | None) -> None:
    program = tmp_path / "python"
    if python:
        program.write_text(python)
        program.chmod(0o755)
    command = ["make", "--silent", "setup", f"PYTHON={program}", f"VENV={tmp_path}/venv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode and "star_loop needs Python 3.11 to 3.14" in done.stdout
    assert not (tmp_path / "venv").exists()

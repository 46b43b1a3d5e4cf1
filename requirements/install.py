"""Make the environment of the checkout: `python requirements/install.py run .venv`, which `make run` calls.

uv does the work, from locks with hashes. It is taken from the PATH, or put into the environment by pip. What pip has
been told of indexes, certificates and time limits holds for uv too. An environment that is not complete is made again
from the beginning, so whatever interrupts this, the next call repairs it.
"""

import ast
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LOCKS = {"run": (), "real": ("real.lock",), "dev": ("dev.lock",)}
"""What is installed -> the lock that it needs besides those of the platform."""
PIP_SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST", "cert": "SSL_CERT_FILE", "proxy": "ALL_PROXY", "no-index": "UV_NO_INDEX",
    "timeout": "UV_HTTP_TIMEOUT", "default-timeout": "UV_HTTP_TIMEOUT",
}  # fmt: skip
LARGE = re.compile(r"Downloading .*\((\d{3,}\.?\d*MiB|.*GiB)\)")
"""Lines of uv about files of at least 100 MiB."""
REMEDIES = {
    ("no space left", "os error 28"): "The disk is full: make room for .venv, uv's cache (UV_CACHE_DIR) and TMPDIR.",
    ("dns error", "error sending request", "certificate", "timed out", "connection", "network"): (
        "The package index is not reached. Behind a proxy set HTTPS_PROXY, for a mirror UV_DEFAULT_INDEX, for "
        "certificates of your own SSL_CERT_FILE; without a network, set UV_OFFLINE=1 where uv's cache has it all."
    ),
    ("hash mismatch",): "A file is not the one that was locked: damaged on its way, or of an index not to be trusted.",
    ("permission denied", "read-only file system"): (
        "Nothing can be written there: take a copy of the checkout, or make … VENV=<a folder> ARGS=outputs=<another>."
    ),
}  # fmt: skip
"""What uv says, in small letters -> what to do."""


class Failure(Exception):
    """What went wrong, and what to do."""


def main(what: str, folder: Path) -> None:
    """Install a set of locks, unless that has been done.

    Args:
        what: a key of `LOCKS`.
        folder: the environment.

    Raises:
        Failure: it cannot be done.
    """
    if folder.is_symlink():
        raise Failure(f"{folder} is a link to {folder.resolve()}, which belongs to another checkout: remove the link")
    with alone(folder):
        done = folder / (".ready" if what == "run" else f".ready-{what}")
        state = fingerprint(what)
        if done.exists() and done.read_text() == state:
            done.touch()
            return
        uv = environment(folder)
        if what == "run":
            (folder / ".ready").unlink(missing_ok=True)
            uv.install("the engine and the trainer", *platform_locks(uv))
            uv.install("star_loop", "--editable", str(ROOT), hashed=False)
        for lock in LOCKS[what]:
            uv.install(lock.removesuffix(".lock"), "--requirements", str(HERE / lock))
        done.write_text(state)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other call works on the same environment.

    Raises:
        Failure: nothing can be written beside it.
    """
    try:
        lock = folder.with_name(f"{folder.name}.lock").open("a")
    except OSError as error:
        raise Failure(explained(str(error))) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another installation is under way here: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fingerprint(what: str) -> str:
    """Return a digest of all that the installation depends on."""
    files = [HERE / name for name in LOCKS[what]] or [*sorted(HERE.glob("*.lock")), ROOT / "pyproject.toml"]
    digest = hashlib.sha256(f"{what} {sys.version_info[:2]} {gpu_is_seen()}".encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def gpu_is_seen() -> bool:
    """Tell whether there is an NVIDIA GPU with a driver, or is said to be one where this will run."""
    if said := os.environ.get("STAR_LOOP_SET"):  # an image is built without the GPU
        return said == "gpu"
    found = shutil.which("nvidia-smi")
    return found is not None and subprocess.run([found, "-L"], capture_output=True).stdout.startswith(b"GPU ")


class Uv:
    """uv, working on one environment."""

    def __init__(self, program: str, python: Path, settings: Mapping[str, str]) -> None:
        self.program, self.python, self.settings = program, python, settings

    def install(self, what: str, *arguments: str, hashed: bool = True) -> None:
        """Install requirements, telling of what takes time.

        Raises:
            Failure: it did not work.
        """
        say(f"installing {what}")
        options = ["--require-hashes"] if hashed else []
        builds = ["--build-constraints", str(HERE / "build.lock"), "--require-build-hashes",
                  "--preview-features", "build-dependency-hashes"]  # fmt: skip
        command = [self.program, "pip", "install", "--python", str(self.python), "--no-deps", *options, *builds]
        with subprocess.Popen([*command, *arguments], cwd=ROOT, env={**os.environ, **self.settings},
                              stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if LARGE.match(line):
                    say(line.strip().replace("Downloading", "downloading"))
        if process.returncode:
            text = "".join(said)
            raise Failure(explained(text[max(text.find("error:"), 0) :]))

    def finds(self, *arguments: str) -> bool:
        """Tell whether requirements could be installed, without doing it."""
        command = [self.program, "pip", "install", "--python", str(self.python), "--no-deps", "--dry-run", *arguments]
        settings = {**os.environ, "UV_HTTP_RETRIES": "1", **self.settings}
        return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True).returncode == 0


def environment(folder: Path) -> Uv:
    """Return uv for a complete environment, or for a new one.

    Raises:
        Failure: there can be none.
    """
    python, uv = folder / "bin/python", shutil.which("uv")
    settings = pip_settings()
    if not ((folder / ".ready").exists() and version(python) == sys.version_info[:2]):
        say(f"making {folder.name} with Python {sys.version_info.major}.{sys.version_info.minor}")
        made = (
            [uv, "venv", "--clear", "--seed", "--quiet", "--python", sys.executable, str(folder)]
            if uv else [sys.executable, "-m", "venv", "--clear", str(folder)]
        )  # fmt: skip
        run(made, settings, "install uv, or Python's own modules venv and pip (Debian: apt install python3-venv)")
    own = folder / "bin/uv"
    if not uv and not own.exists():
        pip = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes"]
        run([*pip, "--requirement", str(HERE / "installer.lock")], {}, "install uv by other means, on the PATH")
    return Uv(uv or str(own), python, settings)


def version(python: Path) -> tuple[int, ...] | None:
    """Return the major and minor version of a Python; None: it does not run."""
    ask = [str(python), "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        said = subprocess.run(ask, capture_output=True, text=True)
    except OSError:
        return None
    return tuple(int(part) for part in said.stdout.split()) if said.returncode == 0 else None


def pip_settings() -> dict[str, str]:
    """Return what uv must be told of pip's configuration; what the environment says to uv itself goes before it."""
    asked = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
    told: dict[str, str] = {}
    for line in asked.stdout.splitlines():
        key, _, value = line.partition("=")
        name = PIP_SETTINGS.get(key.rpartition(".")[2])
        if name and value:
            told[name] = " ".join(ast.literal_eval(value).split())
    if "UV_FIND_LINKS" in told:
        told["UV_FIND_LINKS"] = told["UV_FIND_LINKS"].replace(" ", ",")
    if "UV_INDEX" in told:
        told["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip: hashes say what is right, not the index
    told["UV_PYTHON_DOWNLOADS"] = "never"
    return {name: value for name, value in told.items() if name not in os.environ}


def platform_locks(uv: Uv) -> Iterator[str]:
    """Choose torch's build, install it, and return the locks of the rest.

    Raises:
        Failure: none can be had.
    """
    if sys.platform == "linux" and gpu_is_seen():
        return iter(("--requirements", str(HERE / "gpu.lock")))
    cpu, plain = ["--requirements", str(HERE / "torch-cpu.lock")], ["--requirements", str(HERE / "torch.lock")]
    if sys.platform != "linux":
        uv.install("torch", *plain)
    elif uv.finds(*cpu):
        uv.install("torch for CPUs", *cpu)
    elif uv.finds(*cpu, "--torch-backend=cpu"):
        uv.install("torch for CPUs, from PyTorch's index", *cpu, "--torch-backend=cpu")
    else:
        say("no index with CPU builds of torch is reached: its build for GPUs is taken, 3 GB more to download")
        uv.install("torch with CUDA", *plain)
    return iter(("--requirements", str(HERE / "cpu.lock")))


def run(command: Sequence[str], settings: Mapping[str, str], remedy: str) -> None:
    """Run a command that says nothing where it works.

    Raises:
        Failure: it did not.
    """
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-6:]
        raise Failure(explained("\n".join(said), remedy))


def explained(said: str, remedy: str = "") -> str:
    """Return a message with what is to be done about it."""
    for signs, known in REMEDIES.items():
        if any(sign in said.lower() for sign in signs):
            remedy = known
            break
    return "\n".join(part for part in (said.strip(), remedy, "The next call begins where it is sound.") if part)


def say(text: str) -> None:
    """Tell what is done."""
    print(f"set-up: {text}", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except Failure as failure:
        sys.exit(f"set-up: {failure}")
    except KeyboardInterrupt:
        sys.exit("set-up: interrupted. The next call begins where it is sound.")

"""Where programs run that a model wrote: in a process that the kernel confines, or in a container."""

import logging
import platform
import shutil
import sys
from abc import abstractmethod
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from star_loop.config.component import Component
from star_loop.processes.kept import KeptPool, KeptProcess, Stopped, as_many
from star_loop.processes.killable import said_by

Seconds = Annotated[float, Field(ge=0.1, le=86400)]
"""From what a program takes to begin, to a day."""
Megabytes = Annotated[int, Field(ge=64, le=1 << 24)]
"""From what Python takes for itself, to more than any machine has."""

logger = logging.getLogger(__name__)

PASSED = "passed"
_GRACE = 10.0
"""Seconds for all that is not the program's own: a new process, a busy machine."""
REMEDY = (
    "task.verifier.sandbox._target_=star_loop.verifiers.sandbox.Container where Docker or Podman is installed, or a "
    "class of your own that derives from star_loop.verifiers.sandbox.Sandbox"
)
_REFUSED = "raised PermissionError"
_SAYING = f"""
import os
for place in range(64):
    try:
        os.write(place, b"{PASSED}")
    except OSError:
        pass
os._exit(0)
"""
PROBES = {
    "reads a file": ("open('/dev/null')", _REFUSED),
    "looks into a folder": ("import os\nos.listdir('/')", _REFUSED),
    "makes a folder": ("import os\nos.mkdir('made-by-a-program')", _REFUSED),
    "makes a socket": ("import ctypes\nassert ctypes.CDLL(None).socket(2, 1, 0) >= 0", "raised AssertionError"),
    "starts a process": ("import os\nos.fork()", _REFUSED),
    "starts a program": ("import os\nos.execv('/bin/sh', ['sh', '-c', ':'])", _REFUSED),
    "signals another process": ("import os\nos.kill(os.getppid(), 0)", _REFUSED),
    "sees the environment": ("import os\nassert set(os.environ) & {'HOME', 'USER', 'PATH'}", "raised AssertionError"),
    "passes by ending before its tests": ("import os\nos._exit(0)", "ended"),
    "passes by an error of that name": (f"class {PASSED}(Exception): pass\nraise {PASSED}", f"raised {PASSED}"),
    "passes by saying so": (_SAYING, "ended"),
}
"""What no program may do: one that tries it, and how that ends."""


class Sandbox(Component):
    """A place where a program may run.

    Law: the program can reach neither files nor network nor processes of this machine, and ends within a time limit.
    """

    @property
    def at_once(self) -> int:
        """Return how many programs may run at the same time."""
        return 1

    @abstractmethod
    def passes(self, program: str) -> bool:
        """Tell whether the program runs to its last line in time, without an error."""

    def ending(self, program: str) -> str:
        """Tell in a word or two how the program ended: `passed`, or why not."""
        return PASSED if self.passes(program) else "failed"


class Confined(Sandbox):
    """A process of this machine that can only compute, with the modules of Python that need no file.

    The kernel (Linux 3.17, x86-64 or aarch64) refuses it every file, the network and other processes. It is no guard
    against a program that is written to pass for right: it can look into its own tests.
    """

    timeout: Seconds = 10.0
    """Seconds for a program with its tests."""
    memory: Megabytes = 1024
    """Megabytes of address space."""
    processes: int | None = Field(default=None, ge=1)
    """Programs that run at the same time; None: one for each core, at most 16."""

    def check(self) -> None:
        """Run programs that try what none may do.

        Raises:
            ValueError: this system confines no process, or one of them succeeds.
        """
        seconds = max(self.timeout, _GRACE)  # a short time of programs says nothing about the machine
        ended = self._ending("assert sum([1, 2]) == 3", seconds)
        if ended != PASSED:
            raise ValueError(
                f"task.verifier.sandbox: no program can be confined on this machine ({platform.system()} on "
                f"{platform.machine()}: {ended}); it takes Linux with seccomp on x86-64 or aarch64. Take {REMEDY}"
            )
        for what, (program, wanted) in PROBES.items():
            if (ended := self._ending(program, seconds)) != wanted:
                raise ValueError(
                    f"task.verifier.sandbox: on this machine a confined program {what} ({ended}): take {REMEDY}"
                )

    @property
    def at_once(self) -> int:
        """Return the number of processes."""
        return as_many(self.processes)

    def passes(self, program: str) -> bool:
        """Run the program."""
        return self.ending(program) == PASSED

    def ending(self, program: str) -> str:
        """Run the program; its error is named."""
        return self._ending(program, self.timeout)

    def _ending(self, program: str, seconds: float) -> str:
        with self._pool.lent() as process:
            try:
                return str(process.reply(seconds + _GRACE, [seconds, self.memory, program]))
            except Stopped as stopped:
                return str(stopped)

    @cached_property
    def _pool(self) -> KeptPool[KeptProcess]:
        script = str(Path(__file__).with_name("sandbox_process.py"))
        command = ("env", "-i", sys.executable, "-I", "-S", script)
        return KeptPool([KeptProcess(command) for _ in range(self.at_once)])


class Container(Sandbox):
    """A container of Docker or Podman for each program: no network, nothing writable but `/tmp`, no privileges."""

    runtime: Literal["docker", "podman"] | None = None
    """The command that runs containers; None: docker, or podman where there is no docker."""
    image: str = "python:3.12-slim"
    """Must be on this machine: nothing is pulled."""
    timeout: Seconds = 30.0
    """Seconds for a program with its tests, and for its container."""
    memory: Megabytes = 1024
    """Megabytes."""
    processes: int = Field(default=4, ge=1)
    """Containers at the same time."""

    def check(self) -> None:
        """Run a program.

        Raises:
            ValueError: there is no such command or image.
        """
        if shutil.which(self._command) is None:
            what = f"no {self.runtime}" if self.runtime else "neither docker nor podman"
            raise ValueError(f"task.verifier.sandbox: there is {what} on this machine: install it")
        if not self.passes("assert sum([1, 2]) == 3"):
            raise ValueError(
                f"task.verifier.sandbox: {self._command} does not run Python in {self.image}: try "
                f"{self._command} run --rm {self.image} python --version"
            )

    @property
    def at_once(self) -> int:
        """Return the number of containers."""
        return self.processes

    def passes(self, program: str) -> bool:
        """Run the program; what it prints last tells whether it came to its end."""
        mark = sha256(program.encode("utf-8", "replace")).hexdigest()
        options = [
            "--rm", "--interactive", "--network=none", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--pull=never",
            "--security-opt=no-new-privileges", "--user=65534:65534", "--pids-limit=64", f"--memory={self.memory}m",
        ]  # fmt: skip
        command = [self._command, "run", *options, self.image, "timeout", f"{self.timeout:g}", "python", "-I", "-"]
        source = f"{program}\nprint({mark!r})\n".encode("utf-8", "replace")
        said = said_by(command, source, self.timeout + _GRACE)
        return said is not None and said.decode(errors="replace").rstrip().endswith(mark)

    @property
    def _command(self) -> str:
        return self.runtime or next((name for name in ("docker", "podman") if shutil.which(name)), "docker")


class Usual(Sandbox):
    """A confined process where the system confines one, else a container where this machine runs one.

    Where it can have neither, nothing starts.
    """

    timeout: Seconds = 10.0
    """Seconds for a program with its tests."""
    memory: Megabytes = 1024
    """Megabytes."""
    processes: int | None = Field(default=None, ge=1)
    """Programs that run at the same time; None: one for each core, at most 16."""

    def check(self) -> None:
        """Look for one.

        Raises:
            ValueError: there is neither.
        """
        _ = self._found

    @property
    def at_once(self) -> int:
        """Return what is there."""
        return self._found.at_once

    def passes(self, program: str) -> bool:
        """Run the program there."""
        return self._found.passes(program)

    def ending(self, program: str) -> str:
        """Run the program there."""
        return self._found.ending(program)

    @cached_property
    def _found(self) -> Sandbox:
        confined = Confined(timeout=self.timeout, memory=self.memory, processes=self.processes)
        container = Container(timeout=self.timeout, memory=self.memory, processes=as_many(self.processes))
        return working(confined, container)


def working(usual: Sandbox, otherwise: Sandbox) -> Sandbox:
    """Return the first of two sandboxes that can keep programs apart here.

    Raises:
        ValueError: neither can.
    """
    try:
        usual.check()
        return usual
    except ValueError as refused:
        try:
            otherwise.check()
        except ValueError as as_well:
            raise ValueError(f"{refused} (tried: {as_well})") from as_well
        logger.info("programs run in a %s: %s", type(otherwise).__name__, refused)
        return otherwise

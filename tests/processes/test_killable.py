"""Waiting for a child: who is stopped himself blames nobody for the time that has passed."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from star_loop.generators.process import WorkerError, WorkerProcess
from star_loop.processes.kept import KeptProcess, Stopped
from star_loop.processes.killable import EndedError, KillableProcess, SilentError, pieces, said_by

SECONDS = 1.5
WAITS = {
    "a line": f"print(KillableProcess(['cat', sys.argv[1]], log=None, environment={{}}).line({SECONDS}).decode())",
    "an end": f"print((said_by(['head', '-n1', sys.argv[1]], b'', {SECONDS}) or b'too late').decode())",
}


def waits(pid: int) -> bool:
    """Tell whether a process sleeps until something comes."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "S"


def stopped_longer(process: subprocess.Popen[str], seconds: float) -> None:
    """Stop it for so long: as long as somebody else waits in vain for a silent process."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    silent = KillableProcess(["cat"], log=None, environment={})
    with pytest.raises(SilentError):
        silent.line(seconds)
    silent.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the state of another process is read from /proc")
@pytest.mark.parametrize("what", WAITS)
def test_who_was_stopped_for_longer_than_the_time_out_goes_on_waiting(what: str, tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    program = f"import sys; from star_loop.processes.killable import *; {WAITS[what]}"
    line = [sys.executable, "-c", program, str(pipe)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with pipe.open("w") as writer:  # opened as soon as the child of the other one reads
        while not waits(process.pid):
            pass
        stopped_longer(process, 2 * SECONDS)
        process.send_signal(signal.SIGCONT)
        writer.write("there\n")
    said, errors = process.communicate()
    assert (said.strip(), errors) == ("there", "")


LARGE = "x" * 10**6
"""More than a pipe holds."""
MEASURES = "import json, sys; open(sys.argv[1]).read(); print(len(json.loads(sys.stdin.readline())))"
SENDS = f"""
import sys
from star_loop.processes.killable import *
child = KillableProcess([sys.executable, '-c', {MEASURES!r}, sys.argv[1]], log=None, environment={{}})
print('sends', flush=True)
child.send('x' * 10**6, 60)
print(child.receive(60))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the state of another process is read from /proc")
def test_a_stop_of_who_sends_tears_no_message(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    line = [sys.executable, "-c", SENDS, str(pipe)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "sends\n"
    while not waits(process.pid):
        pass
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    process.send_signal(signal.SIGCONT)
    pipe.open("w").close()  # now its child reads
    said, errors = process.communicate()
    assert (said.strip(), errors) == (str(len(LARGE)), "")


def stopped(command: Sequence[str]) -> KillableProcess:
    """A child that runs no more, and has not ended."""
    child = KillableProcess(command, log=None, environment={})
    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    return child


def test_a_child_that_does_not_read_is_silent() -> None:
    child = stopped(["cat"])
    with pytest.raises(SilentError, match=r"nothing was read in 0\.1 s"):
        child.send(LARGE, 0.1)
    child.close()


def test_what_is_sent_to_a_child_that_has_ended_is_an_error() -> None:
    child = KillableProcess(["true"], log=None, environment={})
    with pytest.raises(EndedError):
        child.line(60)
    with pytest.raises(BrokenPipeError):
        child.send("x", 60)
    child.close()


def test_a_kept_process_that_does_not_read_is_replaced() -> None:
    halts = "import os, signal; print(1, flush=True); os.kill(os.getpid(), signal.SIGSTOP)"
    kept = KeptProcess((sys.executable, "-c", halts))
    for _ in range(2):
        with pytest.raises(Stopped, match="too long"):
            kept.reply(0.1, LARGE)


def test_a_worker_that_does_not_read_fails_with_the_key_of_its_time(tmp_path: Path) -> None:
    worker = WorkerProcess("star_loop.generators.vllm_worker", workspace=tmp_path, environment={}, timeout=0.1)
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(WorkerError, match=r"has not read add for 0\.1 s \(generator\.timeout\)"):
        worker.submit("add", requests=LARGE)
    worker.kill()
    worker.close()


def test_the_pieces_of_a_time_are_short_and_are_all_of_it() -> None:
    for seconds in (0.01, 0.5, 5.0, 9.5, 600.0, 14400.0):
        found = list(pieces(seconds))
        assert seconds <= sum(found) + 1e-9 < seconds + 1.0 and max(found) <= min(1.0, seconds / 10)
    assert next(pieces(1e300)) == 1.0


def test_a_command_that_fails_or_takes_too_long_says_nothing() -> None:
    assert said_by(["cat"], b"hello", 60) == b"hello"
    assert said_by(["false"], b"", 60) is None
    for told in (b"", b"hello", b"long" * 10**6):
        assert said_by(["tail", "-f", "/dev/null"], told, 0.05) is None

"""Processes that perform runs, one at a time each, on an engine that they keep."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import redirect_stdout
from dataclasses import asdict
from queue import Empty, SimpleQueue

from benchmarks.methods.runs import Engines, Row, Run, perform
from benchmarks.methods.studies import OUTPUTS

ALONE = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
"""Each worker has one core."""


def performed(runs: Sequence[Run], jobs: int) -> Iterator[Row]:
    """The rows of these runs, as they are finished, `jobs` at a time.

    Raises:
        RuntimeError: a worker ended in the middle of a run; its last words are on the screen.
    """
    queue: SimpleQueue[Run] = SimpleQueue()
    for run in runs:
        queue.put(run)
    finished: SimpleQueue[Row] = SimpleQueue()
    with ThreadPoolExecutor(jobs) as pool:
        working = [pool.submit(_feed, number, queue, finished) for number in range(jobs)]
        for _ in runs:
            while True:
                try:
                    yield finished.get(timeout=1)
                    break
                except Empty:
                    for future in working:
                        if future.done():
                            future.result()
        for future in as_completed(working):
            future.result()


def _feed(number: int, queue: "SimpleQueue[Run]", finished: "SimpleQueue[Row]") -> None:
    command = [sys.executable, "-m", "benchmarks.methods.workers", str(number)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | ALONE
    ) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        while True:
            try:
                run = queue.get_nowait()
            except Empty:
                break
            worker.stdin.write(json.dumps(asdict(run)) + "\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
            if not line:
                raise RuntimeError(f"the worker ended in {run}; its message is above")
            finished.put(Row(run=run, curve=json.loads(line)))
        worker.stdin.close()


def main() -> None:
    """A run on each line of the input, its curve on each line of the output."""
    engines = Engines(OUTPUTS / ".engines" / sys.argv[1])
    try:
        for line in sys.stdin:
            with redirect_stdout(sys.stderr):
                row = perform(Run(**json.loads(line)), OUTPUTS, engines)
            print(json.dumps(row.curve), flush=True)
    finally:
        engines.close()


if __name__ == "__main__":
    main()

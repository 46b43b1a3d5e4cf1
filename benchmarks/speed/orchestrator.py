"""Memory of the orchestrator: an iteration over a million observations, without a model."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.speed.measuring import Row, resident
from benchmarks.speed.sizes import Size

OBSERVATIONS = 10**6


def rows(size: Size, work: Path) -> Iterator[Row]:
    """The same for every model, so it is measured with the embedded one."""
    if size.name != "tiny":
        return
    path = work / "questions.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for k in range(OBSERVATIONS):
            question = f"There are {k} cats and {k % 7} birds in the field. How many legs do they have?"
            file.write(json.dumps({"question": question, "answer": str(4 * k + 2 * (k % 7))}) + "\n")
    found = []
    for k in range(2):  # it hardly varies, and takes half a minute
        command = [sys.executable, "-m", "benchmarks.speed.orchestrator", str(path), str(work / f"million{k}")]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found.append(float(said.split()[-1]))
    yield Row(
        what="memory of the orchestrator, 1M observations", against="", ours=found, unit="GB", figures=found, per="GB",
        goal=1.0, at_least=False, remark="twice",
    )  # fmt: skip


def main(path: str, outputs: str) -> None:
    """A scripted iteration; prints the peak in GB."""
    from star_loop.__main__ import main as command

    sys.argv = [
        "star_loop", "experiment=smoke", "task=file", f"task.path={path}", f"outputs={outputs}", "iterations=1",
        "~tracker.tensorboard", "~tracker.console",
    ]  # fmt: skip
    command()
    print(resident("VmHWM"))


if __name__ == "__main__":
    main(*sys.argv[1:])

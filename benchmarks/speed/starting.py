"""Weights into a live engine beside a restart of it; start to first token; what the command line takes to answer."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

from benchmarks.speed.generation import requests
from benchmarks.speed.measuring import REPETITIONS, Row, alternated, ratios, seconds
from benchmarks.speed.sizes import Size, examples, model, questions
from star_loop.generators.vllm import Vllm
from star_loop.models import Model, Pretrained
from star_loop.trainers.lora import Lora


def rows(size: Size, work: Path) -> Iterator[Row]:
    """What happens between commands and phases."""
    base = model(size, work)
    starts = Starts(base, work / "restarted")
    yield hand_over(base, work, starts)
    yield absolute("start to first token", starts.first_tokens, 20.0)
    if size.name == "tiny":
        for option in ("--help", "--cfg job"):
            found = [answer(option.split()) for _ in range(REPETITIONS)]
            yield absolute(f"`python -m star_loop {option}`", found, 1.5)


class Starts:
    """Each call starts Python, and in it an engine as the loop does; `first_tokens` has what both took together."""

    def __init__(self, base: Pretrained, workspace: Path) -> None:
        self.command = [sys.executable, "-m", "benchmarks.speed.starting", base.location, str(workspace)]
        self.first_tokens: list[float] = []

    def __call__(self) -> float:
        """Seconds of the engine's start alone, with one token."""
        began = time.perf_counter()
        with subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            took = time.perf_counter() - began
            process.communicate()
        if not said.startswith("engine "):
            raise RuntimeError(f"no token came: the process that should generate it ended with {process.returncode}")
        self.first_tokens.append(took)
        return float(said.split()[1])


def main(base: str, workspace: str) -> None:
    """Generate a token, say how long the engine took for it, and wait for the end of the input."""
    with ExitStack() as stack:
        pretrained = Pretrained(name_or_path=base, dtype="float32")
        print("engine", seconds(lambda: first_answer(stack, pretrained, Path(workspace))), flush=True)
        sys.stdin.read()


def hand_over(base: Pretrained, work: Path, restart: Starts) -> Row:
    """Two adapters in turn, each proven by its canary; a restart ends where the engine could generate."""
    adapters = [work / f"adapter{k}" for k in (0, 1)]
    for k, into in enumerate(adapters):
        into.mkdir()
        Lora(learning_rate=1e-3).train(examples(16), Model(base=base), into, steps=2, seed=k)
    with ExitStack() as stack:
        engine = stack.enter_context(Vllm(engines=1).engine(base, workspace=work / "swapped", seed=0))
        turns = cycle(adapters)

        def swap() -> float:
            return seconds(lambda: engine.serve(Model(base=base, adapter=next(turns))))

        swap()
        took, compared = alternated(swap, restart, warm=False)
    return Row(
        what="hand-over of the weights, canary included", against="restart of the engine",
        ours=took, theirs=compared, unit="s", figures=ratios(compared, took), goal=50.0,
        obstacle="the base is merged in float32, and each of its layers packed again",
    )  # fmt: skip


def first_answer(stack: ExitStack, base: Pretrained, workspace: Path) -> None:
    """Start an engine, and generate one token."""
    engine = stack.enter_context(Vllm(engines=1).engine(base, workspace=workspace, seed=0))
    engine.serve(Model(base=base))
    engine.generate(requests(questions(1), 1), seed=0)


def answer(options: Sequence[str]) -> float:
    """Seconds of a command that only shows something."""
    command = [sys.executable, "-m", "star_loop", *options]
    return seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


def absolute(what: str, found: Sequence[float], most: float) -> Row:
    """Seconds that stand alone."""
    return Row(what=what, against="", ours=found, unit="s", figures=found, per="s", goal=most, at_least=False)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Generation beside the bare engine, and several engines beside one."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.speed.measuring import Row, alternated, ratios, seconds
from benchmarks.speed.roofline import Floor
from benchmarks.speed.sizes import Size, model, questions
from star_loop.generators.process import WorkerProcess
from star_loop.generators.stream import arriving
from star_loop.generators.vllm import Vllm
from star_loop.models import Model, Pretrained
from star_loop.protocols import Engine
from star_loop.records import Completion, Observation, Request, Sampling
from star_loop.tasks.arithmetic import Arithmetic

SETTINGS = {"dtype": "float32", "enforce_eager": True, "kv_cache_memory_bytes": 2**30, "max_num_seqs": 256}
"""Of the bare engine: the best that were found (NOTES.md), which are ours."""
ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


class Bare:
    """`LLM.generate` in a process of its own, which draws once for each question, with other seeds each time.

    Args:
        stack: closes the process.
        tokens: the most that a completion may have.
    """

    def __init__(
        self, stack: ExitStack, base: Pretrained, asked: Sequence[Observation], tokens: int, workspace: Path
    ) -> None:  # fmt: skip
        task = Arithmetic()
        self._process = WorkerProcess(
            "benchmarks.speed.bare", workspace=workspace, environment=ENVIRONMENT, timeout=600
        )  # fmt: skip
        stack.callback(self.close)
        self._process.call("start", model=base.location, settings=SETTINGS)
        self._asked = {"prompts": [task.bare_prompt(observation) for observation in asked], "max_tokens": tokens}
        self._seeds = count()
        self.tokens: list[int] = []
        """Of each call."""

    def __call__(self) -> float:
        """Generate once.

        Returns:
            Tokens a second.
        """
        found = self._process.call("generate", **self._asked, seed=next(self._seeds))
        self.tokens.append(found["tokens"])
        return float(found["tokens"] / found["seconds"])

    def close(self) -> None:
        """End the process; no effect the second time."""
        self._process.close()


def rows(size: Size, work: Path) -> Iterator[Row]:
    """Each compares two live engines that take turns; the one that waits uses no core."""
    base, observations = model(size, work), questions(size.requests)
    floor = Floor(base)
    with ExitStack() as stack:
        one = started(stack, Vllm(engines=1), base, work / "one")
        bare = Bare(stack, base, observations, size.tokens, work / "bare")
        asked = requests(observations, size.tokens)
        seeds = count()
        flops: list[float] = []
        took: list[float] = []
        tokens: list[int] = []

        def ours() -> float:
            drawn: list[list[Completion]] = []
            took.append(seconds(lambda: drawn.extend(one.generate(asked, seed=next(seeds)))))
            texts = [completion for each in drawn for completion in each]
            flops.append(sum(floor.shapes.generate(text.prompt_tokens, [text.tokens]) for text in texts))
            tokens.append(sum(text.tokens for text in texts))
            return tokens[-1] / took[-1]

        measured, compared = alternated(ours, bare)
        yield Row(
            what="generation, tokens/s", against="bare `LLM.generate`, same prompts and settings",
            ours=measured, theirs=compared, unit="tokens/s", figures=ratios(measured, compared), goal=0.95,
            obstacle="two processes differ by chance: in one, both take the same time",
            remark=f"{sum(tokens):,} and {sum(bare.tokens):,} tokens",
        )  # fmt: skip
        yield floor.share("generation", flops[1:], took[1:])
        bare.close()
        yield several(stack, one, base, asked, size, work, seeds)


def several(
    stack: ExitStack, one: Engine, base: Any, ragged: Sequence[Request], size: Size, work: Path, seeds: Iterator[int]
) -> Row:
    """Two engines of one thread each, fed from one queue, on the waves that one engine takes one after the other."""
    two = started(stack, Vllm(engines=2, threads=1), base, work / "two")
    waves = [ragged[k::2] for k in range(2)]

    def with_barrier() -> float:
        return rate(lambda: [one.generate(wave, seed=next(seeds)) for wave in waves])

    def from_a_queue() -> float:
        seed = 1000 * next(seeds)
        left = {k: replace(request, seed=seed + k) for k, request in enumerate(ragged)}
        return rate(lambda: [list(drawn.values()) for drawn in arriving(two, partial(taken, left))])

    measured, compared = alternated(from_a_queue, with_barrier)
    return Row(
        what="generation, ragged lengths, two engines fed from one queue", against="one engine, waves with a barrier",
        ours=measured, theirs=compared, unit="tokens/s", figures=ratios(measured, compared), goal=1.3,
        obstacle="one engine with a thread for each core leaves little idle",
    )  # fmt: skip


def started(stack: ExitStack, generator: Vllm, base: Any, workspace: Path) -> Engine:
    """A live engine that serves the base."""
    engine = stack.enter_context(generator.engine(base, workspace=workspace, seed=0))
    engine.serve(Model(base=base))
    return engine


def taken(left: dict[int, Request], room: int) -> dict[int, Request]:
    """Take as many requests as there is room for."""
    return {number: left.pop(number) for number in list(left)[:room]}


def requests(observations: Sequence[Observation], tokens: int) -> list[Request]:
    """One draw for each observation."""
    task, sampling = Arithmetic(), Sampling(temperature=1.0, top_p=1.0, max_tokens=tokens, stop=())
    return [
        Request(prompt=task.bare_prompt(observation), observation=observation, sampling=sampling, seed=k)
        for k, observation in enumerate(observations)
    ]


def rate(act: Callable[[], list[Any]]) -> float:
    """Tokens over seconds of what `act` generates."""
    began = time.perf_counter()
    waves = act()
    took = time.perf_counter() - began
    return sum(completion.tokens for wave in waves for drawn in wave for completion in drawn) / took

"""The floor: operations of each phase over the peak of a matrix product, measured in the same process."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.speed.generation import requests, started
from benchmarks.speed.measuring import REPETITIONS, Row, seconds
from benchmarks.speed.sizes import Size, examples, model, questions
from star_loop.flops import peak_flops, shapes_of
from star_loop.generators.vllm import Vllm
from star_loop.records import Model
from star_loop.tasks.arithmetic import Arithmetic
from star_loop.trainers.lora import Lora

WEIGHT_BYTES = 4


def rows(size: Size, work: Path) -> Iterator[Row]:
    """Share of the peak, for the record: where the rest goes is in NOTES.md."""
    base, task = model(size, work), Arithmetic()
    shapes, peak = shapes_of(base), peak_flops(base)
    sets = [task.bare_prompt(observation) for observation in questions(size.requests)]
    asked, generated = requests(sets, size.tokens), []
    with ExitStack() as stack:
        engine = started(stack, Vllm(), base, work / "floor")
        for k in range(REPETITIONS + 1):
            found: list[int] = []
            took = seconds(lambda k=k, found=found: found.extend(
                shapes.generate(drawn[0].prompt_tokens, [drawn[0].tokens]) for drawn in engine.generate(asked, seed=k)
            ))  # fmt: skip
            generated.append(100 * sum(found) / took / peak)
    trained, lora, given = [], Lora(threads=size.threads), examples(size.examples)
    for _ in range(REPETITIONS + 1):
        with tempfile.TemporaryDirectory() as into:
            figures: dict[str, float] = {}
            took = seconds(lambda into=into, figures=figures: figures.update(
                lora.train(given, Model(base=base), Path(into), steps=None, seed=0)
            ))  # fmt: skip
            trained.append(100 * figures["flops_exact"] / took / peak)
    size_of = f"peak {peak / 1e9:.0f} GFLOP/s, {shapes.parameters * WEIGHT_BYTES / 1e6:.1f} MB of weights"
    for what, shares in (("generation", generated[1:]), ("LoRA round", trained[1:])):
        yield Row(
            what=f"{what}: share of the peak of a matrix product", against="", ours=shares, unit="%",
            figures=shares, per="%", goal=None, remark=size_of,
        )  # fmt: skip

"""Peaks of memory, each in a fresh process: a LoRA round with a wide vocabulary, the orchestrator without a model."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.speed.measuring import Row, ratios, resident
from benchmarks.speed.sizes import WIDE, Size, random_llama
from benchmarks.speed.training import round_, supervised
from star_loop.models import Pretrained
from star_loop.records import Example
from star_loop.seeding import rng
from star_loop.trainers.lora import Lora

OBSERVATIONS = 10**6


def rows(size: Size, work: Path) -> Iterator[Row]:
    """The orchestrator is the same for every model, so it is measured with the embedded one."""
    sides = ("ours", "theirs") * 3
    random_llama(work / "wide", WIDE)
    wide = [("lora", side, json.dumps(size.wide_batch), str(work / "wide")) for side in sides]
    million = []
    if size.name == "tiny":
        million = [("million", str(questions(work)), str(work / f"run{k}")) for k in range(2)]
    with ThreadPoolExecutor(2) as pool:  # no time is taken here, so two at a time
        rounds, orchestrators = pool.map(peak, wide), pool.map(peak, million)
    found, orchestrator = list(rounds), list(orchestrators)
    ours, theirs = found[::2], found[1::2]
    yield Row(
        what="peak memory of a LoRA round, vocabulary of 128k", against="TRL `SFTTrainer` + PEFT, same batches",
        ours=ours, theirs=theirs, unit="GB", figures=ratios(ours, theirs), goal=0.5, at_least=False,
        remark="three times",
    )  # fmt: skip
    if orchestrator:
        yield Row(
            what="memory of the orchestrator, 1M observations", against="", ours=orchestrator, unit="GB",
            figures=orchestrator, per="GB", goal=1.0, at_least=False, remark="twice",
        )  # fmt: skip


def peak(measured: Sequence[str]) -> float:
    """GB, as one of the functions below finds them in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.speed.memory", *measured]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(said.split()[-1])


def questions(work: Path) -> Path:
    """A million of them as JSON Lines."""
    path = work / "questions.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for k in range(OBSERVATIONS):
            question = f"There are {k} cats and {k % 7} birds in the field. How many legs do they have?"
            file.write(json.dumps({"question": question, "answer": str(4 * k + 2 * (k % 7))}) + "\n")
    return path


def lora(side: str, shape: str, wide: str) -> float:
    """What a round of one step adds to a process that has imported what it needs."""
    import datasets  # noqa: F401
    import trl  # noqa: F401

    from star_loop.trainers import finetuning  # noqa: F401

    sequences, prompt, completion = json.loads(shape)
    luck = rng(0, "wide")

    def text(tokens: int) -> str:
        return "".join(f"<{k}>" for k in luck.integers(1000, WIDE["vocab_size"], tokens))

    given = [
        Example(position=k, id=str(k), prompt=text(prompt), completion=text(completion), weight=1.0)
        for k in range(sequences)
    ]
    base, trainer = Pretrained(name_or_path=wide, dtype="float32"), Lora(batch_size=sequences)
    before = resident()
    if side == "ours":
        round_(trainer, base, given)
    else:
        supervised(trainer, base, given).train()
    return resident("VmHWM") - before


def million(path: str, outputs: str) -> float:
    """All that an iteration with scripted texts takes."""
    from star_loop.__main__ import main as command

    sys.argv = [
        "star_loop", "experiment=smoke", "task=file", f"task.path={path}", f"outputs={outputs}", "iterations=1",
        "~tracker.tensorboard", "~tracker.console",
    ]  # fmt: skip
    command()
    return resident("VmHWM")


if __name__ == "__main__":
    print({"lora": lora, "million": million}[sys.argv[1]](*sys.argv[2:]))

"""What a GPU shows that no CPU can: `python -m benchmarks.gpu [--into gpu.json]`, ten minutes on one GPU or more.

The model has the shape of Qwen2.5-0.5B and random weights: nothing is downloaded. Each step is a row of the table and
of the JSON file; one that fails says why, and the others go on.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.speed.generation import taken
from benchmarks.speed.measuring import seconds
from star_loop.generators.process import WorkerProcess
from star_loop.generators.serving import HALF_NOISE, Canary
from star_loop.generators.stream import arriving
from star_loop.generators.vllm import Vllm
from star_loop.generators.vllm_internals import ENVIRONMENT
from star_loop.generators.vllm_window import installed, missing
from star_loop.models import Model, Pretrained
from star_loop.models.device import gpus
from star_loop.protocols import Engine
from star_loop.records import Request, Sampling
from star_loop.tasks.arithmetic import Arithmetic

QWEN = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
        "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 151936}  # fmt: skip
"""The shape of Qwen2.5-0.5B."""
REQUESTS, TOKENS = 4096, 256
HALF = 0.45
"""Share of a GPU's memory for each of two engines that take turns."""
PACKAGES = ("torch", "vllm", "transformers", "peft", "trl")
Figures = Mapping[str, float | str]


@dataclass(frozen=True, slots=True)
class Row:
    """What a step has shown."""

    step: str
    figures: Figures
    seconds: float
    failure: str = ""

    def line(self) -> str:
        """Return it as a row of a table in Markdown."""
        shown = ", ".join(f"{name} {value:,.4g}" if isinstance(value, float) else f"{name} {value}"
                          for name, value in self.figures.items())  # fmt: skip
        return f"| {self.step} | {self.failure or shown} | {self.seconds:.0f} s |"


@dataclass
class Bench:
    """What the steps share."""

    base: Pretrained
    work: Path
    rows: list[Row] = field(default_factory=list)

    def step(self, name: str, act: Callable[[], Figures]) -> None:
        """Do a step, and tell what came of it; a failure is a row too."""
        began, figures, failure = time.perf_counter(), dict[str, float | str](), ""
        try:
            figures = dict(act())
        except Exception as error:  # whatever a first GPU brings: the other steps are worth having
            failure = f"failed: {type(error).__name__}: {str(error).strip()[-600:]}".replace("\n", " / ")
        self.rows.append(Row(name, figures, time.perf_counter() - began, failure))
        print(self.rows[-1].line(), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write it.

    Returns:
        0; 1 where there is no GPU or a step has failed.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--into", type=Path, default=Path("gpu.json"), help="the JSON file")
    into = parser.parse_args(arguments).into
    if not (found := gpus()):
        print("benchmarks.gpu measures GPUs, and nvidia-smi lists none here. On a CPU: make bench", file=sys.stderr)
        return 1
    print("| step | figures | took |\n|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="star_loop-gpu-") as work:
        bench = Bench(
            Pretrained(name_or_path=str(random_model(Path(work) / "base", QWEN)), dtype="bfloat16"), Path(work)
        )
        bench.step("machine", partial(machine, len(found)))
        measure(bench, len(found))
    rows = [{"step": r.step, "figures": r.figures, "seconds": r.seconds, "failure": r.failure} for r in bench.rows]
    into.write_text(json.dumps({"gpus": [gpu.name for gpu in found], "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return int(any(row.failure for row in bench.rows))


def measure(bench: Bench, count: int) -> None:
    """Do all steps that need a GPU."""
    adapter = bench.work / "adapter"
    bench.step("LoRA, ours beside TRL", partial(training, bench, adapter))
    with ExitStack() as stack:
        engine: list[Any] = []
        bench.step("start", partial(start, stack, bench, engine, "one", gpu_memory_utilization=HALF))
        if engine:
            asked = requests(REQUESTS, TOKENS)
            bench.step("generation beside bare vLLM", partial(generation, stack, bench, engine[0], asked))
            bench.step("hand-over, and what the canary sees", partial(hand_over, bench, engine[0], adapter))
            bench.step("sleep and wake", partial(sleep, engine[0], Model(base=bench.base, adapter=adapter)))
    if count > 1:
        bench.step("two GPUs write what one writes", partial(sharded, bench, adapter))
    bench.step("two iterations", partial(iterations, bench))


def machine(count: int) -> Figures:
    """Tell what is installed, and whether vLLM has all that is used of it."""
    import torch

    found: dict[str, float | str] = {"GPUs": float(count), "usable": float(torch.cuda.device_count())}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return {**found, "missing in vLLM": "; ".join(missing(installed())) or "nothing"}


def start(stack: ExitStack, bench: Bench, into: list[Any], name: str, **keys: Any) -> Figures:
    """Start an engine that serves the base, and put it into the list."""
    began = time.perf_counter()
    engine = stack.enter_context(Vllm(**keys).engine(bench.base, workspace=bench.work / name, seed=0))
    engine.serve(Model(base=bench.base))
    engine.generate(requests(1, 1), seed=0)
    into.append(engine)
    return {"seconds to the first token": time.perf_counter() - began, "slots": float(getattr(engine, "slots", 0))}


def generation(stack: ExitStack, bench: Bench, engine: Engine, asked: Sequence[Request]) -> Figures:
    """Measure tokens a second of a stream, and of the bare engine on the same prompts, twice each in turn."""
    worker = WorkerProcess("benchmarks.speed.bare", workspace=bench.work / "bare", environment=ENVIRONMENT, timeout=600)
    stack.callback(worker.close)
    settings = {"dtype": "bfloat16", "gpu_memory_utilization": HALF}
    worker.call("start", model=bench.base.location, settings=settings)
    ours, theirs = [], []
    for number in range(3):
        left = dict(enumerate(asked))
        began, tokens = time.perf_counter(), 0
        for came in arriving(engine, partial(taken, left)):
            tokens += sum(completion.tokens for drawn in came.values() for completion in drawn)
        ours.append(tokens / (time.perf_counter() - began))
        prompts = [request.prompt for request in asked]
        bare = worker.call("generate", prompts=prompts, max_tokens=TOKENS, seed=number)
        theirs.append(bare["tokens"] / bare["seconds"])
    worker.close()
    return {"tokens/s": max(ours[1:]), "bare": max(theirs[1:]), "ratio": max(ours[1:]) / max(theirs[1:])}


def hand_over(bench: Bench, engine: Any, adapter: Path) -> Figures:
    """Time swaps to an adapter and back; compare what the engine measures on the canary with what the trainer saw."""
    swaps = [seconds(lambda m=model: engine.serve(m)) for model in (Model(base=bench.base, adapter=adapter),
             Model(base=bench.base), Model(base=bench.base, adapter=adapter))]  # fmt: skip
    return {"seconds": min(swaps), "first": swaps[0], **noise(engine, adapter)}


def noise(engine: Any, adapter: Path) -> Figures:
    """Nats per token between engine and trainer under the adapter that is served; how far the adapter moved them."""
    canary = Canary.read(adapter)
    if canary is None:
        raise ValueError(f"{adapter} has no canary.json")
    tokens = sum(map(len, canary.prompts))
    now = engine.logprobs(canary.prompts)
    apart = sum(abs(a - b) for a, b in zip(now, canary.after, strict=True)) / tokens
    moved = sum(abs(a - b) for a, b in zip(canary.before, canary.after, strict=True)) / tokens
    return {"noise": apart, "allowed": HALF_NOISE, "moved": moved}


def sleep(engine: Any, model: Model) -> Figures:
    """Memory that `release` gives back, and how long it and waking take."""
    before = free()
    slept = seconds(engine.release)
    between = free()
    woke = seconds(lambda: engine.serve(model))
    return {"GiB given back": (between - before) / 2**30, "GiB kept": (free() - before) / 2**30,
            "seconds asleep": slept, "seconds awake": woke}  # fmt: skip


def training(bench: Bench, adapter: Path) -> Figures:
    """A LoRA round of ours, which leaves the adapter, and TRL's with packing: tokens of the texts a second, memory."""
    import torch

    from benchmarks.speed.sizes import examples
    from benchmarks.speed.training import supervised
    from star_loop.trainers.lora import Lora

    given, lora = examples(2048), Lora(learning_rate=1e-4, epochs=1)
    adapter.mkdir()
    torch.cuda.reset_peak_memory_stats()
    found: dict[str, float] = {}
    took = seconds(lambda: found.update(lora.train(given, Model(base=bench.base), adapter, steps=None, seed=0)))
    ours, peak = found["tokens"] / took, torch.cuda.max_memory_allocated() / 2**30
    torch.cuda.empty_cache()
    theirs = supervised(lora, bench.base, given, use_cpu=False, bf16=True, packing=True, max_length=1024)
    alone = seconds(theirs.train) + theirs.construction
    del theirs
    gc.collect()
    torch.cuda.empty_cache()
    return {"tokens/s": ours, "TRL": found["tokens"] / alone, "ratio": alone / took, "GiB": peak, "loss": found["loss"]}


def sharded(bench: Bench, adapter: Path) -> Figures:
    """Greedy texts of one GPU and of two that share the model, in a workspace whose path is long."""
    texts = []
    for gpus_each in (1, 2):
        with ExitStack() as stack:
            found: list[Any] = []
            workspace = "/".join([f"tensor-parallel-{gpus_each}"] * 6)
            start(stack, bench, found, workspace, tensor_parallel_size=gpus_each, gpu_memory_utilization=HALF)
            found[0].serve(Model(base=bench.base, adapter=adapter))
            greedy = [
                Request(prompt=r.prompt, observation=r.observation, sampling=Sampling(temperature=0.0, max_tokens=16))
                for r in requests(64, 16)
            ]
            texts.append([drawn[0].text for drawn in found[0].generate(greedy, seed=0)])
    same = sum(one == two for one, two in zip(*texts, strict=True)) / len(texts[0])
    return {"same texts": same}


def iterations(bench: Bench) -> Figures:
    """Two iterations of the whole loop by its command, with a verifier that chance decides."""
    command = [
        sys.executable, "-m", "star_loop", "name=run", f"outputs={bench.work}", "iterations=2",
        f"model.name_or_path={bench.base.name_or_path}", "model.dtype=bfloat16", "trainer.learning_rate=1e-4",
        "generator.max_tokens=64", "task.verifier._target_=benchmarks.speed.chance.Chance", "task.verifier.share=0.5",
        "task.test_per_level=5", "~tracker.tensorboard",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {(done.stdout + done.stderr)[-600:]}")
    figures = json.loads((bench.work / "run/iterations/0002/metrics.json").read_text())
    names = ("seconds/total", "seconds/collect", "seconds/train", "seconds/evaluate", "machine/surplus", "train/loss")
    return {name: float(figures[name]) for name in names if name in figures}


def random_model(into: Path, shape: Mapping[str, int]) -> Path:
    """Write a Llama of this shape with random weights and the embedded model's tokenizer, in bfloat16."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from star_loop.embedded import TINY

    config = AutoConfig.from_pretrained(TINY, **shape, tie_word_embeddings=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(into)
    AutoTokenizer.from_pretrained(TINY).save_pretrained(into)
    return into


def requests(count: int, tokens: int) -> list[Request]:
    """One draw for each of so many questions of the embedded task."""
    train = Arithmetic().train()
    sampling, task = Sampling(temperature=1.0, max_tokens=tokens), Arithmetic()
    chosen = [train[k % len(train)] for k in range(count)]
    return [Request(prompt=task.bare_prompt(o), observation=o, sampling=sampling, seed=k) for k, o in enumerate(chosen)]


def free() -> int:
    """Bytes that the first GPU has free, whoever uses the others."""
    import torch

    return int(torch.cuda.mem_get_info()[0])


if __name__ == "__main__":
    sys.exit(main())

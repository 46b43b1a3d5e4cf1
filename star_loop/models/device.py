"""What a model's weights are computed with: this machine's GPU, or its CPU."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, as `nvidia-smi` names it."""

    name: str
    memory: float
    """Bytes."""


def gpus() -> list[Gpu]:
    """List all GPUs of this machine; neither torch nor CUDA is loaded."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):  # no driver: no GPU
        return []
    rows = (line.rpartition(",") for line in found.splitlines())
    return [Gpu(name.strip(), int(size) * 2**20) for name, _, size in rows if size.strip().isdigit()]


def device() -> Literal["cuda", "cpu"]:
    """Tell where torch should put weights.

    Raises:
        ValueError: there is a GPU that torch cannot use, so hours would pass on the CPU without a word. An empty
            CUDA_VISIBLE_DEVICES says that this is wanted.
    """
    import torch

    if torch.cuda.is_available():
        return "cuda"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if not hidden and (seen := gpus()):
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        raise ValueError(
            f"nvidia-smi lists {len(seen)} GPUs ({seen[0].name}), and torch {torch.__version__}, {built}, can use none "
            "of them: install a newer driver or the torch that fits it (python -m star_loop.doctor), or export "
            "CUDA_VISIBLE_DEVICES= to compute on the CPU"
        )
    return "cpu"


def multiplies_bfloat16() -> bool:
    """Tell whether products in bfloat16 are no slower than in float32 where weights are computed with.

    With AVX2 alone, each number is widened on its way: products take four to six times as long.
    """
    import torch

    return torch.cuda.is_available() or torch.backends.cpu.get_cpu_capability() != "AVX2"


def free_memory() -> int:
    """Return the bytes that are free where weights are computed with: of the GPU, or of what this process may use.

    Linux's estimate of what can be had without swapping, and a container's limit; elsewhere all of the memory.
    """
    if device() == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    group, machine = Path("/sys/fs/cgroup"), Path("/proc/meminfo")
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if machine.exists():
        fields = dict(line.split(":") for line in machine.read_text().splitlines())
        free = int(fields["MemAvailable"].split()[0]) * 1024
    limit, used = group / "memory.max", group / "memory.current"
    if limit.exists() and (written := limit.read_text().strip()).isdigit():
        free = min(free, int(written) - int(used.read_text()))
    return free


@contextmanager
def lent(model: Any) -> Iterator[Any]:
    """Put a model where it is computed with, and give its memory back afterwards, so that an engine can wake up there.

    Args:
        model: a torch module; it has no weights any more when the context is left.
    """
    placed = model.to(device())
    try:
        yield placed
    finally:
        give_back(placed)


def give_back(model: Any) -> None:
    """Drop a model's weights, whoever still holds the model, and the memory that torch keeps for the next ones."""
    import torch

    model.to("meta")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

"""The cores and GPUs of this machine, and which of them each engine gets."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from star_loop.models.device import gpus

if TYPE_CHECKING:
    from star_loop.models import Pretrained

ROOM = 0.8
"""Share of an engine's memory that the weights may take."""
SMALL = 32 * 2**20
"""Bytes of the weights of a small model."""


def places(engines: int | Literal["auto"], gpus_each: int) -> list[Mapping[str, str]]:
    """Return `divide` of the GPUs that this process sees.

    Raises:
        ValueError: there are not enough of them.
    """
    return divide(engines, gpus_each, visible_gpus())


def divide(engines: int | Literal["auto"], gpus_each: int, gpus: Sequence[str]) -> list[Mapping[str, str]]:
    """Return what each engine's process gets in its environment: GPUs of its own, or its part of the cores.

    Args:
        engines: how many; `auto`: as many as there are GPUs for, one where there is no GPU.
        gpus_each: GPUs that share one copy of the model.
        gpus: their names.

    Raises:
        ValueError: there are not enough GPUs.
    """
    count = max(1, len(gpus) // gpus_each) if engines == "auto" else engines
    if not gpus:
        given = count == 1 or "OMP_NUM_THREADS" in os.environ
        return [{} if given else {"OMP_NUM_THREADS": str(max(1, cores() // count))}] * count
    if count * gpus_each > len(gpus):
        raise ValueError(
            f"generator.engines={engines} with generator.tensor_parallel_size={gpus_each} need {count * gpus_each} "
            f"GPUs, and {len(gpus)} are seen: lower one of them, or check CUDA_VISIBLE_DEVICES"
        )
    return [{"CUDA_VISIBLE_DEVICES": ",".join(gpus[k * gpus_each : (k + 1) * gpus_each])} for k in range(count)]


def engines_on_cores(base: "Pretrained") -> int:
    """Count the engines that a machine without a GPU is best filled with: one, or two of a small model."""
    return 2 if is_small(base) and cores() > 1 and not gpus() else 1


def is_small(base: "Pretrained") -> bool:
    """Tell whether vLLM's Python takes longer than the model's products."""
    weights = sum(file.stat().st_size for file in base.directory.glob("*.safetensors")) if base.directory else 0
    return 0 < weights <= SMALL


def stated(gpus_each: int | Literal["auto"]) -> int:
    """Count the GPUs of an engine while its model is not known: `auto` counts as one."""
    return 1 if gpus_each == "auto" else gpus_each


def fewest(base: "Pretrained", dtype: str, utilization: float) -> int:
    """Return `spread` of a model over the GPUs that this process sees; 1 where there is no choice.

    Args:
        base: the model.
        dtype: of the weights; `auto`: its own.
        utilization: share of a GPU's memory that may be taken.

    Raises:
        ValueError: it does not fit.
    """
    found = gpus()
    count = len(visible_gpus()) if len(found) > 1 else 1  # a single engine's start does not wait for torch here
    if count < 2:
        return 1
    import torch

    from star_loop.accounting.flops import shapes_of

    each: torch.dtype = getattr(torch, generating_dtype(base, dtype))
    return spread(shapes_of(base).parameters * each.itemsize, utilization * min(gpu.memory for gpu in found), count)


def dtype_name(dtype: Any) -> str:
    """Spell a dtype of torch's as configurations do.

    Example:
        >>> dtype_name("torch.float32")
        'float32'
    """
    return str(dtype).removeprefix("torch.")


def generating_dtype(base: "Pretrained", wanted: str) -> str:
    """Name the dtype in which an engine computes; `auto` is what the trainer computes in.

    vLLM's own rule would round float32 to bfloat16.
    """
    from star_loop.models.weights import computing_dtype

    return wanted if wanted != "auto" else dtype_name(computing_dtype(base))


def spread(weights: float, memory: float, count: int) -> int:
    """Return the fewest GPUs, a power of two, that hold a copy of the weights and leave a fifth for keys and values.

    Args:
        weights: bytes.
        memory: bytes of a GPU that may be taken.
        count: GPUs.

    Raises:
        ValueError: all of them do not.
    """
    each = 1
    while weights > ROOM * memory * each:
        each *= 2
    if each > count:
        most = 1 << (count.bit_length() - 1)
        raise ValueError(
            f"the weights take {weights / 2**30:.1f} GiB, more than {ROOM:.0%} of {most} times the "
            f"{memory / 2**30:.1f} GiB that may be taken of a GPU: take a smaller model or more GPUs, or say "
            "generator.tensor_parallel_size"
        )
    return each


def visible_gpus() -> list[str]:
    """List the GPUs as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named is not None else [str(index) for index in range(count)]


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

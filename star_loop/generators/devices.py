"""Where each of several engines on one machine works."""

import os
from collections.abc import Mapping, Sequence
from typing import Literal


def places(engines: int | Literal["auto"], gpus_each: int) -> list[Mapping[str, str]]:
    """`divide` of the GPUs that this process sees.

    Raises:
        ValueError: there are not enough of them.
    """
    return divide(engines, gpus_each, visible_gpus())


def divide(engines: int | Literal["auto"], gpus_each: int, gpus: Sequence[str]) -> list[Mapping[str, str]]:
    """What each engine's process gets in its environment: GPUs of its own, or its part of the cores.

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


def visible_gpus() -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named is not None else [str(index) for index in range(count)]


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

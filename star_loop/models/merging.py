"""A base and its adapter as one stream of checkpoint tensors, so that no second copy of the model is ever held.

This is a torch module: import it inside functions, never at the top of a module that the loop imports.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

from star_loop.models import Model, Pretrained
from star_loop.models.weights import checkpoint_weights, load_merged, read_adapter

_PLAIN = {
    "peft_type": "LORA", "use_dora": False, "lora_bias": False, "bias": "none", "fan_in_fan_out": False,
    "rank_pattern": {}, "alpha_pattern": {}, "modules_to_save": None, "target_parameters": None,
    "trainable_token_indices": None, "megatron_config": None,
}  # fmt: skip
"""What an adapter says of itself whose update of a layer is scale · B·A, and which has no other."""
_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class Update:
    """A layer's update: `scale` · `b` [outputs, r] · `a` [r, inputs]."""

    a: Tensor
    b: Tensor
    scale: float

    def added_to(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """Return [outputs, inputs]: the sum in float32, rounded once to `dtype`."""
        a, b = self.a.to(weight.device, torch.float32), self.b.to(weight.device, torch.float32)
        return (weight.to(torch.float32) + (b @ a) * self.scale).to(dtype)


def merged_weights(model: Model, dtype: torch.dtype, device: str = "cpu") -> Iterator[tuple[str, Tensor]]:
    """Stream the merged model: what `checkpoint_weights` has, bit for bit, one tensor at a time.

    An adapter that is more than plain LoRA, or a base whose layers are called otherwise on disk, is merged by PEFT in
    memory instead.

    Args:
        model: the base and its adapter.
        dtype: of what is streamed.
        device: where the sums are computed.

    Raises:
        ValueError: the base or the adapter cannot be loaded, or cannot be merged.
    """
    found = updates(model.update) if model.update is not None else {}
    files = checkpoint_files(model.root) if found is not None else None
    if found is None or files is None or not set(found) <= set(files):
        yield from checkpoint_weights(load_merged(model, dtype)).items()
        return
    for path in dict.fromkeys(files.values()):
        with safe_open(path, framework="pt", device=device) as stored:
            for name in stored.keys():  # noqa: SIM118 (it is no mapping)
                weight = stored.get_tensor(name)
                update = found.get(name)
                yield name, update.added_to(weight, dtype) if update else _rounded(weight, dtype)


def updates(adapter: Path) -> Mapping[str, Update] | None:
    """Read each checkpoint tensor's update; None: the adapter is not plain LoRA.

    Raises:
        ValueError: the adapter is damaged.
    """
    config, matrices = read_adapter(adapter)
    if any(config.get(key, plain) not in (plain, None) for key, plain in _PLAIN.items()):
        return None
    rank, found = config["r"], {}
    scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
    for name, a in matrices.items():
        layer, _, kind = name.partition(".lora_")
        if kind == "A.weight":
            b = matrices[f"{layer}.lora_B.weight"]
            found[f"{layer.removeprefix(_PREFIX)}.weight"] = Update(a, b, scale)
        elif kind != "B.weight":
            return None
    return found


def checkpoint_files(base: Pretrained) -> Mapping[str, str] | None:
    """Find each tensor's file on disk; None: the base has no safetensors in the usual places."""
    import json

    if (index := _file(base, SAFE_WEIGHTS_INDEX_NAME)) is not None:
        names: dict[str, str] = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"]
        found = {file: _file(base, file) for file in dict.fromkeys(names.values())}
        return {name: path for name, file in names.items() if (path := found[file]) is not None}
    if (single := _file(base, SAFE_WEIGHTS_NAME)) is None:
        return None
    with safe_open(single, framework="pt") as stored:
        return dict.fromkeys(stored.keys(), single)


def _file(base: Pretrained, name: str) -> str | None:
    missing_is_none: dict[str, Any] = {
        "_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False
    }  # fmt: skip
    found: str | None = cached_file(base.location, name, revision=base.revision or "main", **missing_is_none)
    return found


def _rounded(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.to(dtype) if weight.is_floating_point() else weight

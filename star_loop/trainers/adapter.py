"""What PEFT puts on a base, goes on with and writes: the adapter of a round, without its training.

This is a torch module: import it inside functions, never at the top of a module that the loop imports.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from star_loop.models import Pretrained
from star_loop.models.weights import read_adapter, refuse_tied, skeleton
from star_loop.trainers.keys import LoraKeys


def lora_config(settings: LoraKeys) -> LoraConfig:
    """Return the settings as PEFT takes them."""
    return LoraConfig(
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules="all-linear" if settings.target_modules == "all-linear" else list(settings.target_modules),
        task_type="CAUSAL_LM",
    )


def check_targets(settings: LoraKeys, base: Pretrained) -> None:
    """Try the LoRA matrices on a model without weights.

    Raises:
        ValueError: the base has none of `target_modules`, or they cannot be merged (`refuse_tied`).
    """
    model = skeleton(base)
    with warnings.catch_warnings(action="ignore"):  # of tied weights, which are refused here
        try:
            adapted = get_peft_model(model, lora_config(settings))
        except ValueError as error:
            raise ValueError(f"trainer.target_modules={list(settings.target_modules)}: {error}") from error
    refuse_tied(adapted, base)


def continue_from(model: Any, adapter: Path, config: LoraConfig) -> None:
    """Load the weights of an earlier round.

    Raises:
        ValueError: they are damaged, or have another shape than this round's.
    """
    stored, weights = read_adapter(adapter)
    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    here, there = (config.r, config.lora_alpha), (stored.get("r"), stored.get("lora_alpha"))
    if here != there or _shapes(wanted) != _shapes(weights):
        raise ValueError(
            f"cannot go on from {adapter}: it has r={there[0]}, lora_alpha={there[1]} and {len(weights)} matrices, the "
            f"trainer r={here[0]}, lora_alpha={here[1]} and {len(wanted)}. Keep trainer.r, trainer.lora_alpha and "
            "trainer.target_modules as they were, or set start_from=base."
        )
    set_peft_model_state_dict(model, weights)


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in weights.items()}


def write_adapter(model: Any, adapter: Mapping[str, Tensor], base: Pretrained, into: Path) -> None:
    """`adapter_model.safetensors` and `adapter_config.json` as PEFT reads them, with equal bytes for equal weights.

    (PEFT's own `save_pretrained` adds a README and writes the target modules in the order of a Python set.)
    """
    path = into / "adapter_model.safetensors"
    try:
        save_file({name: value.cpu().contiguous() for name, value in adapter.items()}, path)
    except SafetensorError as error:  # a full or failing disk
        raise OSError(f"cannot write {path}: {error}") from error
    fields = model.peft_config["default"].to_dict()
    fields |= {"base_model_name_or_path": base.name_or_path, "revision": base.revision, "inference_mode": True}
    text = json.dumps(fields, indent=2, sort_keys=True, default=sorted)
    (into / "adapter_config.json").write_text(text + "\n", encoding="utf-8")

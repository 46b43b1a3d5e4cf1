"""What PEFT puts on a base, goes on with and writes: the adapter of a round, without its training.

This is a torch module: import it inside functions, never at the top of a module that the loop imports.
"""

import json
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft import __version__ as peft_version
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from star_loop.models import Pretrained, is_whole
from star_loop.models.skeleton import skeleton
from star_loop.models.tied import refuse_tied
from star_loop.models.weights import read_adapter
from star_loop.trainers.keys import LoraKeys, method_of
from star_loop.trainers.optimizers import check_factors, check_matrices
from star_loop.trainers.peft_fields import PATTERNS, refusal

SCALING = ("use_rslora", "use_dora", "alpha_pattern")
"""Fields that change what the same matrices mean."""
_SIZES = {
    "LORA": {"r": "r", "lora_alpha": "lora_alpha", "lora_dropout": "lora_dropout"},
    "LOHA": {"r": "r", "lora_alpha": "alpha"}, "LOKR": {"r": "r", "lora_alpha": "alpha"},
    "GRALORA": {"r": "r", "lora_alpha": "alpha"}, "DELORA": {"r": "r"}, "VERA": {"r": "r"},
    "MISS": {"r": "r"}, "HRA": {"r": "r"}, "OFT": {},
}  # fmt: skip
SIZES = {method: sizes for method, sizes in _SIZES.items() if method in PEFT_TYPE_TO_CONFIG_MAPPING}
"""The installed PEFT's methods that start from the base's own function and merge into it -> our keys and their fields'
names."""


def peft_config(settings: LoraKeys) -> PeftConfig:
    """Return the settings as PEFT takes them: of LoRA, or of the method that `trainer.peft.peft_type` names.

    Raises:
        ValueError: a method, or a field of `trainer.peft`, that PEFT does not have, that has a key of its own, or that
            cannot be trained, served and merged.
    """
    method = settings.method
    if method not in SIZES:
        raise ValueError(
            f"trainer.peft.peft_type={method}: no such method of PEFT {peft_version} that starts from the base's own "
            f"function and can be merged into it: there are {', '.join(SIZES)}"
        )
    if settings.lora_dropout and "lora_dropout" not in SIZES[method]:
        raise ValueError(f"trainer.lora_dropout={settings.lora_dropout}: {method} has none: set it to 0")
    kind = PEFT_TYPE_TO_CONFIG_MAPPING[method]
    for name, value in settings.peft.items():
        if reason := refusal(kind, name, value):
            raise ValueError(f"trainer.peft.{name}: {reason}")
    targets = settings.target_modules
    sizes = {field: getattr(settings, key) for key, field in SIZES[method].items()}
    fields = {name: value for name, value in settings.peft.items() if name != "peft_type"}
    try:
        return kind(
            target_modules="all-linear" if targets == "all-linear" else list(targets),
            task_type="CAUSAL_LM", **sizes, **fields,
        )  # fmt: skip
    except Exception as error:  # what the library makes of values that do not go together is of many kinds
        raise ValueError(f"trainer.peft={dict(settings.peft)}: PEFT refuses it: {error}") from error


def check_targets(settings: LoraKeys, base: Pretrained) -> None:
    """Try the matrices on a model without weights.

    Raises:
        ValueError: the base has no module of a name that is given, PEFT refuses a field, what is trained cannot be
            merged (`refuse_tied`), a rate factor is of nothing that is trained (`check_factors`), or Muon is given what
            is no matrix (`check_matrices`).
    """
    config, model = peft_config(settings), skeleton(base)
    _check_names(settings, model)
    with warnings.catch_warnings(action="ignore"):  # of tied weights, which are refused here
        try:
            adapted = get_peft_model(model, config)
        except Exception as error:  # what the library makes of values that do not go together is of many kinds
            targets = settings.target_modules
            named = f"trainer.target_modules={targets if isinstance(targets, str) else list(targets)}"
            if settings.peft:
                named += f", trainer.peft={dict(settings.peft)}"
            raise ValueError(f"{named}: {error if isinstance(error, ValueError) else repr(error)}") from error
    refuse_tied(adapted, base)
    _check_patterns(settings, adapted)
    check_factors(settings, adapted)
    check_matrices(settings, adapted)


def _check_names(settings: LoraKeys, model: Any) -> None:
    """Refuse names that the base does not have: PEFT would put nothing there, and say nothing."""
    modules = [name for name, _ in model.named_modules() if name]
    excluded = settings.peft.get("exclude_modules") or ()
    if isinstance(excluded, str) and not any(re.fullmatch(excluded, name) for name in modules):
        raise ValueError(f"trainer.peft.exclude_modules={excluded}: this matches the whole name of no module")
    given = {
        "target_modules": settings.target_modules, "peft.exclude_modules": excluded,
        "peft.modules_to_save": settings.peft.get("modules_to_save") or (),
    }  # fmt: skip
    for key, names in given.items():
        for name in () if isinstance(names, str) else names:
            if not _within(name, modules):
                raise ValueError(f"trainer.{key}: the base has no module {name}: there are {_last_parts(modules)}")
    parameters = [name for name, _ in model.named_parameters()]
    for name in settings.peft.get("target_parameters") or ():
        if not _within(name, parameters):
            raise ValueError(
                f"trainer.peft.target_parameters: the base has no parameter {name}: they are called like "
                f"{parameters[-1]}"
            )
    _check_layers(settings, modules)


def _check_layers(settings: LoraKeys, modules: Iterable[str]) -> None:
    """Refuse layers that the base does not have; the first number in a module's name is its layer's."""
    numbers = {int(number[0]) for name in modules if (number := re.search(r"(?<=\.)\d+(?=\.|$)", name))}
    wanted = settings.peft.get("layers_to_transform")
    for layer in [wanted] if isinstance(wanted, int) else wanted or ():
        if layer not in numbers:
            there = f"there are {min(numbers)} to {max(numbers)}" if numbers else "its layers have no numbers"
            raise ValueError(f"trainer.peft.layers_to_transform: the base has no layer {layer}: {there}")


def _check_patterns(settings: LoraKeys, adapted: Any) -> None:
    """Refuse patterns that PEFT would warn of: they match nothing that has matrices."""
    trained = [*adapted.targeted_module_names, *getattr(adapted, "targeted_parameter_names", ())]
    for field in PATTERNS:
        for pattern in settings.peft.get(field) or ():
            if not any(re.match(rf"(.*\.)?({pattern})$", name) for name in trained):
                raise ValueError(
                    f"trainer.peft.{field}: {pattern!r} matches no module that is trained: there are "
                    f"{_last_parts(trained)}"
                )


def _within(name: str, there: Iterable[str]) -> bool:
    """Tell whether a name is one of these, or the end of one, from a dot on: PEFT's rule."""
    return any(f".{one}".endswith(f".{name}") for one in there)


def _last_parts(names: Iterable[str]) -> str:
    return ", ".join(sorted({part for name in names if not (part := name.rpartition(".")[2]).isdigit()}))


def continue_from(model: Any, adapter: Path, config: PeftConfig) -> None:
    """Load the weights of an earlier round.

    Raises:
        ValueError: they are damaged, or have another shape than this round's.
    """
    if is_whole(adapter):
        raise ValueError(
            f"cannot go on from {adapter}: it is a whole model, of trainer=full, and trainer=lora keeps the base as it "
            "is. Set start_from=base, or give model.name_or_path that directory in a new run."
        )
    stored, weights = read_adapter(adapter)
    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    ours = config.to_dict()
    ours["peft_type"] = method_of(ours)
    other = stored.get("peft_type", "LORA") != ours["peft_type"]
    sizes = ["peft_type"] if other else [name for name in ("r", "lora_alpha", "alpha") if name in ours]
    here, there = ({name: fields.get(name) for name in sizes} for fields in (ours, stored))
    if here != there or _shapes(wanted) != _shapes(weights):
        raise ValueError(
            f"cannot go on from {adapter}: it has {_listed(there)} and {len(weights)} matrices, the trainer "
            f"{_listed(here)} and {len(wanted)}. Keep trainer.r, trainer.lora_alpha, trainer.target_modules and "
            "trainer.peft as they were, or set start_from=base."
        )
    for name in SCALING:
        if name in stored and stored[name] != ours.get(name):
            raise ValueError(
                f"cannot go on from {adapter}: it has {name}={stored[name]!r}, trainer.peft.{name}={ours.get(name)!r}. "
                "Keep it as it was, or set start_from=base."
            )
    set_peft_model_state_dict(model, weights)


def _listed(sizes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sizes.items()) or "other settings"


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in weights.items()}


def write_adapter(model: Any, adapter: Mapping[str, Tensor], base: Pretrained, into: Path) -> None:
    """Write `adapter_model.safetensors` and `adapter_config.json` for PEFT, with equal bytes for equal weights.

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

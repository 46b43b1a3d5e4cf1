"""The optimisers of a round, by name. A torch module: import it inside functions."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from star_loop.trainers.keys import LoraKeys, RoundKeys


def optimizer_of(settings: RoundKeys, model: Any) -> torch.optim.Optimizer:
    """Make the optimiser of all trainable parameters; each group's `factor` multiplies the schedule's learning rate.

    Raises:
        ValueError: see `check_factors` and `check_matrices`.
    """
    check_factors(settings, model)
    check_matrices(settings, model)
    groups: dict[float, list[Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(factor_of(settings, name), []).append(parameter)
    listed = [{"params": parameters, "factor": factor} for factor, parameters in groups.items()]
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "muon":
        return torch.optim.Muon(listed, lr=rate, weight_decay=decay, momentum=settings.betas[0])
    if settings.optimizer == "adamw_8bit":
        from bitsandbytes.optim.adamw import AdamW8bit

        make: Any = AdamW8bit
        found: torch.optim.Optimizer = make(listed, lr=rate, betas=settings.betas, weight_decay=decay)
        return found
    return torch.optim.AdamW(listed, lr=rate, betas=settings.betas, weight_decay=decay, fused=True)


def check_factors(settings: RoundKeys, model: Any) -> None:
    """Look whether every part of a name in `rate_factors` is in the name of a parameter that is trained.

    Raises:
        ValueError: one is in none, or all that is trained has a rate of 0.
    """
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    for part in settings.rate_factors:
        if not any(part in name for name in names):
            there = sorted({word for name in names for word in name.split(".") if not word.isdigit()})
            raise ValueError(
                f"trainer.rate_factors: {part!r} is in the name of no parameter that is trained; they are made of "
                f"{', '.join(there)}"
            )
    if names and not any(factor_of(settings, name) for name in names):
        raise ValueError(
            f"trainer.rate_factors={dict(settings.rate_factors)}: all that is trained has a rate of 0, so that nothing "
            "would move: give a factor above 0 to something"
        )


def check_matrices(settings: RoundKeys, model: Any) -> None:
    """Look whether Muon, where it is the optimiser, is given nothing but matrices.

    Raises:
        ValueError: a parameter that is trained is none.
    """
    for name, parameter in model.named_parameters() if settings.optimizer == "muon" else ():
        if parameter.requires_grad and parameter.ndim != 2:
            raise ValueError(
                f"trainer.optimizer=muon orthogonalises matrices, and {name} has {parameter.ndim} dimensions: take "
                f"adamw, or leave {_asked_by(settings, name)}"
            )


def _asked_by(settings: RoundKeys, name: str) -> str:
    """Name the key that has a parameter trained."""
    peft = settings.peft if isinstance(settings, LoraKeys) else {}
    if ".modules_to_save." in name:
        return f"its module out of trainer.peft.modules_to_save={peft.get('modules_to_save')}"
    given = next((key for key in ("use_dora", "peft_type") if peft.get(key)), None)
    return f"out trainer.peft.{given}={peft[given]}" if given else "its module out of trainer.target_modules"


def factor_of(settings: RoundKeys, name: str) -> float:
    """Multiply the factors of all parts that the parameter's name contains."""
    factor = 1.0
    for part, times in settings.rate_factors.items():
        factor *= times if part in name else 1.0
    return factor


def spoilt(optimizer: torch.optim.Optimizer, here: Callable[[Tensor], Tensor]) -> bool:
    """Tell whether a weight, or what the optimiser keeps of it, is no finite number any more.

    A second moment that has overflowed shows in no loss: its weight only stands still from then on.

    Args:
        optimizer: after a step.
        here: what of a tensor this process holds.
    """
    found = [part for _, tensor in _kept(optimizer) if (part := here(tensor)).numel() and part.is_floating_point()]
    return not bool(torch.nn.utils.get_total_norm(found, torch.inf).isfinite())


def first_spoilt(optimizer: torch.optim.Optimizer, model: Any) -> str:
    """Name what `spoilt` has found; another process may have found it."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for (kind, parameter), tensor in _kept(optimizer):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            return f"{kind} of {names.get(id(parameter), 'a parameter')}"
    return "a number"


def _kept(optimizer: torch.optim.Optimizer) -> Iterator[tuple[tuple[str, Any], Tensor]]:
    """Yield each parameter, and each tensor of its state, with what it is and of what."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            yield ("a weight", parameter), parameter.detach()
    for parameter, state in optimizer.state.items():
        for kind, value in state.items():
            if isinstance(value, Tensor):
                yield (f"the optimiser's {kind}", parameter), value

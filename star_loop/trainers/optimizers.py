"""The optimisers of a round, by name. A torch module: import it inside functions."""

from typing import Any

import torch

from star_loop.trainers.keys import RoundKeys


def optimizer_of(settings: RoundKeys, model: Any) -> torch.optim.Optimizer:
    """Make the optimiser of all trainable parameters; each group's `factor` multiplies the schedule's learning rate.

    Raises:
        ValueError: Muon is given a parameter that is no matrix.
    """
    groups: dict[float, list[Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            if settings.optimizer == "muon" and parameter.ndim != 2:
                raise ValueError(
                    f"trainer.optimizer=muon orthogonalises matrices, and {name} has {parameter.ndim} dimensions: take "
                    "adamw, or leave it out of trainer.peft.modules_to_save"
                )
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


def factor_of(settings: RoundKeys, name: str) -> float:
    """Multiply the factors of all parts that the parameter's name contains."""
    factor = 1.0
    for part, times in settings.rate_factors.items():
        factor *= times if part in name else 1.0
    return factor

"""Weights that two layers share, and what of them cannot be merged."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from star_loop.models import Pretrained

_BASE = (".base_layer.weight", ".original_module.weight")
"""How PEFT calls the weight of a layer that it has put matrices on, or that it trains a copy of."""


def refuse_tied(adapted: Any, pretrained: Pretrained) -> None:
    """Refuse a PEFT model with LoRA matrices on a weight that two layers share.

    Only one of the layers has the matrices, and summing them into the shared weight would change both: the merged
    model, which engines serve and an export holds, would be another function than the trained one.

    Raises:
        ValueError: names the layers.
    """
    named = list(adapted.get_base_model().named_parameters(remove_duplicate=False))
    users: dict[int, list[str]] = defaultdict(list)
    for name, weight in named:
        users[id(weight)].append(name)
    groups = [names for names in users.values() if len(names) > 1 and not _trained_as_one(names, dict(named))]
    tied = [name.rsplit(".", 2)[0] for names in groups for name in names if name.endswith(_BASE)]
    if tied:
        raise ValueError(
            f"LoRA matrices on {' and '.join(tied)}: {pretrained.name_or_path!r} ties its output layer to its "
            "embeddings, so they cannot be merged into one and not into the other. Take these layers out of "
            "trainer.target_modules, or give a copy of the model that was saved with tie_word_embeddings=false."
        )


def _trained_as_one(names: Sequence[str], weights: Mapping[str, Any]) -> bool:
    """Tell whether the layers that share a weight share its trained copy too (PEFT's `ensure_weight_tying`)."""
    ending = ".original_module.weight"
    copies = [weights.get(name.replace(ending, ".modules_to_save.default.weight")) for name in names]
    return all(name.endswith(ending) for name in names) and len(set(map(id, copies))) == 1

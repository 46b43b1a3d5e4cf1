"""LoRA rounds by TRL's `SFTTrainer`, for its options and for comparison."""

import importlib.util
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from star_loop.models import Model, Pretrained
from star_loop.protocols import Progress
from star_loop.trainers.batches import Encoded, Step
from star_loop.trainers.lora import Lora

OWN = ("loss", "optimizer", "rate_factors", "packing", "max_tokens_per_batch")
"""Keys that mean nothing to TRL."""


class Trl(Lora):
    """TRL trains; what is asked of a round stays: the batches, the learning rate of each step, LoRA matrices that moved
    and nothing else, finite numbers, a canary, PEFT's files.

    Example:
        >>> Trl(r=8, sft={"neftune_noise_alpha": 5}).batch_size_of(100)
        8
    """

    heeds_weights: ClassVar[bool] = False

    sft: Mapping[str, Any] = {}
    """Further fields of TRL's `SFTConfig`, such as optim, loss_type, neftune_noise_alpha, padding_free."""

    def check_base(self, base: Pretrained) -> None:
        """Look for TRL, for keys that it would not heed, and for fields of `SFTConfig` that a round cannot leave to it.

        Raises:
            ValueError: names the first.
        """
        if importlib.util.find_spec("trl") is None:
            raise ValueError("trainer=trl needs TRL: pip install 'star_loop[trl]', or take trainer=lora")
        usual = type(self).model_fields
        for key in OWN:
            if getattr(self, key) != usual[key].default:
                raise ValueError(f"trainer.{key}={getattr(self, key)}: trainer=trl does not heed it: take trainer=lora")
        if base.quantization:
            raise ValueError(
                f"model.quantization={base.quantization}: TRL would keep LoRA's matrices in bfloat16: take trainer=lora"
            )
        super().check_base(base)
        if self.sft:
            from star_loop.trainers.supervised import check_fields, check_values

            check_fields(self.sft)
            check_values(base, self.sft, self)

    def carry_out(
        self, batches: Sequence[Sequence[Encoded]], start: Model, into: Path, *, seed: int, progress: Progress | None
    ) -> Sequence[Step]:
        """Train on the sequences of each step; what every step saw.

        Raises:
            ValueError: the examples have different weights, of which TRL knows nothing.
        """
        from star_loop.trainers import finetuning
        from star_loop.trainers.supervised import fit

        weights = {one.weight for batch in batches for one in batch}
        if max(weights) - min(weights) > 1e-9 * max(weights):
            raise ValueError(
                f"trainer=trl knows no weights of examples, and these have {min(weights):g} to {max(weights):g}: take "
                "trainer=lora, or selectors that do not weigh"
            )
        steps = partial(fit, start.base, self.sft)
        return finetuning.run(self, batches, start, into, seed=seed, progress=progress, fit=steps)

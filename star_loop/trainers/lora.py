"""LoRA fine-tuning with PEFT."""

from collections.abc import Sequence

from star_loop.models import Pretrained
from star_loop.trainers.keys import LoraKeys
from star_loop.trainers.round import Round

MERGED_ONLY = ("use_dora", "modules_to_save", "target_parameters")
"""Fields of PEFT's that vLLM's LoRA does not know."""


class Lora(LoraKeys, Round):
    """Low-rank adaptation (LoRA, arXiv 2106.09685) of a causal LM: a round writes a PEFT adapter.

    Example:
        >>> Lora(r=8, learning_rate=1e-3, epochs=2, batch_size=32).batch_size_of(20)
        20
    """

    def check_base(self, base: Pretrained) -> None:
        """Look whether PEFT takes the settings for this base, what they train can be merged, and attention is as asked.

        `all-linear` without further fields always fits.
        """
        super().check_base(base)
        if base.quantization and self.method != "LORA":
            raise ValueError(
                f"model.quantization={base.quantization} is for LoRA: leave trainer.peft.peft_type={self.method} out"
            )
        if self.target_modules != "all-linear" or self.peft or self.rate_factors:
            from star_loop.trainers.adapter import check_targets

            check_targets(self, base)

    def check_beside(self, rank: int) -> None:
        """Look for what vLLM's LoRA cannot apply, and for a rank that is too high for it."""
        other = ["peft_type"] if self.method != "LORA" else []
        for name in (*other, *MERGED_ONLY):
            if self.peft.get(name):
                raise ValueError(
                    f"trainer.peft.{name} cannot be served with generator.adapter=lora: set generator.adapter=merge"
                )
        highest = max([self.r, *self.peft.get("rank_pattern", {}).values()])
        if highest > rank:
            raise ValueError(
                f"the adapters have rank {highest}, and generator.max_lora_rank={rank}: raise it, or lower trainer.r"
            )

    def shape_flops(self, sequences: Sequence[tuple[int, int]], base: Pretrained) -> int:
        """Count as if every layer had LoRA's matrices of rank `r`."""
        from star_loop.accounting.flops import shapes_of

        return shapes_of(base, self.target_modules).train(sequences, self.r)

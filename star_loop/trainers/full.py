"""Full fine-tuning: every weight of the base moves."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from star_loop.accounting.memory import WHOLE
from star_loop.models import Pretrained
from star_loop.trainers.round import Round


class Full(Round):
    """Every weight is trained, in float32, and written in the base's dtype: a round makes a model directory.

    Where the base is in bfloat16, products are computed in it, and weights are rounded to it once a round. The base on
    disk is only read.

    Example:
        >>> Full(epochs=2, batch_size=32).bytes_each
        16
    """

    whole: ClassVar[bool] = True

    learning_rate: float = Field(1e-5, gt=0)
    """The highest, after the warm-up; a tenth of what suits LoRA."""
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    """`adamw_8bit` keeps the moments in 8 bits (arXiv 2110.02861); it needs bitsandbytes."""

    @property
    def bytes_each(self) -> int:
        """Bytes for each weight in a round: see `accounting/memory.py`."""
        return WHOLE if self.optimizer == "adamw" else WHOLE - 6

    def check_base(self, base: Pretrained) -> None:
        """Look whether this machine has the memory for what each weight takes, and the base is and attends as asked."""
        from star_loop.trainers.students import check_memory

        super().check_base(base)
        if base.quantization:
            raise ValueError(
                f"model.quantization={base.quantization}: weights of so few bits cannot be trained: take trainer=lora"
            )
        check_memory(base, self.bytes_each)
        if self.rate_factors:
            from star_loop.models.skeleton import skeleton
            from star_loop.trainers.optimizers import check_factors

            check_factors(self, skeleton(base))

    def check_beside(self, rank: int) -> None:
        """Refuse an engine that merges nothing: there is no adapter."""
        raise ValueError(
            "trainer=full makes whole models, which generator.adapter=lora cannot serve: set generator.adapter=merge"
        )

    def shape_flops(self, sequences: Sequence[tuple[int, int]], base: Pretrained) -> int:
        """Count three forward passes for each sequence: every weight has a gradient."""
        from star_loop.accounting.flops import shapes_of

        return shapes_of(base).train_whole(sequences)

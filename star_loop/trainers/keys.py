"""The keys of a LoRA round, which its plan and its torch half share. No torch here."""

from typing import Annotated, Literal

from pydantic import Field

from star_loop.config.component import Component


class LoraKeys(Component):
    """Hyper-parameters of low-rank adaptation (LoRA, arXiv 2106.09685) and of its optimiser, AdamW."""

    r: int = Field(32, ge=1)
    """Rank of the update."""
    lora_alpha: float = Field(64, gt=0)
    """The update is scaled by lora_alpha / r."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """Of the update's input, in training."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Every linear layer but the LM head, or names such as [q_proj, v_proj]."""
    thinking: bool = True
    """Whether the reasoning of a thinking model, up to its `</think>`, is learned, or the reply after it alone."""
    learning_rate: float = Field(2e-4, ge=0)
    """The highest, after the warm-up."""
    lr_scheduler_type: Literal["linear", "constant"] = "linear"
    """After the warm-up: fall linearly to `min_lr_ratio` of `learning_rate`, or stay."""
    min_lr_ratio: float = Field(0.0, ge=0, le=1)
    """Where the learning rate ends, over `learning_rate`."""
    warmup_steps: int = Field(0, ge=0)
    """Optimiser steps of linear rise."""
    epochs: float = Field(1.0, gt=0)
    """Passes over the examples where the schedule gives no number of steps."""
    max_epochs: float | None = Field(None, gt=0)
    """At most so many passes where it does; null: as many as the steps take, as in the papers."""
    batch_size: int = Field(8, ge=1)
    """Sequences per optimiser step."""
    max_tokens_per_batch: int | None = Field(None, ge=1)
    """Padded tokens at once; a step accumulates the gradients of as many micro-batches as it takes, with the same
    result. Null: 4096 on a GPU; 2048 on a CPU, where what fits the cache is fastest."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """AdamW's decay rates of the two moments."""
    max_grad_norm: float | None = Field(1.0, gt=0)
    """Longer gradients are scaled down to this norm; null: never."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, a third more time."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; null: torch's own choice."""

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of step 0 … steps-1."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.lr_scheduler_type == "constant":
            return self.learning_rate
        left = (steps - step) / max(steps - self.warmup_steps, 1)
        return self.learning_rate * (self.min_lr_ratio + (1 - self.min_lr_ratio) * left)

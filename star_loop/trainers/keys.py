"""The keys of a round, which its plan and its torch half share. No torch here."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from star_loop.config.component import Component


class RoundKeys(Component):
    """Hyper-parameters of an optimiser and of what it is given, whatever it moves."""

    thinking: bool = True
    """Whether the reasoning of a thinking model, up to its `</think>`, is learned, or the reply after it alone."""
    loss: Literal["nll", "rift", "rift_tokens", "dpo"] = "nll"
    """`nll`: the likelihood of what was selected. The others use wrong rationales too, which `selectors=contrast` or
    `pairs` keeps: `rift` (arXiv 2601.09253) lowers their probability, `rift_tokens` that of each of their tokens, and
    `dpo` prefers the right ones to them, question by question (iterative RPO, arXiv 2404.19733)."""
    dpo_beta: float = Field(0.1, gt=0)
    """With `dpo`: how much a preference weighs, β; the higher, the closer to the model that the round starts from."""
    dpo_alpha: float = Field(1.0, ge=0)
    """With `dpo`: the weight of the right rationale's likelihood per token, α; 0: DPO alone (arXiv 2305.18290)."""
    learning_rate: float = Field(2e-4, gt=0)
    """The highest, after the warm-up."""
    lr_scheduler_type: Literal["linear", "cosine", "wsd", "constant"] = "linear"
    """After the warm-up: fall to `min_lr_ratio` of `learning_rate`, linearly or as half a cosine; or stay, with `wsd`
    until the last `decay_ratio` of the steps, in which it falls linearly (warm-up, stable, decay; arXiv 2404.06395)."""
    decay_ratio: float = Field(0.2, gt=0, le=1)
    """With `wsd`: the share of the steps in which the learning rate falls."""
    min_lr_ratio: float = Field(0.0, ge=0, le=1)
    """Where the learning rate ends, over `learning_rate`."""
    rate_factors: Mapping[str, Annotated[float, Field(ge=0)]] = {}
    """Part of a parameter's name -> a factor of its learning rate; {lora_B: 16} is LoRA+ (arXiv 2402.12354)."""
    optimizer: Literal["adamw", "adamw_8bit", "muon"] = "adamw"
    """`adamw_8bit` keeps the moments in 8 bits (arXiv 2110.02861) and needs bitsandbytes; `muon` steps by
    orthogonalised momenta and needs matrices."""
    warmup_steps: int = Field(0, ge=0)
    """Optimiser steps of linear rise."""
    epochs: float = Field(1.0, gt=0)
    """Passes over the examples where the schedule gives no number of steps."""
    max_epochs: float | None = Field(None, gt=0)
    """At most so many passes where it does; null: as many as the steps take, as in the papers."""
    batch_size: int = Field(8, ge=1)
    """Sequences per optimiser step."""
    packing: bool = False
    """Lay the sequences of a micro-batch end to end instead of padding them to one length; each still sees itself
    alone, so the result is the same but for rounding."""
    attention: str | None = Field(None, min_length=1)
    """transformers' implementation of attention: eager, sdpa, flash_attention_2, flex_attention, …; null: the model's
    own choice."""
    kernels: Literal["liger"] | None = None
    """Fused kernels: `liger` (arXiv 2410.10989; on a GPU, with the extra `liger`). Before each round their
    losses are compared with the model's own."""
    max_tokens_per_batch: int | None = Field(None, ge=1)
    """Tokens at once, with padding if there is any; a step accumulates the gradients of as many micro-batches as it
    takes, with the same result. Null: 4096 on a GPU; 2048 on a CPU, where what fits the cache is fastest."""
    weight_decay: float = Field(0.0, ge=0)
    """Of the optimiser, decoupled from the gradient."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """AdamW's decay rates of the two moments."""
    max_grad_norm: float | None = Field(1.0, gt=0)
    """Longer gradients are scaled down to this norm; null: never."""
    gradient_checkpointing: bool | None = None
    """Compute activations twice instead of keeping them: less memory, a third more time. Null: where keeping them would
    take more than half of the memory that is free."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; null: torch's own choice."""

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of step 0 … steps-1."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.lr_scheduler_type == "constant":
            return self.learning_rate
        falling = max(steps - self.warmup_steps, 1)
        if self.lr_scheduler_type == "wsd":
            falling = max(min(falling, round(self.decay_ratio * steps)), 1)
        left = min((steps - step) / falling, 1.0)
        if self.lr_scheduler_type == "cosine":
            left = 0.5 * (1 - math.cos(math.pi * left))
        return self.learning_rate * (self.min_lr_ratio + (1 - self.min_lr_ratio) * left)


class LoraKeys(RoundKeys):
    """Hyper-parameters of low-rank adaptation (LoRA, arXiv 2106.09685)."""

    r: int = Field(32, ge=1)
    """Rank of the update."""
    lora_alpha: float = Field(64, gt=0)
    """The update is scaled by lora_alpha / r."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """Of the update's input, in training."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Every linear layer but the LM head, or names such as [q_proj, v_proj]."""
    peft: Mapping[str, Any] = {}
    """Further fields of PEFT's `LoraConfig`, such as use_rslora, use_dora, rank_pattern, modules_to_save; or another
    method of PEFT's and its fields, by peft_type: LOHA, LOKR, OFT, …"""

    @property
    def method(self) -> str:
        """Return PEFT's name of the method: see `method_of`."""
        return method_of(self.peft)


def method_of(fields: Mapping[str, Any]) -> str:
    """Return PEFT's name of the method that its fields are of.

    Example:
        >>> method_of({"use_dora": True}), method_of({"peft_type": "loha"})
        ('LORA', 'LOHA')
    """
    method = fields.get("peft_type") or "LORA"
    return str(getattr(method, "value", method)).upper()

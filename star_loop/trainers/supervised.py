"""The steps of a round by TRL's `SFTTrainer`. A torch module: import it inside functions."""

import dataclasses
import difflib
import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from peft import get_peft_model
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer
from trl import __version__ as trl_version

from star_loop.errors import TrainingError
from star_loop.models import Pretrained
from star_loop.models.skeleton import skeleton
from star_loop.models.weights import computing_dtype, load_tokenizer
from star_loop.protocols import Progress
from star_loop.trainers.adapter import peft_config
from star_loop.trainers.attention import NAME
from star_loop.trainers.batches import Encoded, Step
from star_loop.trainers.forward import Forward
from star_loop.trainers.keys import LoraKeys
from star_loop.trainers.optimizers import first_spoilt, spoilt
from star_loop.trainers.placement import Placement
from star_loop.trainers.students import causal_of, load_base

SET = {
    "output_dir", "max_steps", "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps",
    "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "warmup_ratio", "weight_decay",
    "adam_beta1", "adam_beta2",
    "max_grad_norm", "seed", "use_cpu", "bf16", "fp16", "gradient_checkpointing", "packing", "max_length",
    "train_sampling_strategy", "report_to", "save_strategy", "eval_strategy", "logging_steps", "logging_strategy",
    "logging_nan_inf_filter", "disable_tqdm", "remove_unused_columns", "shuffle_dataset", "completion_only_loss",
    "use_liger_kernel", "liger_kernel_config",
}  # fmt: skip
"""Fields that have a key of their own, or that a round sets."""
_OF_A_VALUE = (TypeError, ValueError, ImportError, AttributeError, KeyError)
"""What values of a wrong kind end in, inside the libraries; a full disk or exhausted memory is something else."""


def check_fields(sft: Mapping[str, Any]) -> None:
    """Compare with the fields that the installed TRL has.

    Raises:
        ValueError: there is no such field, or a round sets it.
    """
    known = {field.name for field in dataclasses.fields(SFTConfig) if field.init}
    for name in sft:
        if name in SET:
            raise ValueError(f"trainer.sft.{name}: a round sets this, by a key of its own where there is one: leave it")
        if name not in known:
            close = difflib.get_close_matches(name, known - SET, n=1)
            hint = f"did you mean {close[0]}?" if close else "see TRL's SFTConfig"
            raise ValueError(f"trainer.sft.{name}: TRL {trl_version} has no such field: {hint}")


def check_values(base: Pretrained, sft: Mapping[str, Any], settings: LoraKeys) -> None:
    """Make TRL's trainer, its optimiser and its first rows on a model without weights.

    Raises:
        ValueError: TRL, or a library of its, refuses a value.
    """
    model, one = get_peft_model(skeleton(base), peft_config(settings)), Encoded(ids=[0, 0], prompt=1)
    forward = Forward(half=computing_dtype(base) == torch.bfloat16)
    try:
        with tempfile.TemporaryDirectory() as work:
            trainer = _Weightless(
                settings, model=model, args=_config(sft, settings, forward, [[one]], work),
                train_dataset=Dataset.from_list([_row(one)]), processing_class=load_tokenizer(base),
            )  # fmt: skip
            trainer.create_optimizer()
            next(iter(trainer.get_train_dataloader()))
    except Exception as error:  # what the libraries make of values is of many kinds
        raise ValueError(f"trainer.sft={dict(sft)}: TRL refuses it: {type(error).__name__}: {error}") from error


def fit(
    base: Pretrained, sft: Mapping[str, Any], settings: LoraKeys, student: Placement,
    batches: Sequence[Sequence[Encoded]], forward: Forward, progress: Progress | None,
) -> list[Step]:  # fmt: skip
    """Train on the batches, in their order; what every step saw.

    Raises:
        TrainingError: a loss, a gradient norm, a weight or a number of the optimiser's is not finite; or TRL cannot use
            a value of `sft`.
    """
    disable_progress_bars()
    logging.getLogger("trl").setLevel(logging.ERROR)
    causal = causal_of(student.model)
    usual = causal.config._attn_implementation
    if usual == NAME:  # which takes no padding-free rows without their beginnings
        causal.set_attn_implementation("sdpa")
    try:
        with tempfile.TemporaryDirectory() as work:
            watch = _Watch(student, batches, progress)
            trainer = _OurRates(
                settings,
                model=student.model,
                args=_config(sft, settings, forward, batches, work),
                train_dataset=Dataset.from_list([_row(one) for batch in batches for one in batch]),
                processing_class=load_tokenizer(base),
                callbacks=[watch],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
    except _OF_A_VALUE as error:
        if not sft:
            raise
        raise TrainingError(f"trainer.sft={dict(sft)}: TRL fails with it: {type(error).__name__}: {error}") from error
    finally:
        causal.set_attn_implementation(usual)
        load_base.cache_clear()  # TRL leaves its own forward pass in the model
    return watch.curve


def _config(
    sft: Mapping[str, Any], settings: LoraKeys, forward: Forward, batches: Sequence[Sequence[Encoded]], work: str
) -> SFTConfig:
    chosen = {
        "output_dir": work, "max_steps": len(batches), "per_device_train_batch_size": len(batches[0]),
        "learning_rate": settings.learning_rate, "weight_decay": settings.weight_decay,
        "adam_beta1": settings.betas[0], "adam_beta2": settings.betas[1],
        "max_grad_norm": settings.max_grad_norm or 0.0, "seed": torch.initial_seed() % 2**32,
        "use_cpu": not torch.cuda.is_available(), "bf16": forward.half, "gradient_checkpointing": False,
        "max_length": None, "train_sampling_strategy": "sequential", "report_to": "none", "save_strategy": "no",
        "logging_steps": 1, "logging_nan_inf_filter": False, "disable_tqdm": True,
    }  # fmt: skip
    return SFTConfig(**chosen, **sft)


class _OurRates(SFTTrainer):  # type: ignore[misc]
    """TRL's trainer with the learning rates of a round: its own warm-up begins at 0 and `constant` has none."""

    def __init__(self, settings: LoraKeys, **given: Any) -> None:
        self.settings = settings
        super().__init__(**given)

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LambdaLR:
        """Return what gives the optimiser the rate of each step."""
        highest = self.settings.learning_rate
        self.lr_scheduler = LambdaLR(
            optimizer or self.optimizer, lambda step: self.settings.rate(step, num_training_steps) / highest
        )
        return self.lr_scheduler


class _Weightless(_OurRates):
    """The same for a model that no device can take."""

    def _move_model_to_device(self, model: Any, device: torch.device) -> None:
        """Leave it: it has no numbers."""


def _row(one: Encoded) -> dict[str, list[int]]:
    ids = list(one.ids)
    return {"input_ids": ids, "labels": [-100] * one.first_target + ids[one.first_target :]}


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Keeps the curve, tells of every step, and ends a round that lost a number."""

    def __init__(self, student: Placement, batches: Sequence[Sequence[Encoded]], progress: Progress | None) -> None:
        self.student, self.batches, self.progress = student, batches, progress
        self.curve: list[Step] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Look at the weights and the optimiser."""
        optimizer = given["optimizer"]
        if spoilt(optimizer, self.student.here):
            raise self._lost(state, f"{first_spoilt(optimizer, self.student.model)} is not a finite number")
        if self.progress:
            self.progress(1)

    def on_log(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Look at the loss."""
        logs = given["logs"]
        if "loss" not in logs:
            return
        losses = sum(one.losses for one in self.batches[len(self.curve)])
        correct = round(logs.get("mean_token_accuracy", 0.0) * losses)
        step = Step(loss=logs["loss"], correct=correct, grad_norm=logs["grad_norm"])
        self.curve.append(step)
        if not (math.isfinite(step.loss) and math.isfinite(step.grad_norm)):
            raise self._lost(state, f"loss {step.loss}, gradient norm {step.grad_norm}")

    def _lost(self, state: Any, what: str) -> TrainingError:
        return TrainingError(
            f"step {state.global_step} of {state.max_steps}: {what}. Lower trainer.learning_rate, or set "
            "trainer.warmup_steps."
        )

"""What a round trains, and how it is written: LoRA matrices on a frozen base, or every weight.

This is a torch module: import it inside functions, never at the top of a module that the loop imports.
"""

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import PeftModel, get_peft_model
from transformers import PreTrainedModel

from star_loop.accounting.flops import shapes_of
from star_loop.errors import TrainingError
from star_loop.models import Model, Pretrained
from star_loop.models.device import free_memory, give_back
from star_loop.models.quantised import load_quantised
from star_loop.models.weights import computing_dtype, load_merged, load_model, load_tokenizer, weight_dtype
from star_loop.seeding import seed_for
from star_loop.trainers.adapter import continue_from, peft_config, write_adapter
from star_loop.trainers.keys import LoraKeys, RoundKeys
from star_loop.trainers.placement import Placement


class Kind(Protocol):
    """A kind of student."""

    def check_room(self, settings: Any, start: Model, into: Path) -> None:
        """Compare what a round takes with what is there.

        Raises:
            TrainingError, OSError: the memory, or the disk that `into` is on, has no room for it.
        """

    def student(self, settings: Any, start: Model, seed: int) -> AbstractContextManager[Any]:
        """Return the start model on the CPU, in training mode, with what is to be trained."""

    def write(self, student: Placement, base: Pretrained, into: Path) -> None:
        """Write what was trained. Every process must ask; the first writes."""


class Adapted:
    """LoRA's matrices on a frozen base, or those of another method of PEFT's."""

    def check_room(self, settings: LoraKeys, start: Model, into: Path) -> None:
        """Ask for nothing: matrices are small, and the base's place is looked at when it is put there."""

    @contextmanager
    def student(self, settings: LoraKeys, start: Model, seed: int) -> Iterator[Any]:
        """Yield a PEFT model; the base is there and as it was afterwards."""
        base, config = load_base(start.base), peft_config(settings)
        with _drawing(seed):
            model = get_peft_model(base, config)
            try:
                if start.adapter is not None:
                    continue_from(model, start.adapter, config)
                yield model.train()
            finally:
                base.gradient_checkpointing_disable()
                model.unload().eval()
                other = settings.method != "LORA" or config.modules_to_save
                if other or start.base.quantization or settings.kernels:
                    load_base.cache_clear()  # what PEFT and Liger put in the place of the base's modules stays there
                else:
                    base.to("cpu")
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()

    def write(self, student: Placement, base: Pretrained, into: Path) -> None:
        """See `write_adapter`."""
        adapter = student.adapter()
        if student.first:
            write_adapter(student.model, adapter, base, into)


class Whole:
    """Every weight, in float32."""

    def check_room(self, settings: Any, start: Model, into: Path) -> None:
        """Look for the memory of weights, gradients and moments, and for the disk of the model that is written."""
        load_base.cache_clear()  # nothing else of this process needs a second copy
        check_memory(start.base, settings.bytes_each, TrainingError)
        needed = weight_dtype(start.base).itemsize * shapes_of(start.base).parameters
        refuse_without_disk(needed, shutil.disk_usage(into).free, into)

    @contextmanager
    def student(self, settings: Any, start: Model, seed: int) -> Iterator[Any]:
        """Yield a fresh copy of the start model.

        Raises:
            ValueError: a weight of it is no finite number.
        """
        with _drawing(seed):
            model: Any = load_merged(start, torch.float32).requires_grad_(True)
            if (name := _first_infinite(model)) is not None:
                raise ValueError(
                    f"{start.adapter or start.base.name_or_path} has numbers that are not finite (first in {name}): "
                    "restore it, or fork from an earlier iteration"
                )
            try:
                yield model.train()
            finally:
                give_back(model)

    def write(self, student: Placement, base: Pretrained, into: Path) -> None:
        """Write a directory that transformers and vLLM can load, in the base's dtype.

        Raises:
            TrainingError: a weight is not finite once it is rounded to the base's dtype.
        """
        model = student.model.to(weight_dtype(base))
        if (name := _first_infinite(model)) is not None:
            raise TrainingError(f"{name} has numbers that are not finite in {model.dtype}: lower trainer.learning_rate")
        model.save_pretrained(str(into))
        load_tokenizer(base).save_pretrained(str(into))


def kind_of(settings: RoundKeys) -> Kind:
    """Tell what a round with these settings trains."""
    return Adapted() if isinstance(settings, LoraKeys) else Whole()


def causal_of(model: Any) -> Any:
    """Return the causal LM itself, of a student of either kind."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def check_memory(base: Pretrained, each: int, error: type[Exception] = ValueError) -> None:
    """Compare what full fine-tuning takes without its activations, `each` bytes a weight, with what is free.

    Raises:
        ValueError: it does not fit; or the error that is given.
    """
    parameters, free = shapes_of(base).parameters, free_memory()
    if each * parameters > free:
        raise error(
            f"trainer=full: {parameters / 1e9:.2g}B weights need {_gib(each * parameters)}, {each} bytes each (in "
            f"float32, with a gradient and two moments), and {_gib(free)} are free: take trainer=lora"
        )


def refuse_without_disk(needed: int, free: int, into: Path) -> None:
    """Refuse a model of more bytes than are free on the disk that `into` is on.

    Raises:
        OSError: it does not fit.
    """
    if needed > free:
        raise OSError(
            f"trainer=full: the model of a round needs {_gib(needed)}, and {_gib(free)} are free on the disk of "
            f"{into}: make room, or set keep=best, which gives earlier models up"
        )


@lru_cache(maxsize=1)
def load_base(base: Pretrained) -> PreTrainedModel:
    """The frozen base. It stays in the CPU's memory between rounds, so that a GPU is free for generation; a quantised
    one is loaded for each.

    Raises:
        ValueError: see `load_model`; or float16, whose small gradients vanish.
    """
    model = load_quantised(base) if base.quantization else load_model(base, computing_dtype(base))
    if model.dtype == torch.float16:
        raise ValueError(
            f"the weights of {base.name_or_path!r} are float16, in which small gradients vanish: "
            "set model.dtype to bfloat16 or float32."
        )
    return model.requires_grad_(False)


@contextmanager
def _drawing(seed: int) -> Iterator[None]:
    """Seed torch's generators within the context: initial matrices, then dropout."""
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_available() else []):
        torch.manual_seed(seed_for(seed, "lora"))
        yield


def _first_infinite(model: Any) -> str | None:
    """Name the first weight with a number that is not finite."""
    return next((name for name, weight in model.named_parameters() if not weight.isfinite().all()), None)


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"

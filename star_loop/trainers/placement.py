"""Where the trained model's weights and a step's sequences are: here, all of them in this process.

`distributed.py` spreads them over the ranks of `accelerate launch`. Both are torch modules: import them inside
functions, never at the top of a module that the loop imports.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from peft import get_peft_model_state_dict
from torch import Tensor

from star_loop.errors import TrainingError
from star_loop.models.device import device
from star_loop.trainers.batches import Encoded, micro_batches

R = TypeVar("R")


class Placement:
    """A PEFT model on this process's device: the process sees every sequence of a step and holds every weight."""

    first = True
    """Whether this process is the one that writes and reports."""
    alone = True
    """Whether no other process waits for this one within a step."""

    def __init__(self, model: Any) -> None:
        assert_room(model)
        self.model = model.to(device())

    def __call__(self, act: Callable[..., R], *arguments: Any) -> R:
        """`act(model, *arguments)`, done where the model's weights are whole."""
        return act(self.model, *arguments)

    def frozen(self, act: Callable[..., R], *arguments: Any) -> R:
        """Act as a call does, but without gradients."""
        with torch.no_grad():
            return self(act, *arguments)

    def optimizer(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Return what steps in its stead."""
        return optimizer

    def share(self, batch: Sequence[Encoded], max_tokens: int, packed: bool) -> Iterator[list[Encoded]]:
        """This process's micro-batches of an optimiser step, each to go forward and backward before the next."""
        yield from micro_batches(batch, max_tokens, packed)

    def backward(self, loss: Tensor) -> None:
        """Add up gradients; after the step's last micro-batch they are those of all its sequences."""
        torch.autograd.backward(loss)

    def clip(self, parameters: Iterable[Tensor], longest: float) -> float:
        """Return the norm of all gradients together, which are scaled down to `longest`."""
        return float(torch.nn.utils.clip_grad_norm_(parameters, longest))

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a scalar over all processes."""
        return value

    def somewhere(self, found: bool) -> bool:
        """Tell whether any process has found it."""
        return bool(self.total(torch.tensor(int(found), device=self.model.device)))

    def checksums(self, *, trainable: bool) -> dict[str, int]:
        """The sum of the bits of what is here of each (frozen or trainable) parameter, read as integers: any step of
        training changes it."""
        integer = {4: torch.int32, 2: torch.int16, 1: torch.uint8}
        return {
            name: int(self.here(parameter).view(integer[parameter.element_size()]).sum(dtype=torch.int64))
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad == trainable
        }

    def here(self, parameter: Tensor) -> Tensor:
        """Return what of a parameter this process holds."""
        return parameter.detach()

    def adapter(self) -> Mapping[str, Tensor]:
        """Return the whole adapter by PEFT's names; every process must ask."""
        return dict(get_peft_model_state_dict(self.model, save_embedding_layers=False))


def assert_room(model: Any, shards: int = 1) -> None:
    """Assert on a GPU that what the engine gave back holds the weights, or this process's shard, before they go there.

    Raises:
        TrainingError: it does not.
    """
    if torch.cuda.is_available():
        needed = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()) // shards
        refuse_without_room(needed, *torch.cuda.mem_get_info())


def refuse_without_room(needed: int, free: int, total: int) -> None:
    """Refuse where more bytes are needed than are free.

    Raises:
        TrainingError: more is needed than free.
    """
    if needed > free:
        gib = [f"{size / 2**30:.1f}" for size in (needed, free, total)]
        raise TrainingError(
            f"the weights need {gib[0]} GiB, and {gib[1]} of the GPU's {gib[2]} GiB are free although the engine was "
            "asked for it: generator.sleep=false ends its process before each round; or another process "
            "is on this GPU; or spread the weights with trainer=accelerate trainer.strategy=fsdp2."
        )

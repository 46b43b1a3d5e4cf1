"""The trained model over the ranks of `accelerate launch`: DDP, FSDP2 or DeepSpeed. A torch module.

Each optimiser step's sequences are dealt to the ranks. The libraries average gradients over ranks, so each rank scales
its loss by their number: the sum over ranks is that of a single process, but for rounding.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as ranks
from torch import Tensor
from torch.distributed.tensor import DTensor

from star_loop.seeding import seed_for
from star_loop.trainers.batches import Encoded, micro_batches
from star_loop.trainers.placement import Placement, assert_room

if TYPE_CHECKING:
    from accelerate import Accelerator

    from star_loop.trainers.accelerate import Accelerate

R = TypeVar("R")
IDLE = Encoded(ids=[0], prompt=1)
"""A token without a loss."""


def shares(batch: Sequence[Encoded], ranks: int, max_tokens: int, packed: bool = False) -> list[list[list[Encoded]]]:
    """Return the micro-batches of each rank: long and short sequences dealt evenly, equally many micro-batches for all.

    Collectives wait for everybody, so a rank that has nothing left takes part with `IDLE`.
    """
    ordered = sorted(batch, key=lambda sequence: len(sequence.ids))
    groups = [micro_batches(ordered[rank::ranks], max_tokens, packed) for rank in range(ranks)]
    most = max(map(len, groups))
    return [mine + [[IDLE]] * (most - len(mine)) for mine in groups]


class Inside(torch.nn.Module):
    """The module that the libraries wrap: `forward(act, …)` is `act(model, …)`, done within their hooks."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, act: Callable[..., R], *arguments: Any) -> R:
        """Return `act(model, …)`, as the class says."""
        return act(self.model, *arguments)


class Replicated(Placement):
    """DDP: every rank holds every weight; a single rank is a single process."""

    def __init__(self, accelerator: "Accelerator", settings: "Accelerate", model: Any) -> None:
        self.accelerator, self.settings, self.model = accelerator, settings, model
        self.alone = accelerator.num_processes == 1
        self.count, self.first = accelerator.num_processes, accelerator.is_main_process
        torch.manual_seed(seed_for(torch.initial_seed(), "rank", accelerator.process_index))  # dropout, each its own
        self.inside = self.wrapped()

    def wrapped(self) -> Any:
        """Return the model in its library's wrapper, on this rank's device."""
        assert_room(self.model)
        return self.accelerator.prepare_model(Inside(self.model.to(self.accelerator.device)))

    def synchronise(self, wanted: bool) -> None:
        """Set whether the next backward pass exchanges gradients."""
        self.inside.require_backward_grad_sync = wanted

    def __call__(self, act: Callable[..., R], *arguments: Any) -> R:
        """`act(model, *arguments)`, inside the wrapper."""
        found: R = self.inside(act, *arguments)
        return found

    def share(self, batch: Sequence[Encoded], max_tokens: int, packed: bool) -> Iterator[list[Encoded]]:
        """This rank's; gradients are exchanged once, after the last."""
        mine = shares(batch, self.count, max_tokens, packed)[self.accelerator.process_index]
        for left, group in zip(range(len(mine) - 1, -1, -1), mine, strict=True):
            self.synchronise(left == 0)
            yield group

    def backward(self, loss: Tensor) -> None:
        """See the module."""
        torch.autograd.backward(loss * self.count)

    def total(self, value: Tensor) -> Tensor:
        """Summed over the ranks."""
        if self.count > 1:
            value = value.clone()
            ranks.all_reduce(value)
        return value


class Sharded(Replicated):
    """FSDP2: each decoder layer, and what is around them, is sharded over the ranks and whole only while it is used.

    `fully_shard` itself, layer by layer from the CPU, so that no GPU ever holds the base as a whole. (Accelerate's FSDP
    plugin does not take effect on a CPU, where this is tested.)
    """

    def wrapped(self) -> Any:
        """Return the model, sharded in place."""
        if self.count == 1:
            return super().wrapped()
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        assert_room(self.model, shards=self.count)
        mesh = init_device_mesh(self.accelerator.device.type, (self.count,))
        layers = set(getattr(self.model.get_base_model(), "_no_split_modules", None) or ())
        inside = Inside(self.model)
        for module in self.model.modules():
            if type(module).__name__ in layers:
                fully_shard(module, mesh=mesh, reshard_after_forward=True)
        return fully_shard(inside, mesh=mesh, reshard_after_forward=True)

    def synchronise(self, wanted: bool) -> None:
        """Set whether the next backward pass scatters gradients."""
        if self.count > 1:
            self.inside.set_requires_gradient_sync(wanted)

    def clip(self, parameters: Iterable[Tensor], longest: float) -> float:
        """Return the norm over all shards."""
        norm = torch.nn.utils.clip_grad_norm_(parameters, longest)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def here(self, parameter: Tensor) -> Tensor:
        """This rank's shard."""
        parameter = parameter.detach()
        return parameter.to_local() if isinstance(parameter, DTensor) else parameter

    def adapter(self) -> Mapping[str, Tensor]:
        """Gathered, and nothing of the base."""
        state = super().adapter()
        return {name: t.full_tensor() if isinstance(t, DTensor) else t for name, t in state.items()}


class ByDeepSpeed(Replicated):
    """DeepSpeed's engine, ZeRO stage 1 or 2: optimiser states and gradients of the adapter are sharded."""

    def wrapped(self) -> Any:
        """Return the model; the engine comes with the optimiser.

        Raises:
            ValueError: ZeRO stage 3, which leaves no rank a whole weight to check.
        """
        plugin = self.accelerator.state.deepspeed_plugin
        if plugin.zero_stage == 3:
            raise ValueError(
                "ZeRO stage 3 is not supported: take stage 1 or 2, or trainer.strategy=fsdp2 to shard weights"
            )
        plugin.deepspeed_config |= {
            "train_micro_batch_size_per_gpu": 1,  # ours are cut by tokens
            "train_batch_size": self.count,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": self.settings.max_grad_norm or 0.0,
        }
        return Inside(self.model.to(self.accelerator.device))

    def optimizer(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Return the engine's optimiser."""
        self.inside, prepared = self.accelerator.prepare(self.inside, optimizer)
        found: torch.optim.Optimizer = prepared
        return found

    def synchronise(self, wanted: bool) -> None:
        """Set whether the next backward pass is the last of its step."""
        self.inside.set_gradient_accumulation_boundary(wanted)

    def backward(self, loss: Tensor) -> None:
        """Do the engine's backward pass, which averages over ranks too."""
        self.inside.backward(loss * self.count)

    def clip(self, parameters: Iterable[Tensor], longest: float) -> float:
        """The engine clips within its step, which is done here; the optimiser's own does nothing then."""
        self.inside.step()
        return float(self.inside.get_global_grad_norm())


placements: Mapping[str, type[Replicated]] = {"ddp": Replicated, "fsdp2": Sharded, "deepspeed": ByDeepSpeed}
"""By `trainer.strategy`."""

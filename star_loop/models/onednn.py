"""Linear layers on a CPU by oneDNN. A torch module: import it inside functions.

torch gives float32 products to MKL, which leaves AVX-512 unused on other makers' processors. oneDNN, which torch brings
along, uses it: there it takes half the time for the same products, summed in another order.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear


@contextmanager
def by_onednn(model: torch.nn.Module) -> Iterator[None]:
    """Have the model's linear layers use oneDNN within the context, wherever it can take what they are given."""
    layers = [module for module in model.modules() if type(module) is torch.nn.Linear] if pays() else []
    for layer in layers:
        layer.forward = partial(product, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


@cache
def pays() -> bool:
    """Tell whether oneDNN is there, and so is what MKL may leave unused."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return there and torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def product(layer: torch.nn.Linear, x: Tensor) -> Tensor:
    """Return x·Wᵀ + b [..., n, out] for x [..., n, in]: float32 on a CPU by oneDNN, anything else by torch."""
    weight, bias = layer.weight, layer.bias
    plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if not (plain and x.numel()) or (bias is not None and bias.requires_grad):
        return linear(x, weight, bias)
    found: Tensor = _Product.apply(x.flatten(0, -2), weight, bias)  # type: ignore[no-untyped-call]
    return found.view(*x.shape[:-1], -1)


class _Product(torch.autograd.Function):
    """Product of a matrix with a weight that may be frozen and a bias that is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _onednn(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        by_x = _onednn(slope, weight.T) if ctx.needs_input_grad[0] else None
        by_weight = _onednn(slope.T, x.T) if ctx.needs_input_grad[1] else None
        return by_x, by_weight, None


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x·weightᵀ + bias: the operation that torch's own compiler emits for a linear layer."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return found

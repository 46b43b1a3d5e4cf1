"""Linear layers by oneDNN: the same products and gradients as torch's own, wherever they are."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from star_loop.models import onednn

pytestmark = pytest.mark.skipif(not onednn.pays(), reason="oneDNN brings nothing on this processor")


@given(
    rows=st.lists(st.integers(0, 9), min_size=1, max_size=3), sizes=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    bias=st.booleans(), frozen=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_products_and_gradients_are_those_of_torch(
    rows: list[int], sizes: tuple[int, int], bias: bool, frozen: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = nn.Linear(*sizes, bias=bias)
    layer.weight.requires_grad_(not frozen)
    if layer.bias is not None:
        layer.bias.requires_grad_(False)
    given_, slope = torch.randn(*rows, sizes[0]), torch.randn(*rows, sizes[1])

    def outcome() -> list[torch.Tensor]:
        x = given_.clone().requires_grad_()
        wanted = [x] if frozen else [x, layer.weight]
        found = layer(x)
        return [found, *torch.autograd.grad(found, wanted, slope)]

    expected = outcome()
    with onednn.by_onednn(nn.Sequential(layer)):
        assert "forward" in vars(layer)
        ours = outcome()
    assert "forward" not in vars(layer)
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_what_onednn_cannot_take_is_left_to_torch() -> None:
    torch.manual_seed(0)
    whole = nn.Linear(8, 4)
    learned, x = nn.Linear(8, 4), torch.randn(3, 8)
    half = nn.Linear(8, 4).to(torch.bfloat16)
    expected = [learned(x), half(x.bfloat16())]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected.append(whole(x))
    with onednn.by_onednn(nn.ModuleList([whole, learned, half])):
        found = [learned(x), half(x.bfloat16())]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found.append(whole(x))
        (by_bias,) = torch.autograd.grad(learned(x).sum(), learned.bias)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == theirs.dtype
        assert torch.equal(mine, theirs)
    assert torch.equal(by_bias, torch.full((4,), 3.0))


def test_a_frozen_layer_at_the_bottom_gives_no_gradient() -> None:
    layer = nn.Linear(8, 4, bias=False).requires_grad_(False)
    with onednn.by_onednn(nn.Sequential(layer)):
        assert not layer(torch.randn(3, 8)).requires_grad

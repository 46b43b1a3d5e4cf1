"""What generation and training cost, in floating-point operations: by the papers' convention, and from matrix shapes.

Convention (Kaplan et al. 2020, arXiv:2001.08361; used by AdaSTaR): 2·P per token of inference, prompt and generated
alike, and 6·P per trained token, with P the number of parameters. It knows no attention and no frozen weights.

Exact: one multiplication and one addition (2 operations) for each element of each matrix product, as
`torch.utils.flop_counter` counts them: linear layers, attention over the full square of scores (no credit for the
causal half), logits only where they are used. Element-wise work, and what gradient checkpointing computes twice, are
left out.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from time import perf_counter
from typing import Any

from star_loop.models import Pretrained

_PEAK_SECONDS = 0.5
"""For how long the peak is looked for: virtual machines have halves of a second at half of their speed."""


def inference_flops(parameters: int, tokens: int) -> int:
    """Return the convention's cost of reading or generating `tokens` tokens."""
    return 2 * parameters * tokens


def training_flops(parameters: int, tokens: int) -> int:
    """Return the convention's cost of training on `tokens` tokens (prompt and completion, times passes)."""
    return 6 * parameters * tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A matrix that every token is multiplied by."""

    name: str
    """The module's, e.g. `model.layers.0.self_attn.q_proj`."""
    inputs: int
    outputs: int
    first: bool = False
    """Nothing trainable lies before it (it reads the embeddings), so the backward needs no input gradient."""
    adapted: bool = True
    """It has LoRA matrices."""

    @property
    def size(self) -> int:
        """Count the matrix's weights."""
        return self.inputs * self.outputs


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """The matrices of one causal LM. All results are operations (int).

    Example:
        >>> layer = Linear(name="up", inputs=4, outputs=8, first=True)
        >>> Shapes(parameters=100, linears=(layer,), vocabulary=10, hidden=4, layers=1, heads=2, head_dim=2).prefill(3)
        416
    """

    parameters: int
    """All of them, embeddings included, tied ones once: the convention's P."""
    linears: tuple[Linear, ...]
    """All but the LM head; an expert layer appears once for each expert that a token visits."""
    hidden: int
    vocabulary: int
    layers: int
    heads: int
    """Query heads: grouped keys and values are cheaper to project and to keep, not to attend to."""
    head_dim: int

    def prefill(self, prompt: int, logits: int = 1) -> int:
        """Read a prompt of so many tokens and compute `logits` rows of logits."""
        return prompt * self._forward + logits * self._head + self._scores * prompt**2

    def decode(self, prompt: int, generated: int) -> int:
        """Generate with a KV cache after `prefill`, whose logits gave the first of the `generated` tokens."""
        steps = max(generated - 1, 0)
        attended = steps * prompt + steps * (steps + 1) // 2  # keys seen: prompt + 1, prompt + 2, …
        return steps * (self._forward + self._head) + self._scores * attended

    def generate(self, prompt: int, generated: Sequence[int]) -> int:
        """Count one prefill that all samples of the prompt share, and the decoding of each."""
        return self.prefill(prompt) + sum(self.decode(prompt, tokens) for tokens in generated)

    def train(self, sequences: Iterable[tuple[int, int]], rank: int) -> int:
        """Count forward and LoRA backward of each sequence: (tokens, tokens that have a loss).

        Frozen weights get no gradient, but the gradient passes through them; both low-rank matrices get theirs.
        Attention's backward is counted in full, also in a first layer whose keys or values have no LoRA matrices.

        Args:
            sequences: without padding; a sequence appears once for each pass over it.
            rank: r of LoRA.
        """
        per_token = self._forward + sum(self._backward(linear, rank) for linear in self.linears)
        return sum(
            tokens * per_token + losses * 2 * self._head + 3 * self._scores * tokens**2 for tokens, losses in sequences
        )

    def train_whole(self, sequences: Iterable[tuple[int, int]]) -> int:
        """Count forward and backward of each sequence, (tokens, tokens that have a loss), where every weight is
        trained: each product has a gradient by either of its factors."""
        return 3 * sum(
            tokens * self._forward + losses * self._head + self._scores * tokens**2 for tokens, losses in sequences
        )

    @staticmethod
    def _backward(linear: Linear, rank: int) -> int:
        """Count what LoRA adds to a token's forward: the low-rank forward, and both gradients."""
        rank = rank if linear.adapted else 0
        low_rank = rank * (linear.inputs + linear.outputs)
        through = 0 if linear.first else linear.size + rank * linear.inputs
        return 2 * (low_rank + through + rank * linear.outputs + low_rank)

    @cached_property
    def _forward(self) -> int:
        return 2 * sum(linear.size for linear in self.linears)

    @property
    def _head(self) -> int:
        return 2 * self.hidden * self.vocabulary

    @property
    def _scores(self) -> int:
        """Count, for each pair of tokens, query · key and score · value, in every head of every layer."""
        return 4 * self.layers * self.heads * self.head_dim


def shapes_of(base: Pretrained, targets: str | Sequence[str] = "all-linear") -> Shapes:
    """Return the shapes of any Hugging Face causal LM, from its configuration: no weights are read.

    The model is built on torch's `meta` device, and one token of nothing is passed through it to see which layers are
    used and which of them lie before anything trainable. The answer is kept: a base does not change in a process, and
    every round and every stage that counts FLOPs asks again.

    Args:
        base: which model.
        targets: PEFT's `target_modules`: names of the modules with LoRA matrices, or `all-linear`.

    Raises:
        ValueError: no such model, or no usable configuration.
    """
    return _shapes(base, targets if isinstance(targets, str) else tuple(targets))


@lru_cache(maxsize=8)
def peak_flops(base: Pretrained) -> float | None:
    """Operations per second of a square linear layer in the dtype of training: what the phases' FLOPs are held against.

    The best within half a second: on one GPU, or on all the CPU threads that torch takes. None: there is a GPU
    that this process has not used, and should not begin to use for this.
    """
    import torch

    from star_loop.models.onednn import by_onednn
    from star_loop.models.weights import computing_dtype

    if torch.cuda.is_available() and not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return None
    device, n = ("cuda", 4096) if torch.cuda.is_available() else ("cpu", 512)
    layer = torch.nn.Linear(n, n, bias=False, dtype=computing_dtype(base), device=device)
    rows = torch.ones(n, n, dtype=layer.weight.dtype, device=device)
    best, began = math.inf, perf_counter()
    with torch.no_grad(), by_onednn(layer):
        while perf_counter() - began < _PEAK_SECONDS:
            start = perf_counter()
            layer(rows)
            if device == "cuda":
                torch.cuda.synchronize()
            best = min(best, perf_counter() - start)
    return float(2 * n**3 / best)


@lru_cache(maxsize=8)
def _shapes(base: Pretrained, targets: str | tuple[str, ...]) -> Shapes:
    from star_loop.models.skeleton import skeleton

    model = skeleton(base)
    text = model.config.get_text_config()
    heads = text.num_attention_heads
    return Shapes(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        linears=(*_linears(model, targets), *_experts(model, text)),
        hidden=model.get_output_embeddings().weight.shape[1],
        vocabulary=model.get_output_embeddings().weight.shape[0],
        layers=text.num_hidden_layers,
        heads=heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // heads,
    )


def _linears(model: Any, targets: str | Sequence[str]) -> list[Linear]:
    """Return every linear layer that one token passes through, in order; the LM head apart."""
    import torch
    from transformers.pytorch_utils import Conv1D

    found: list[Linear] = []

    def record(name: str, module: Any, inputs: tuple[Any, ...], _: Any) -> None:
        inward, outward = module.weight.shape if isinstance(module, Conv1D) else reversed(module.weight.shape)
        adapted, first = module.weight.requires_grad, not inputs[0].requires_grad
        found.append(Linear(name=name, inputs=inward, outputs=outward, first=first, adapted=adapted))

    model.requires_grad_(False)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not model.get_output_embeddings():
            module.weight.requires_grad_(_adapted(name, targets))
            module.register_forward_hook(partial(record, name))
    one = torch.ones(1, 1, dtype=torch.long, device="meta")
    model(input_ids=one, attention_mask=one, use_cache=False)
    return found


def _experts(model: Any, config: Any) -> list[Linear]:
    """Expert layers, which transformers keeps as one (experts, outputs, inputs) parameter for each matrix."""
    chosen = getattr(config, "num_experts_per_tok", None) or 0
    stacked = [(name, weight) for name, weight in model.named_parameters() if ".experts." in name and weight.ndim == 3]
    return [
        Linear(name=name, inputs=weight.shape[2], outputs=weight.shape[1], adapted=False)
        for name, weight in stacked
        for _ in range(chosen)
    ]


def _adapted(name: str, targets: str | Sequence[str]) -> bool:
    return targets == "all-linear" or any(f".{name}".endswith(f".{target}") for target in targets)

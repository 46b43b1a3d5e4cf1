"""Bytes that a round takes, estimated from the shape of the model.

The bytes of activations for each token, layer and unit of width are measured (a Llama with LoRA on every linear layer,
bf16 under autocast; Korthikanti et al., arXiv 2205.05198, eq. 2, have 34 without adapters, casts and gated MLP). Logits
are computed in chunks and count for nothing.
"""

ACTIVATIONS = 73
"""Bytes of activations that the backward pass needs, for each token, layer and unit of width; twice in float32."""
WHOLE = 16
"""Bytes for each weight that is trained in float32: itself, its gradient, and AdamW's two moments."""


def activations(*, tokens: int, layers: int, hidden: int, checkpointing: bool = False, bytes_each: int = 2) -> int:
    """Return the bytes of the activations of so many tokens at once.

    Args:
        tokens: at once.
        layers: decoder layers.
        hidden: their width.
        checkpointing: the input of every layer is kept, and the activations of one.
        bytes_each: of a number; 2: bfloat16.
    """
    per_token = 2 * layers + ACTIVATIONS if checkpointing else ACTIVATIONS * layers
    return per_token * hidden * tokens * bytes_each // 2

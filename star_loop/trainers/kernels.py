"""Fused kernels of a library's in a model, for as long as a round takes. A torch module: import it inside functions."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from star_loop.models import Pretrained
from star_loop.models.weights import load_config

LIGER = {"rope": True, "rms_norm": True, "swiglu": True, "cross_entropy": False, "fused_linear_cross_entropy": False}
"""What is taken of Liger; the head is fused here already (`losses.py`)."""


def check_kernels(base: Pretrained, wanted: str | None) -> None:
    """Look whether the kernels can run for a model.

    Raises:
        ValueError: there is no GPU, the library is not installed, or it has none for this kind of model.
    """
    if wanted is None:
        return
    if not torch.cuda.is_available():
        raise ValueError(
            f"trainer.kernels={wanted}: its kernels are in Triton, which needs a GPU, and torch sees none here: "
            "leave trainer.kernels out"
        )
    if importlib.util.find_spec("liger_kernel") is None:
        raise ValueError(
            f"trainer.kernels={wanted} needs Liger: pip install 'star_loop[liger]', or leave trainer.kernels out"
        )
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN as known

    if (kind := load_config(base).get_text_config().model_type) not in known:
        raise ValueError(
            f"trainer.kernels={wanted}: Liger has none for models of type {kind}: leave trainer.kernels out"
        )


@contextmanager
def fused(model: Any, wanted: str | None) -> Iterator[None]:
    """Have a causal LM compute with Liger's kernels (arXiv 2410.10989) within the context.

    The instance keeps them, so it is not to be used again; what Liger puts into transformers' own module for all
    models to come is taken back.
    """
    if wanted is None:
        yield
        return
    from transformers.integrations.liger import apply_liger_kernel

    family = vars(sys.modules[type(model).__module__])
    usual = dict(family)
    apply_liger_kernel(model, LIGER)
    try:
        yield
    finally:
        family.update(usual)

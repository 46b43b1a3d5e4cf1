"""A frozen base in 4 or 8 bits, as a round reads it. A torch module: import it inside functions."""

import importlib.util
from typing import Any

import torch
from transformers import BitsAndBytesConfig, PreTrainedModel

from star_loop.models import Pretrained
from star_loop.models.device import device
from star_loop.models.weights import computing_dtype, load_model


def check_quantised(base: Pretrained) -> None:
    """Look for the library that quantises.

    Raises:
        ValueError: it is not installed.
    """
    if base.quantization and importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError(
            f"model.quantization={base.quantization} needs bitsandbytes: pip install 'star_loop[quantised]', or leave "
            "model.quantization out"
        )


def load_quantised(base: Pretrained) -> PreTrainedModel:
    """Load a base with the weights of its linear layers, but for the head, in 4 or 8 bits, where it is computed with.

    nf4 is QLoRA's (arXiv 2305.14314), its constants quantised too; int8 is LLM.int8() (arXiv 2208.07339).

    Raises:
        ValueError: see `check_quantised` and `load_model`.
    """
    check_quantised(base)
    ways: dict[str, dict[str, Any]] = {
        "int8": {"load_in_8bit": True},
        "nf4": {
            "load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": computing_dtype(base),
        },
    }  # fmt: skip
    config = BitsAndBytesConfig(**ways[base.quantization or ""])
    model = load_model(base, quantization_config=config, device_map={"": torch.device(device())})
    for module in model.modules():  # on a CPU with AVX512-BF16 an evaluation repacks 4-bit weights for a kernel of its
        if hasattr(module, "support_avx512bf16_for_cpu"):  # own, which has no gradient, and training goes on with it
            module.support_avx512bf16_for_cpu = False
    return model

"""A causal LM without its numbers: every name and shape, on torch's `meta` device.

This is a torch module: import it inside functions, never at the top of a module that the loop imports.
"""

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from star_loop.models import Pretrained
from star_loop.models.weights import load_config, load_model, load_tokenizer


def skeleton(pretrained: Pretrained) -> PreTrainedModel:
    """Return the model on torch's `meta` device: every module and shape, and no weights.

    Raises:
        ValueError: no such model, or no usable configuration.
    """
    arguments = {"dtype": torch.bfloat16, "trust_remote_code": pretrained.trust_remote_code}
    arguments["attn_implementation"] = "eager"  # the others ask the mask for its values, and here there are none
    config = load_config(pretrained)
    try:
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config, **arguments)
    except Exception as error:  # what the library makes of an unusable configuration is of many kinds
        raise ValueError(
            f"the configuration of model.name_or_path={pretrained.name_or_path!r} makes no model: "
            f"{type(error).__name__}: {error}"
        ) from error
    return model


def prove(pretrained: Pretrained) -> PreTrainedTokenizerBase:
    """Load all but the numbers: the tokenizer, which is returned, the configuration, each weight's name and shape.

    A model that is still to be downloaded is proven when it is loaded, and so is one that was saved quantised.

    Raises:
        ValueError: what loading it would say.
    """
    tokenizer = load_tokenizer(pretrained)
    if pretrained.present and getattr(load_config(pretrained), "quantization_config", None) is None:
        load_model(pretrained, device_map="meta")
    return tokenizer

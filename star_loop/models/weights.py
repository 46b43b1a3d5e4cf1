"""Weights and tokens of a causal LM: loading, encoding, merging an adapter, and what a canary needs.

This is a torch module: import it inside functions, never at the top of a module that the loop imports.

A trained adapter directory carries `canary.json`, by which an engine proves that it generates with it:
`{"prompts": [[token id, …], …], "before": […], "after": […]}`, where `before` and `after` are the
`sequence_logprobs` of the prompts under the model that training started from and under the one that it made.
"""

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from star_loop.models import Model, Pretrained, chat
from star_loop.models.device import multiplies_bfloat16
from star_loop.models.tied import refuse_tied

_OF_A_LAYER = re.compile(r"\b(layers|h|blocks)\.\d+\.")
"""Names of weights in a decoder's layers; what else a file holds beside the model, transformers leaves out."""

transformers_logging.disable_progress_bar()  # loading is not a phase of the loop; its bars would tear the console's
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # PEFT loads it where it is, and it tells of kernels


def load_config(pretrained: Pretrained) -> PretrainedConfig:
    """Load the architecture's configuration.

    Raises:
        ValueError: no such model, or no usable configuration.
    """
    return load_with(AutoConfig, pretrained, "configuration")


def load_tokenizer(pretrained: Pretrained) -> PreTrainedTokenizerBase:
    """Return the tokenizer; it always has an end-of-sequence token.

    Raises:
        ValueError: no such tokenizer, one without an end-of-sequence token, or a chat template that cannot be used as
            the model's keys say (see `chat.check`).
    """
    tokenizer = load_with(AutoTokenizer, pretrained, "tokenizer")
    if tokenizer.eos_token_id is None:
        raise ValueError(
            f"the tokenizer of {pretrained.name_or_path!r} has no end-of-sequence token. "
            "No completion could end: set eos_token in its tokenizer_config.json."
        )
    if pretrained.chat_template:
        chat.check(tokenizer, pretrained)
    return tokenizer


def load_model(pretrained: Pretrained, dtype: torch.dtype | None = None, **options: Any) -> PreTrainedModel:
    """Return the base model on the CPU, in evaluation mode; weights are read from safetensors only.

    Args:
        pretrained: which model.
        dtype: of the weights in memory; None: `pretrained.dtype`, where `auto` means the dtype on disk.
        options: of transformers' `from_pretrained`.

    Raises:
        ValueError: no such model, or no safetensors weights, or weights that are not those of its configuration.
    """
    wanted = dtype if dtype is not None else weight_dtype(pretrained)
    options |= {"dtype": wanted, "use_safetensors": True}
    options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
    model, found = load_with(AutoModelForCausalLM, pretrained, "weights", **options)
    strange = {
        "lack {}, which would be random numbers": sorted(found["missing_keys"]),
        "have {} in another shape": sorted(name for name, *_ in found["mismatched_keys"]),
        "have {}, a layer too many": sorted(filter(_OF_A_LAYER.search, found["unexpected_keys"])),
    }
    for how, names in strange.items():
        if names:
            listed = ", ".join(names[:3]) + ", …" * (len(names) > 3)
            raise ValueError(
                f"the weights of model.name_or_path={pretrained.name_or_path!r} {how.format(listed)}. Is config.json "
                "that of another model?"
            )
    loaded: PreTrainedModel = model
    return loaded.eval()


def load_merged(model: Model, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """Return a fresh copy of the base with the adapter merged into it: summed in float32, cast once to `dtype`.

    A model that was trained whole is loaded as it is. Nothing live is changed, so nothing drifts (in bfloat16, merging
    and unmerging in place changes one weight in six).

    Raises:
        ValueError: the base or the adapter cannot be loaded, or the adapter cannot be merged (see `refuse_tied`).
    """
    if model.update is None:
        return load_model(model.root, dtype if dtype is not None else weight_dtype(model.base))
    base = load_model(model.base, torch.float32)
    adapted = _adapted(base, model.update)
    refuse_tied(adapted, model.base)
    merged = adapted.merge_and_unload()
    return merged.to(dtype if dtype is not None else weight_dtype(model.base)).eval()


def load_beside(model: Model, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """Return the base with the adapter's layers beside its own: exact, and slower than merged weights.

    Raises:
        ValueError: the base or the adapter cannot be loaded.
    """
    base = load_model(model.root, dtype if dtype is not None else weight_dtype(model.base))
    if model.update is None:
        return base
    adapted: PreTrainedModel = _adapted(base, model.update).get_base_model()
    return adapted.eval()


def read_adapter(adapter: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the configuration and the matrices of an adapter directory.

    Raises:
        ValueError: a file is missing or damaged, or a number is not finite.
    """
    _check_adapter(adapter)
    try:
        config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
        weights = load_file(adapter / "adapter_model.safetensors")
    except (ValueError, RecursionError, SafetensorError) as error:
        raise ValueError(f"the adapter {adapter} is damaged ({error}): restore it") from error
    if not isinstance(config, dict):
        raise ValueError(f"the adapter {adapter} is damaged (adapter_config.json is not a JSON object): restore it")
    if spoilt := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        raise ValueError(f"the adapter {adapter} has numbers that are not finite (first in {spoilt[0]}): restore it")
    return config, weights


def checkpoint_weights(merged: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return a merged model's weights under the names and in the layout of a checkpoint: what `save_merged` writes."""
    from transformers.core_model_loading import revert_weight_conversion

    tied = merged.all_tied_weights_keys or {}
    weights = {name: weight for name, weight in merged.state_dict().items() if name not in tied}
    return dict(revert_weight_conversion(merged, weights))


def save_merged(model: Model, into: Path, dtype: torch.dtype | None = None) -> None:
    """Write the merged model and its tokenizer where transformers and vLLM can load them.

    Args:
        model: the base and its adapter.
        into: a directory; made if missing.
        dtype: of the weights on disk; None: that of the base.
    """
    merged = load_merged(model, dtype)
    merged.save_pretrained(str(into))
    load_tokenizer(model.base).save_pretrained(str(into))


def weight_dtype(pretrained: Pretrained) -> torch.dtype:
    """Return what `pretrained.dtype` stands for; `auto` is the dtype on disk, float32 where none is declared."""
    if pretrained.dtype != "auto":
        found: Any = getattr(torch, pretrained.dtype)
    else:
        found = load_config(pretrained).get_text_config().dtype
    return found if isinstance(found, torch.dtype) else torch.float32


def computing_dtype(pretrained: Pretrained) -> torch.dtype:
    """Return what products are computed in on this machine: `weight_dtype`, or float32 where bfloat16 is slow."""
    wanted = weight_dtype(pretrained)
    return torch.float32 if wanted == torch.bfloat16 and not multiplies_bfloat16() else wanted


def context_length(config: PretrainedConfig) -> int | None:
    """Return how many tokens, prompt and completion together, the model can hold; None: it declares no limit."""
    length: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    return length


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, base: Pretrained) -> list[int]:
    """The tokens that end a completion: the end of a turn, the tokenizer's end of sequence, the model's own others."""
    declared = model.generation_config.eos_token_id if isinstance(model.generation_config, GenerationConfig) else None
    ends = [chat.end_of_turn(tokenizer, base), tokenizer.eos_token_id]
    others = declared if isinstance(declared, list) else [declared]
    return list(dict.fromkeys([*ends, *(token for token in others if token is not None)]))


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str, base: Pretrained | None) -> list[int]:
    """Return the token ids of what the model continues, with the special tokens (BOS) that the tokenizer puts in front.

    Args:
        tokenizer: the model's.
        prompt: a text, or turns (see `records.TURN`).
        base: the model whose chat template wraps the prompt (`Pretrained.chat`); None: the text as it is.
    """
    if base is not None:
        return list(tokenizer(chat.render(tokenizer, prompt, base), add_special_tokens=False).input_ids)
    ids = list(tokenizer(prompt).input_ids)
    # Some tokenizers close every text; a prompt that is closed has no continuation.
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def encode_completion(tokenizer: PreTrainedTokenizerBase, text: str, base: Pretrained | None = None) -> list[int]:
    """Return the token ids of a completion that was not sampled, then the end of the turn or of the sequence.

    `<eos>` in the text is only text.
    """
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    return [*ids, tokenizer.eos_token_id if base is None else chat.end_of_turn(tokenizer, base)]


@torch.no_grad()  # not inference_mode, whose tensors FSDP2 could not use again in training
def sequence_logprobs(model: torch.nn.Module, sequences: Sequence[Sequence[int]]) -> list[float]:
    """Sum of log-probabilities (nats, float32) of each sequence's tokens after the first.

    The sequences run one at a time and without padding, so the figures do not depend on each other.
    """
    training = model.training
    model.eval()
    try:
        return [_logprob(model, sequence) for sequence in sequences]
    finally:
        model.train(training)


def write_canary(into: Path, prompts: Sequence[Sequence[int]], before: Sequence[float], after: Sequence[float]) -> None:
    """Write `canary.json` into an adapter directory (see this module's docstring)."""
    canary = {"prompts": [list(ids) for ids in prompts], "before": list(before), "after": list(after)}
    (into / "canary.json").write_text(json.dumps(canary, allow_nan=False) + "\n", encoding="utf-8")


def _logprob(model: torch.nn.Module, sequence: Sequence[int]) -> float:
    if len(sequence) < 2:
        return 0.0
    ids = torch.tensor([sequence], device=next(model.parameters()).device)
    logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
    chosen = logits.log_softmax(-1).gather(-1, ids[0, 1:, None])
    return float(chosen.sum())


def load_with(loader: Any, pretrained: Pretrained, what: str, **arguments: Any) -> Any:
    """Return what a class of transformers makes of a model.

    Args:
        loader: the class, such as `AutoTokenizer`.
        pretrained: which model.
        what: what is loaded, for messages.
        arguments: of its `from_pretrained`.

    Raises:
        ValueError: it cannot be loaded.
    """
    pretrained.check()
    try:
        return loader.from_pretrained(
            pretrained.location,
            revision=pretrained.revision or "main",
            trust_remote_code=pretrained.trust_remote_code,
            **arguments,
        )
    except Exception as error:  # what the libraries make of a damaged file is of many kinds
        raise ValueError(
            f"cannot load the {what} of model.name_or_path={pretrained.name_or_path!r}: {type(error).__name__}: {error}"
        ) from error


def _adapted(base: PreTrainedModel, adapter: Path) -> Any:
    from peft import PeftModel

    read_adapter(adapter)
    try:
        return PeftModel.from_pretrained(base, str(adapter))
    except Exception as error:  # what the library makes of a wrong shape or key is of many kinds
        raise ValueError(f"cannot put the adapter {adapter} on its base: {type(error).__name__}: {error}") from error


def _check_adapter(adapter: Path) -> None:
    missing = [name for name in ("adapter_config.json", "adapter_model.safetensors") if not (adapter / name).is_file()]
    if missing:
        raise ValueError(
            f"{adapter} is not a PEFT adapter directory: it has no {' and no '.join(missing)}. "
            "Give the `adapter` directory of a committed iteration."
        )

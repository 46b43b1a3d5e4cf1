"""Which fields of PEFT's may be given, and what they may hold.

This is a torch module: import it inside functions, never at the top of a module that the loop imports.
"""

import dataclasses
import difflib
import re
from typing import Annotated, Any, get_type_hints

from peft import PeftConfig
from peft import __version__ as peft_version
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

OWN = {
    "r": "trainer.r", "lora_alpha": "trainer.lora_alpha", "alpha": "trainer.lora_alpha",
    "lora_dropout": "trainer.lora_dropout",
    "target_modules": "trainer.target_modules", "base_model_name_or_path": "model.name_or_path",
    "revision": "model.revision",
}  # fmt: skip
"""Fields of PEFT's that have a key of their own."""
SET = ("task_type", "peft_version", "auto_mapping", "inference_mode")
"""Fields of PEFT's that a round sets."""
REFUSED = {
    "bias": "a bias of the base would be trained, and the base stays as it is",
    "lora_bias": "a layer without a bias cannot take one when the adapter is merged",
    "layer_replication": "the model would have more layers than the base that is served",
    "alora_invocation_tokens": "it acts only behind certain tokens, so it cannot be merged",
    "megatron_config": "the base is loaded by transformers",
    "runtime_config": "it is written in no file",
    "fan_in_fan_out": "PEFT sets it where a layer's weight is transposed",
    "loftq_config": "the base would be quantised", "eva_config": "it needs data of its own before the round",
    "corda_config": "it needs data of its own before the round",
    "lora_ga_config": "it needs data of its own before the round",
    "use_qalora": "it is for a quantised base", "use_bdlora": "it is for its own serving engine",
    "arrow_config": "it routes between adapters, so it cannot be merged",
    "trainable_token_indices": "PEFT cannot merge it together with LoRA",
}  # fmt: skip
"""Fields of PEFT's that cannot be trained, served or merged here, and why."""
KEEPING = (True, False, "gaussian", "orthogonal")
"""Values of `init_lora_weights` that leave the weights of the base alone."""
_SCALES = dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]]
PATTERNS: dict[str, Any] = {
    "rank_pattern": dict[str, Annotated[int, Field(ge=1)]], "alpha_pattern": _SCALES, "lambda_pattern": _SCALES,
}  # fmt: skip
"""Fields that map a regular expression for the end of a module's name; PEFT says no more than `dict`."""
EXPRESSIONS = (*PATTERNS, "modules_to_save", "exclude_modules", "layers_pattern")
"""Fields whose keys, names or text PEFT reads as regular expressions."""


def refusal(kind: type[PeftConfig], name: str, value: Any) -> str | None:
    """Say why a field of `trainer.peft` cannot be given, or not this value; None: it can.

    Args:
        kind: PEFT's class of the method that is configured.
        name: of the field.
        value: as it was typed.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    if name in OWN:
        return f"this has a key of its own: {OWN[name]}"
    if name in SET:
        return "a round sets this by itself: leave it out"
    if name not in defaults:
        close = difflib.get_close_matches(name, defaults, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted({*defaults} - {*OWN, *SET}))}"
        return f"PEFT {peft_version} has no such field: {hint}"
    if name in REFUSED and value not in (None, False, defaults[name]):
        return f"{REFUSED[name]}: leave it out"
    if name == "init_lora_weights" and not (isinstance(value, bool | str) and value in KEEPING):
        return f"{value!r} changes the weights of the base, which is served as it was: take one of {list(KEEPING)}"
    return _wrong_kind(kind, name, value) or _no_expression(name, value)


def _wrong_kind(kind: type[PeftConfig], name: str, value: Any) -> str | None:
    """Compare with the type that PEFT declares: it reads most values without a look at them."""
    if name == "peft_type":  # it has chosen `kind`
        return None
    if name.endswith("_config"):  # PEFT makes an object of the mapping
        return None if value is None or isinstance(value, dict) else f"{value!r} is no mapping"
    declared = PATTERNS.get(name) or get_type_hints(kind)[name]
    try:
        TypeAdapter(declared, config=ConfigDict(strict=True, arbitrary_types_allowed=True)).validate_python(value)
    except ValidationError as error:
        said = error.errors()[0]
        within = ".".join(map(str, said["loc"])) if name in PATTERNS else ""
        return f"{value!r} does not fit{' at ' + within if within else ''}: {said['msg']}"
    return None


def _no_expression(name: str, value: Any) -> str | None:
    """Compile what PEFT would, later and without saying of which field it is."""
    texts = [value] if isinstance(value, str) else value or ()
    for text in texts if name in EXPRESSIONS else ():
        try:
            re.compile(text)
        except re.error as error:
            return f"{text!r} is no regular expression, as which PEFT reads it: {error}"
    return None

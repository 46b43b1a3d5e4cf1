"""The default engine where vLLM has no wheel: transformers takes its place."""

import logging
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

logger = logging.getLogger(__name__)

DEFAULT = "vllm"


def runnable(
    config: dict[str, Any], chosen: str | None, typed: Sequence[str], *, has_wheel: bool | None = None
) -> dict[str, Any]:
    """Return the resolved configuration with an engine that can be had here, unless an engine was named.

    On Linux vLLM is only missing, which is an error that says what to install.

    Args:
        config: the resolved configuration; it is changed.
        chosen: the option of the group `generator` that was composed.
        typed: the overrides of the command line.
        has_wheel: whether vLLM can be had here; None: on Linux, or where it is installed all the same.
    """
    if has_wheel is None:
        has_wheel = sys.platform == "linux" or find_spec("vllm") is not None
    named = any(override.lstrip("+~").startswith("generator") for override in typed)
    if has_wheel or chosen != DEFAULT or named:
        return config
    from star_loop.generators.transformers import Transformers

    kept = {name: value for name, value in config["generator"].items() if name in Transformers.model_fields}
    config["generator"] = {**kept, "_target_": f"{Transformers.__module__}.{Transformers.__name__}"}
    logger.warning("vLLM has no wheel for %s: generator=transformers takes its place, which is slower", sys.platform)
    return config

"""Settings belong to the model that they were chosen for.

`conf/model/tiny.yaml` is the default, and brings what suits a model of 0.3M parameters. Where another model is named
in its place, on the command line or in a file, what it brought is left out, so that the constructors' defaults hold.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

logger = logging.getLogger(__name__)

DEFAULT = "tiny"
_NAMES = ("model._target_", "model.name_or_path")


def suited(config: dict[str, Any], options: Path, chosen: str | None, typed: Sequence[str]) -> dict[str, Any]:
    """The resolved configuration without what the default model brought, where another model is named in its place.

    Args:
        config: the resolved configuration; it is changed.
        options: the folder of the group `model`.
        chosen: the group's option that was composed.
        typed: the overrides of the command line, which stay as they are.
    """
    model = config.get("model")
    named = model.get("name_or_path") if isinstance(model, Mapping) else None
    if chosen != DEFAULT or named is None:
        return config
    kept = {override.lstrip("+").partition("=")[0] for override in typed} | set(_NAMES)
    brought = dict(_leaves(OmegaConf.to_container(OmegaConf.load(options / f"{DEFAULT}.yaml"))))
    there = [key for key, value in brought.items() if key not in kept and _at(config, key) == value]
    if named == DEFAULT:
        logger.info("model=%s brings %s", DEFAULT, ", ".join(f"{key}={brought[key]}" for key in there))
        return config
    for key in there:
        *path, name = key.split(".")
        _at(config, ".".join(path)).pop(name)
    if there:
        logger.info("%s is not model=%s: the defaults hold for %s", named, DEFAULT, ", ".join(there))
    return config


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(node, Mapping):
        yield prefix, node
        return
    for name, child in node.items():
        yield from _leaves(child, f"{prefix}.{name}" if prefix else str(name))


def _at(config: Any, key: str) -> Any:
    """Return the value at a dotted key; None: there is none."""
    for name in key.split("."):
        config = config.get(name) if isinstance(config, Mapping) else None
    return config

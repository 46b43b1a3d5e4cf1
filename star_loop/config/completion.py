"""What Tab offers beyond Hydra's own: keys that only a constructor knows, and the values that some of them have."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from star_loop.config.before import options
from star_loop.config.build import build
from star_loop.config.component import Component
from star_loop.config.help import parts
from star_loop.config.hydra import loaded, resolved
from star_loop.errors import ConfigError

_DOTTED = re.compile(r"(?P<plus>\+{0,2})(?P<key>[A-Za-z_]\w*(?:\.\w*)+)(?P<value>=.*)?")


def offered(line: str) -> list[str]:
    """List what a word such as `sampler.po` can become, with what stands before it in the line; empty: Hydra may know.

    Args:
        line: as it was typed up to the cursor, beginning with the command.
    """
    *before, word = line.split(" ")[1:] or [""]
    if (typed := _DOTTED.fullmatch(word)) is None:
        return []
    single = [given for given in before if given and not given.startswith("-") and "," not in given]  # no sweeps
    try:
        config, _ = loaded(options(single))
        experiment = build(resolved(config, config.hydra))
    except (HydraException, OmegaConfBaseException, ConfigError):
        return []
    found = (f"{typed['plus']}{key}" for key in _words(experiment, valued=typed["value"] is not None))
    return [key for key in found if key.startswith(word)]


def _words(experiment: Component, *, valued: bool) -> Iterator[str]:
    """List `key=` of every key, or `key=value` of those that take one of a few words."""
    for prefix, component in parts(experiment):
        for name, field in type(component).model_fields.items():
            if not isinstance(getattr(component, name), Component | Mapping):
                key = f"{prefix}.{name}" if prefix else name
                yield from (f"{key}={value}" for value in _values(field.annotation)) if valued else [f"{key}="]


def _values(annotation: Any) -> Iterator[str]:
    if annotation is bool:
        yield from ("true", "false")
    elif annotation is type(None):
        yield "null"
    elif get_origin(annotation) is Literal:
        yield from map(str, get_args(annotation))
    else:
        for inner in get_args(annotation):
            yield from _values(inner)

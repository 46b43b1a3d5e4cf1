"""`config.yaml` of a run: its settings, nested and by dotted key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from star_loop.run.disk import RunError, refuse_endless


def read_configuration(path: Path) -> dict[str, Any]:
    """Return the settings in a file; empty, where there is no such file.

    Raises:
        RunError: it is damaged.
    """
    from omegaconf import DictConfig, OmegaConf

    if not refuse_endless(path).exists():
        return {}
    try:
        loaded = OmegaConf.load(path)
        if not (isinstance(loaded, DictConfig) and loaded):
            raise ValueError("it holds no keys")
        settings = OmegaConf.to_container(loaded)
    except Exception as error:  # whatever the YAML reader makes of a damaged file
        raise RunError(f"{path} is damaged ({error}): restore it") from error
    return cast(dict[str, Any], settings)


def flatten(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted key; lists stay whole.

    Example:
        >>> flatten({"sampler": {"power": 2, "by": ["skill"]}})
        {'sampler.power': 2, 'sampler.by': ['skill']}
    """
    if not isinstance(settings, Mapping):
        return {prefix: settings}
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat

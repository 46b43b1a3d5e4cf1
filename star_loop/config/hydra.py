"""The command line as Hydra is told it: keys that a component knows, and names of run directories that stay."""

import difflib
import hashlib
import logging
import re
from argparse import Namespace
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from star_loop.config.suited import suited
from star_loop.config.typed import grammatical

PACKAGE = Path(__file__).parent.parent
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"
"""Inside the package when installed from a wheel, beside it in a checkout."""

_OVERRIDE = re.compile(r"[A-Za-z_][\w.]*\.\w+=")
_LONGEST = 100
"""Bytes of a run directory's name, before its hash."""
_UNSAFE = re.compile(r"[^\w.,=+-]+")


class BelowWarning(logging.Filter):
    """Lets through what no other handler of the screen shows."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is less than a warning."""
        return record.levelno < logging.WARNING


LIBRARIES = frozenset({
    "accelerate", "datasets", "filelock", "fsspec", "httpx", "httpx2", "huggingface_hub", "matplotlib", "mlflow",
    "peft", "py", "torch", "transformers", "urllib3", "vllm", "wandb",
})  # fmt: skip
"""Whose warnings are for the log only (`py`: Python's own, as `py.warnings`)."""


class NotLibraries(logging.Filter):
    """Keeps what libraries say, short of errors, off the screen; the launch's log has it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is an error, or not a library's."""
        return record.levelno >= logging.ERROR or record.name.split(".")[0] not in LIBRARIES


SWEEP = ("-m", "--multirun")
sweeps: set[str] = set()
"""Folders of the sweeps that this process has launched."""


class Sweeps(Callback):  # type: ignore[misc]
    """Remembers sweeps, wherever a launcher runs their jobs."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra calls it before the first job."""
        sweeps.add(config.hydra.sweep.dir)


def register() -> None:
    """Make `${safe:…}` and `${slug:…}` known to the configuration."""
    OmegaConf.register_new_resolver("safe", safe, replace=True)
    OmegaConf.register_new_resolver("slug", slug, replace=True)


def prepare(arguments: list[str]) -> list[str]:
    """What Hydra is given for what was typed."""
    sweep = [argument for argument in arguments if argument in SWEEP]
    others = [_allow_new(grammatical(argument)) for argument in arguments if argument not in SWEEP]
    return [*sweep[:1], *(_exclude_fixed_keys(others) if sweep else others)]


def composed(overrides: Sequence[str]) -> dict[str, Any]:
    """The resolved configuration that `python -m star_loop` makes of these overrides, for `launch` in a script.

    Example:
        >>> composed(["experiment=smoke", "iterations=2"])["iterations"]
        2
    """
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", prepare(list(overrides)), return_hydra_config=True)
    return resolved(config, config.hydra)


def resolved(config: DictConfig, hydra: DictConfig) -> dict[str, Any]:
    """What `build` is given: plain values without Hydra's own, suited to the model.

    Args:
        config: as it was composed.
        hydra: Hydra's own part of it.
    """
    keys = [str(key) for key in config if key != "hydra"]
    plain = OmegaConf.to_container(OmegaConf.masked_copy(config, keys), resolve=True)
    chosen, typed = hydra.runtime.choices.get("model"), hydra.overrides.task
    return suited(cast(dict[str, Any], plain), CONF / "model", chosen, typed)


def help_page(typed: Namespace) -> str:
    """What `--help` shows of the configuration that was composed.

    Hydra's own way to a help page reads the whole configuration again for each of its groups.

    Args:
        typed: what Hydra's parser makes of the arguments.

    Raises:
        HydraException, OmegaConfBaseException: it cannot be composed.
        ConfigError: it cannot be built.
    """
    from star_loop.config import hydra_internals
    from star_loop.config.build import build
    from star_loop.config.help import help_text

    loader = hydra_internals.loader(typed.config_path or CONF, typed.config_dir)
    config = loader.load_configuration(typed.config_name or "config", typed.overrides, RunMode.RUN)
    HydraConfig.instance().set_config(config)
    files = loader.repository
    groups = {name: files.get_group_options(name) for name in loader.list_groups("") if name != "hydra"}
    return help_text(build(resolved(config, config.hydra)), groups)


def unknown_option(arguments: Sequence[str], keys: Collection[str]) -> str | None:
    """What is wrong with the first option that Hydra does not have; None: it knows them all.

    Args:
        arguments: what was typed.
        keys: the configuration's own, which are written without dashes.
    """
    from star_loop.config import hydra_internals

    known = hydra_internals.options()
    for argument in arguments:
        option, _, value = argument.partition("=")
        if not option.startswith("--") or option in known:
            continue
        if option[2:].split(".")[0] in keys:
            return f"{option}: keys are written without dashes: {option[2:]}={value or '…'}"
        return f"{option}: no such option: {nearest(option, known)}"
    return None


def nearest(name: str, known: Sequence[str]) -> str:
    """What a misspelt name may have meant, or all that there is."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"


def safe(name: str) -> str:
    """The run's name, if it is a plain relative path.

    Raises:
        ValueError: absolute, climbing (`..`), empty or with control characters.
    """
    parts = str(name).split("/")
    if any(part in ("", ".", "..") or not part.isprintable() or "\\" in part for part in parts):
        raise ValueError(f"name={name!r} must be a plain name below outputs/: letters, digits and - _ . = ,")
    return str(name)


def slug(overrides: str) -> str:
    """The overrides of a sweep's job as one directory name: short, and another one for other overrides.

    A name that had to be changed or cut ends with a hash of what it stands for.

    Example:
        >>> slug("sampler=adastar,seed=0"), slug("++task.path=/data/a b.jsonl")
        ('sampler=adastar,seed=0', 'task.path=-data-a-b.jsonl-c5351dea')
    """
    plain = re.sub(r"(^|,)\++", r"\1", overrides)
    name = _UNSAFE.sub("-", plain).strip("-.").encode()[:_LONGEST].decode(errors="ignore")
    if name == plain:
        return name or "job"
    return f"{name}-{hashlib.blake2b(plain.encode(), digest_size=4).hexdigest()}"


def _allow_new(argument: str) -> str:
    # A component's YAML names only what differs from its constructor's defaults, so Hydra cannot know every key;
    # the constructor does, and refuses unknown ones with a better message.
    is_key = _OVERRIDE.match(argument) and not argument.startswith("hydra.")
    return f"++{argument}" if is_key else argument


def _exclude_fixed_keys(arguments: list[str]) -> list[str]:
    # Only swept keys name a sweep's directories: it continues in them when a fixed free key (`iterations`) changes.
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    keys: dict[bool, set[str]] = {True: set(), False: set()}
    for argument in arguments:
        try:
            override = OverridesParser.create().parse_override(argument)
        except HydraException:
            continue  # an option or a mistake; Hydra will say so
        if override.key_or_group:
            keys[override.is_sweep_override()].add(override.key_or_group)
    listed = ",".join(sorted(keys[False] - keys[True]))
    return [*arguments, f"hydra.job.config.override_dirname.exclude_keys=[{listed}]"] if listed else arguments

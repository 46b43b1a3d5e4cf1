"""The command line as Hydra is told it: keys that a component knows, and names of run directories that stay."""

import hashlib
import logging
import re
from argparse import Namespace
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from star_loop.config.engine import runnable
from star_loop.config.explain import nearest, without_plus
from star_loop.config.suited import suited
from star_loop.config.typed import grammatical
from star_loop.errors import ConfigError

PACKAGE = Path(__file__).parent.parent
CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parent / "conf"
"""Inside the package when installed from a wheel, beside it in a checkout."""
RULES = "1.3"
"""The version of Hydra by whose rules `conf/` is written."""

_KEY = re.compile(r"[A-Za-z_][\w.]*\.\w+")
_LONGEST = 100
"""Bytes of a run directory's name, before its hash."""
_UNSAFE = re.compile(r"[^\w.,=+-]+")


class BelowWarning(logging.Filter):
    """Lets through what no other handler of the screen shows."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is less than a warning."""
        return record.levelno < logging.WARNING


LIBRARIES = frozenset({
    "accelerate", "bitsandbytes", "datasets", "filelock", "fsspec", "httpx", "httpx2", "huggingface_hub", "matplotlib",
    "mlflow", "peft", "py", "torch", "transformers", "urllib3", "vllm", "wandb",
})  # fmt: skip
"""Whose warnings are for the log only (`py`: Python's own, as `py.warnings`)."""


class NotLibraries(logging.Filter):
    """Keeps what libraries say, short of errors, off the screen; the launch's log has it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether it is an error, or not a library's."""
        return record.levelno >= logging.ERROR or record.name.split(".")[0] not in LIBRARIES


class AsTyped(logging.Filter):
    """Shows the overrides of a sweep's jobs as they were typed."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Write the record anew."""
        record.msg, record.args = without_plus(record.getMessage()), None
        return True


SWEEP = ("-m", "--multirun")
ONE_OF = ("task", "model", "sampler", "allocator", "search", "scorer", "reward", "generator", "trainer")
"""Groups of which one option is chosen; those of others may be laid over each other."""


def register() -> None:
    """Make `${folder:…}`, `${safe:…}`, `${slug:…}` and Hydra's own, such as `${now:…}`, known to the configuration."""
    setup_globals()
    OmegaConf.register_new_resolver("folder", folder, replace=True)
    OmegaConf.register_new_resolver("safe", safe, replace=True)
    OmegaConf.register_new_resolver("slug", slug, replace=True)


def prepare(arguments: list[str]) -> list[str]:
    """Return what Hydra is given for what was typed."""
    from star_loop.config import hydra_internals

    arguments = hydra_internals.options_first(arguments)
    sweep = [argument for argument in arguments if argument in SWEEP]
    others = [_as_hydra_reads(argument) for argument in arguments if argument not in SWEEP]
    return [*sweep[:1], *(_exclude_fixed_keys(others) if sweep else others)]


def composed(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the resolved configuration that `python -m star_loop` makes of these overrides, for `launch` in a script.

    The script may use Hydra by itself, and compose in several threads.

    Raises:
        HydraException, OmegaConfBaseException, ConfigError: it cannot be composed.

    Example:
        >>> composed(["experiment=smoke", "iterations=2"])["iterations"]
        2
    """
    from star_loop.config import hydra_internals

    with hydra_internals.own_rules(RULES):
        register()
        typed = [_as_hydra_reads(override) for override in overrides]
        loader = hydra_internals.loader(CONF, None)
        config = loader.load_configuration("config", typed, RunMode.RUN, from_shell=False)
        return resolved(config, config.hydra)


def resolved(config: DictConfig, hydra: DictConfig) -> dict[str, Any]:
    """Return what `build` is given: plain values without Hydra's own, suited to the model and to the platform.

    Args:
        config: as it was composed.
        hydra: Hydra's own part of it.
    """
    keys = [str(key) for key in config if key != "hydra"]
    plain = OmegaConf.to_container(OmegaConf.masked_copy(config, keys), resolve=True)
    choices, typed = hydra.runtime.choices, hydra.overrides.task
    config_of_model = suited(cast(dict[str, Any], plain), CONF / "model", choices.get("model"), typed)
    return runnable(config_of_model, choices.get("generator"), typed)


def loaded(typed: Namespace, mode: RunMode = RunMode.RUN) -> tuple[DictConfig, dict[str, list[str]]]:
    """Return the configuration that Hydra would compose, and the options of its groups.

    Args:
        typed: what Hydra's parser makes of the arguments.
        mode: of a sweep, what its jobs share.

    Raises:
        HydraException, OmegaConfBaseException, ConfigError: it cannot be composed.
    """
    from star_loop.config import hydra_internals

    loader = hydra_internals.loader(typed.config_path or CONF, typed.config_dir)
    try:
        config = loader.load_configuration(typed.config_name or "config", typed.overrides, mode)
    except (HydraException, OmegaConfBaseException):
        raise
    except Exception as error:  # of a YAML file that is none, and whatever else Hydra does not expect
        raise ConfigError(f"this cannot be composed ({type(error).__name__}: {error})") from error
    HydraConfig.instance().set_config(config)
    files = loader.repository
    return config, {name: files.get_group_options(name) for name in loader.list_groups("") if name != "hydra"}


def groups() -> set[str]:
    """The configuration's groups, of which an option is chosen by `group=option`."""
    return {path.name for path in CONF.iterdir() if path.is_dir()} - {"hydra"}


def root_keys() -> set[str]:
    """Return the configuration's groups, and the keys beside them."""
    return (groups() | {str(key) for key in OmegaConf.load(CONF / "config.yaml")}) - {"defaults", "hydra"}


def wrong_option(arguments: Sequence[str], keys: Collection[str]) -> str | None:
    """Say what is wrong with the first option that Hydra does not have, or the first list where one option of a group
    is wanted; None: there is nothing.

    Args:
        arguments: what was typed.
        keys: the configuration's own, which are written without dashes.
    """
    from star_loop.config import hydra_internals

    known = hydra_internals.options()
    for argument in arguments:
        option, _, value = argument.partition("=")
        if option in ONE_OF and value.startswith("["):  # Hydra would lay the files over each other
            return f"{option}: one option is wanted, got {value}: a sweep is -m {option}={value.strip('[]')}"
        if not option.startswith("--") or option in known:
            continue
        if option[2:].split(".")[0] in keys:
            return f"{option}: keys are written without dashes: {option[2:]}={value or '…'}"
        return f"{option}: no such option: {nearest(option, known)}"
    return None


def folder(path: object) -> str:
    """Return the folder of all runs; `~` is the user's own.

    Raises:
        ConfigError: it is empty, which would be the root of the file system.
    """
    if path is None or not str(path).strip():
        raise ConfigError("outputs= is empty: give a folder, such as outputs=outputs")
    return str(Path(str(path)).expanduser()) if str(path).split("/")[0] == "~" else str(path)


def safe(name: object) -> str:
    """Return the run's name, if it is a plain relative path.

    Raises:
        ConfigError: absolute, climbing (`..`), empty, with control characters, or called as a run's own folders are.
    """
    from star_loop.run.directory import FILES_BESIDE, OWN_FOLDERS

    parts = str(name).split("/")
    if own := set(parts) & set(OWN_FOLDERS):
        raise ConfigError(f"name={name!r}: every run has a folder {own.pop()}: choose another name")
    if parts[-1] in FILES_BESIDE:
        raise ConfigError(f"name={name!r}: a file of this name is written beside the runs: choose another name")
    if name is None or any(part in ("", ".", "..") or not part.isprintable() or "\\" in part for part in parts):
        what = "a plain name below outputs/: no .., no backslash, no unprintable sign"
        raise ConfigError(f"name={name!r} must be {what}")
    return str(name)


def slug(overrides: str) -> str:
    """Return the overrides of a sweep's job as one directory name: short, and another one for other overrides.

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


def _as_hydra_reads(argument: str) -> str:
    key, given, value = argument.partition("=")
    if given and value == "null" and key in groups():
        return f"~{key}"  # none of the group; Hydra has no value for it
    # A component's YAML names only what differs from its constructor's defaults, so Hydra cannot know every key;
    # the constructor does, and refuses unknown ones with a better message.
    is_new = given and _KEY.fullmatch(key) and not key.startswith("hydra.")
    return f"{'++' if is_new else ''}{grammatical(argument)}"


def _exclude_fixed_keys(arguments: list[str]) -> list[str]:
    # Only swept keys name a sweep's directories: it continues in them when a fixed free key (`iterations`) changes.
    from hydra.core.override_parser.overrides_parser import OverridesParser

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

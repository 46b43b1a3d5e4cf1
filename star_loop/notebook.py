"""What a notebook or a script does with runs: compose a configuration, launch it, open what it left."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from star_loop.config.explain import explain
from star_loop.config.hydra import composed, folder, root_keys, safe, wrong_option
from star_loop.errors import ConfigError, looked_for
from star_loop.launch import launch
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import RunError


def compose(*overrides: str) -> dict[str, Any]:
    """Return the resolved configuration that `python -m star_loop OVERRIDES` would run.

    Options of the command line, such as `-m` and `--config-dir`, are none of it.

    Raises:
        ConfigError: an override is no text, cannot be read, or names what does not exist.

    Example:
        >>> compose("experiment=smoke", "iterations=2")["iterations"]
        2
    """
    if wrong := [override for override in overrides if not isinstance(override, str)]:
        raise ConfigError(f'compose takes overrides as texts, compose("seed=1", "iterations=2"), and got {wrong[0]!r}')
    if problem := wrong_option(overrides, root_keys()):
        raise ConfigError(problem)
    try:
        return composed(overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, root_keys())) from error


def improve(config: Mapping[str, Any], directory: str | Path | None = None) -> RunDirectory:
    """Launch the run of a configuration, or continue it, and open it once it is complete.

    Args:
        config: what `compose` returned.
        directory: the run directory; None: `<outputs>/<name>`, as on the command line.

    Raises:
        ConfigError, RunError, EngineError, TrainingError, …: what `launch` raises; nothing finished is lost.
    """
    _refuse_odd(config)
    path = Path(folder(config.get("outputs")), safe(config.get("name"))) if directory is None else _path(directory)
    launch(config, path)
    return open_run(path)


def open_run(directory: str | Path) -> RunDirectory:
    """Open a run directory that has at least the base model's iteration; the run may still be under way.

    What is opened stays the same run when the program changes its folder.

    Raises:
        RunError: there is no such run, or nothing in it is committed yet.
    """
    run = RunDirectory(_path(directory).absolute())
    if run.latest() is None:
        raise RunError(f"{directory} has no committed iteration: give a run directory, such as outputs/<name>")
    return run


def _refuse_odd(config: Mapping[str, Any]) -> None:
    """Refuse what is no configuration, and values that its file in the run directory cannot hold."""
    if not isinstance(config, Mapping):
        raise ConfigError(f"improve takes the configuration that compose returns, and got {config!r}")
    try:
        OmegaConf.create(dict(config))
    except OmegaConfBaseException as error:
        wrong = f"{error.full_key}: {str(error).splitlines()[0]}"
        raise ConfigError(f"{wrong}: give a text without ${{, a number, list or dictionary of Python's own") from error


def _path(directory: str | Path) -> Path:
    if not isinstance(directory, str | os.PathLike) or not os.fspath(directory):  # Python takes '' for the current one
        raise RunError(f"{directory!r} is no run directory: give its path, such as 'outputs/first'")
    try:
        return looked_for(Path(directory).expanduser())
    except (OSError, ValueError, RuntimeError) as error:  # the last one: the home folder of a user who is not there
        raise RunError(f"{directory!r} is no run directory ({error}): give its path, as 'outputs/first'") from error

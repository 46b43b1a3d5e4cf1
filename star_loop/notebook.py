"""What a notebook or a script does with runs: compose a configuration, launch it, open what it left."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from star_loop.config.explain import explain
from star_loop.config.hydra import composed, root_keys, safe, wrong_option
from star_loop.errors import ConfigError
from star_loop.launch import launch
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import RunError


def compose(*overrides: str) -> dict[str, Any]:
    """Return the resolved configuration that `python -m star_loop OVERRIDES` would run.

    Raises:
        ConfigError: an override cannot be read, or names what does not exist.

    Example:
        >>> compose("experiment=smoke", "iterations=2")["iterations"]
        2
    """
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
    path = Path(config["outputs"], safe(config["name"])) if directory is None else Path(directory)
    launch(config, path)
    return open_run(path)


def open_run(directory: str | Path) -> RunDirectory:
    """Open a run directory that has at least the base model's iteration; the run may still be under way.

    Raises:
        RunError: there is no such run, or nothing in it is committed yet.
    """
    run = RunDirectory(Path(directory))
    if run.latest() is None:
        raise RunError(f"{directory} has no committed iteration: give a run directory, such as outputs/<name>")
    return run

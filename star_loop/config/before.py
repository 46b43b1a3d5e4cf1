"""What is looked at before Hydra makes a directory, writes a file or begins to log."""

import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.types import RunMode

from star_loop.config import hydra_internals
from star_loop.config.build import build
from star_loop.config.help import help_text
from star_loop.config.hydra import loaded, prepare, resolved, root_keys, wrong_option
from star_loop.config.secrets import guard_command, guard_secrets
from star_loop.config.typed import empty_range
from star_loop.errors import ConfigError


def options(typed: Sequence[str]) -> Namespace:
    """Return what Hydra's parser makes of the arguments.

    Raises:
        ConfigError: a secret among them, an option that does not exist, or two that exclude each other.
    """
    guard_command(typed, os.environ)
    if problem := wrong_option(typed, root_keys()):
        raise ConfigError(problem)
    asked = hydra_internals.parser().parse_args(prepare(list(typed)))
    if asked.multirun and (asked.cfg or asked.info):
        raise ConfigError(f"--{'cfg' if asked.cfg else 'info'} shows what one run would be: leave out -m")
    return asked


def help_page(asked: Namespace) -> str:
    """Return what `--help` shows of the configuration that was composed.

    Hydra's own way to a help page reads the whole configuration again for each of its groups.

    Raises:
        HydraException, OmegaConfBaseException, ConfigError: it cannot be composed or built.
    """
    config, groups = loaded(asked)
    return help_text(build(resolved(config, config.hydra)), groups)


def settings_of_run(asked: Namespace) -> tuple[dict[str, Any], Path]:
    """Return the resolved configuration of a single run, which has been built and thrown away, and its directory.

    Raises:
        HydraException, OmegaConfBaseException, ConfigError: it cannot be composed or built, or holds a secret.
    """
    config, _ = loaded(asked)
    settings = resolved(config, config.hydra)
    guard_secrets(settings, os.environ)
    if not config.hydra.run.dir:
        raise ConfigError("hydra.run.dir is empty: leave it out, name= and outputs= say where a run lies")
    build(settings)
    return settings, Path(config.hydra.run.dir)


def folder_of_sweep(asked: Namespace) -> str:
    """Tell where a sweep puts the directories of its jobs, which are looked at one by one when each begins.

    Raises:
        HydraException, OmegaConfBaseException, ConfigError: what they share cannot be composed, or holds a secret;
            or there is no job.
    """
    if empty := empty_range(asked.overrides):
        raise ConfigError(f"{empty} holds no number, so that there is no job: see where it begins and ends")
    config, _ = loaded(asked, RunMode.MULTIRUN)
    guard_secrets(resolved(config, config.hydra), os.environ)
    return str(config.hydra.sweep.dir)

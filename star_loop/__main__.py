"""`python -m star_loop [overrides]`: compose the configuration, build the experiment, run the loop.

Hydra composes `conf/`; nothing below this module knows it.
"""

import logging
import os
import re
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from star_loop.config.hydra import CONF
from star_loop.errors import ConfigError


class Failed(Exception):
    """A job of a sweep ended with an error that has been reported."""


class Stopped(KeyboardInterrupt):
    """Somebody else asked for the end: a cluster that wants the machine back, or a limit of time."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@hydra.main(  # type: ignore[untyped-decorator]
    version_base="1.3", config_path=str(CONF), config_name="config"
)
def task(config: DictConfig) -> float | None:
    """One run: of a single launch, or one job of a sweep.

    Returns:
        The highest validation accuracy, which a sweeper such as Optuna's can look for; None: there is none.
    """
    from star_loop.config.hydra import resolved
    from star_loop.generators.process import end_with_parent
    from star_loop.launch import launch, report_failure, show
    from star_loop.run.directory import RunDirectory

    logging.captureWarnings(True)  # into the launch's log
    hydra_config = HydraConfig.get()
    directory = Path(hydra_config.runtime.output_dir)
    if hydra_config.launcher._target_.endswith("JoblibLauncher"):
        end_with_parent(signal.SIGTERM)  # its processes would go on without the sweep that they belong to
    try:
        settings = resolved(config, hydra_config)
        if settings["show"] is not None:
            print(show(settings))
            return None
        launch(settings, directory)
        measured = RunDirectory(directory).committed_metrics()
        return max((m["validation/accuracy"] for m in measured if "validation/accuracy" in m), default=None)
    except Exception as error:
        report_failure(error, directory)
        if hydra_config.mode == RunMode.MULTIRUN:
            raise Failed from error  # Hydra goes on with the other jobs
        sys.exit(1)


def main() -> None:
    """Entry point; exit codes: 0 done, 1 the run failed, 2 the configuration, 128 + n ended by signal n.

    SIGTERM and SIGUSR1, with which clusters announce the end, are taken as Ctrl-C is.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us instead of Hydra's own printing
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads that spin while they wait take the core from whoever they wait for, the engine for instance.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _stop)
    from star_loop.config import hydra_internals
    from star_loop.config.hydra import help_page, prepare, register, sweeps, unknown_option

    register()
    typed = sys.argv[1:]
    if problem := unknown_option(typed, _root_keys()):
        print(f"star_loop: {problem}", file=sys.stderr)
        sys.exit(2)
    sys.argv[1:] = prepare(typed)
    try:
        options = hydra_internals.parser().parse_args()
        if options.help:
            print(help_page(options))
        else:
            task()
    except Failed:
        for said in sorted(path for folder in sweeps for path in Path(folder).glob(".submitit")):
            print(f"what the jobs said: {said}/*/*_log.err", file=sys.stderr)
        sys.exit(1)
    except (HydraException, OmegaConfBaseException, ConfigError) as error:
        sys.exit(_configuration_error(error))
    except KeyboardInterrupt as interrupted:
        again = shlex.join([Path(sys.executable).name, "-m", "star_loop", *typed])
        print(f"\nInterrupted. Nothing finished is lost; the same command continues:\n  {again}", file=sys.stderr)
        sys.exit(128 + (interrupted.number if isinstance(interrupted, Stopped) else signal.SIGINT))
    finally:
        if sweeps:
            print(f"compare its runs: {Path(sys.executable).name} -m star_loop.report {shlex.join(sorted(sweeps))}")


def _stop(number: int, frame: FrameType | None) -> Any:
    signal.signal(number, signal.SIG_IGN)  # whoever asks again does not cut short what the first time brings about
    raise Stopped(number)


def _configuration_error(error: Exception) -> int:
    print(f"star_loop: configuration error: {explain(error)}", file=sys.stderr)
    return 2


_UNKNOWN = re.compile(r"(?:Could not (?:override|delete(?: from config\.)?)|config group) '([^']+)'")
"""How Hydra names a key or a group that it does not find."""


def explain(error: Exception) -> str:
    """What is misspelt, and the nearest of what there is; Hydra's own words where it is something else."""
    from star_loop.config.hydra import nearest

    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        option = error.missing_cfg_file.rpartition("/")[2]
        return f"Could not find '{error.missing_cfg_file}': {nearest(option, sorted(error.options))}"
    found, known = _UNKNOWN.search(str(error)), _root_keys()
    root = re.split("[.@=/]", found[1])[0] if found else None
    if root is None or root == "hydra" or root in known:
        said = re.sub(r"(?<=')\+\+(?=[a-z_]+\.)", "", str(error))  # which nobody typed: see `prepare`
        return f"{said}\nEvery key of what would run: add --help" if root in known else said
    return f"{root}: no such key: {nearest(root, sorted(known))}"


def _root_keys() -> set[str]:
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    return (groups | {str(key) for key in OmegaConf.load(CONF / "config.yaml")}) - {"defaults", "hydra"}


if __name__ == "__main__":
    main()

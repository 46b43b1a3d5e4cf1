"""`python -m star_loop [overrides]`: compose the configuration, build the experiment, run the loop.

Hydra composes `conf/`; nothing below this module knows it.
"""

import logging
import os
import shlex
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from star_loop.config.hydra import CONF, RULES
from star_loop.errors import ConfigError


class Failed(Exception):
    """A job of a sweep ended with an error that has been reported."""


class Stopped(KeyboardInterrupt):
    """Somebody else asked for the end: a cluster that wants the machine back, or a limit of time."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@hydra.main(  # type: ignore[untyped-decorator]
    version_base=RULES, config_path=str(CONF), config_name="config"
)
def task(config: DictConfig) -> float | None:
    """Do one run: of a single launch, or one job of a sweep.

    Returns:
        The highest validation accuracy, which a sweeper such as Optuna's can look for; None: there is none.
    """
    from star_loop.config.hydra import resolved
    from star_loop.config.screen import tell_what_is_gone
    from star_loop.generators.process import end_with_parent
    from star_loop.launch import launch, report_failure
    from star_loop.run.directory import RunDirectory

    logging.captureWarnings(True)  # into the launch's log
    tell_what_is_gone()
    hydra_config = HydraConfig.get()
    directory = Path(hydra_config.runtime.output_dir)
    if hydra_config.launcher._target_.endswith("JoblibLauncher"):
        end_with_parent(signal.SIGTERM)  # its processes would go on without the sweep that they belong to
    try:
        launch(resolved(config, hydra_config), directory)
        run = RunDirectory(directory)
        best = run.best()
        return None if best is None else run.iteration(best).metrics()["validation/accuracy"]
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and error.code:
            raise  # as a queue ends a job that it will begin again; 0 would say that the run is done
        report_failure(error, directory, directory / str(hydra_config.output_subdir))
        if hydra_config.mode == RunMode.MULTIRUN:
            raise Failed from error  # Hydra goes on with the other jobs
        sys.exit(2 if isinstance(error, ConfigError) else 1)


def main() -> None:
    """Entry point; exit codes: 0 done, 1 the run failed, 2 refused before it began, 128 + n ended by signal n.

    SIGTERM and SIGUSR1, with which clusters announce the end, are taken as Ctrl-C is.
    """
    from star_loop.config.explain import explain
    from star_loop.config.hydra import register, root_keys
    from star_loop.config.screen import outlive_screen

    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us instead of Hydra's own printing
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads that spin while they wait take the core from whoever they wait for, the engine for instance.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _stop)
    outlive_screen()
    register()
    typed = sys.argv[1:]
    try:
        _do(typed)
    except (HydraException, OmegaConfBaseException, ConfigError) as error:
        print(f"star_loop: configuration error: {explain(error, root_keys())}", file=sys.stderr)
        sys.exit(2)
    except (OSError, ValueError) as error:  # of a directory that Hydra cannot make, or that holds a link
        print(f"star_loop: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt as interrupted:
        again = shlex.join([Path(sys.executable).name, "-m", "star_loop", *typed])
        print(f"\nInterrupted. Nothing finished is lost; the same command continues:\n  {again}", file=sys.stderr)
        sys.exit(128 + (interrupted.number if isinstance(interrupted, Stopped) else signal.SIGINT))


def _do(typed: Sequence[str]) -> None:
    """Do what was typed, after it was looked at: nothing is made or written before."""
    from star_loop.config.before import help_page, options, settings_of_run
    from star_loop.config.completion import offered
    from star_loop.config.hydra import prepare
    from star_loop.config.screen import end
    from star_loop.config.typed import decoded
    from star_loop.run.directory import RunDirectory
    from star_loop.run.disk import leaving_nothing_empty, naming
    from star_loop.run.guard import refuse_places

    typed = decoded(typed)
    try:
        asked = options(typed)
    except SystemExit as told:  # what the parser has answered by itself, such as --version
        end(int(told.code or 0))
    sys.argv[1:] = prepare(list(typed))
    if asked.help:
        print(help_page(asked))
        end(0)
    elif asked.multirun:
        _sweep(asked)
    elif asked.shell_completion and (words := offered(os.environ.get("COMP_LINE", ""))):
        print("\n".join(words))
    elif asked.cfg or asked.info or asked.shell_completion or asked.hydra_help:
        task()
        end(0)
    else:
        settings, directory = settings_of_run(asked)
        if settings["show"] is not None:
            from star_loop.launch import show
            from star_loop.stages.load import refusing

            with refusing():
                shown = show(settings)
            print(shown)
            end(0)
        else:
            refuse_places(RunDirectory(directory))
            # Where Hydra writes before the run does.
            with leaving_nothing_empty(directory), naming(directory / "attempts"):
                task()


def _sweep(asked: Namespace) -> None:
    from star_loop.config.before import folder_of_sweep
    from star_loop.config.typed import quoted
    from star_loop.report.runs import directories
    from star_loop.run.disk import leaving_nothing_empty, naming
    from star_loop.run.guard import refuse_link

    folder = folder_of_sweep(asked)
    listed = Path(folder) / "multirun.yaml"
    for written in (listed, *sorted(Path(folder).glob("*/attempts"))):
        refuse_link(written)  # Hydra writes there before a job looks at its directory
    sys.argv.append(f"hydra.sweep.dir={quoted(folder)}")  # of all its jobs, also where they differ in their names
    with leaving_nothing_empty(Path(folder)):
        try:
            with naming(Path(folder)):
                task()
        except Failed:
            for said in sorted(Path(folder).glob(".submitit")):
                print(f"what the jobs said: {said}/*/*_log.err", file=sys.stderr)
            sys.exit(1)
        finally:
            if Path(folder).is_dir() and any(directories(Path(folder))):
                print(f"compare its runs: {Path(sys.executable).name} -m star_loop.report {shlex.quote(folder)}")
            elif list(Path(folder).glob("*")) == [listed]:  # of jobs that were all refused
                listed.unlink()


def _stop(number: int, frame: FrameType | None) -> Any:
    signal.signal(number, signal.SIG_IGN)  # whoever asks again does not cut short what the first time brings about
    raise Stopped(number)


if __name__ == "__main__":
    main()

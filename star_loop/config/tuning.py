"""Looking for good values of keys: Optuna asks, Hydra's launcher runs, Optuna is told (`tune=optuna`)."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf

from star_loop.errors import ConfigError

logger = logging.getLogger(__name__)


class Tuning(Sweeper):  # type: ignore[misc]
    """Runs the trials that Optuna's TPE suggests (Bergstra et al. 2011), and writes what it found.

    Each trial is a job of the sweep, in the folder that its values name. So a trial that was finished by an earlier
    command is not run again: the seed makes the suggestions the same, and its job returns what it returned before.
    """

    def __init__(self, *, direction: Literal["maximize", "minimize"], n_trials: int, n_jobs: int, seed: int) -> None:
        self.direction, self.n_trials, self.n_jobs, self.seed = direction, n_trials, n_jobs, seed

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Take what Hydra hands over before the sweep."""
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run all trials.

        Args:
            arguments: the overrides of the command line, with `interval(…)`, `range(…)` or `choice(…)` for some keys.

        Raises:
            ConfigError: Optuna is missing, there is nothing to look for, or a job returns no number.
            Exception: the first error of a job, after all trials.
        """
        overrides = OverridesParser.create(config_loader=self.hydra_context.config_loader).parse_overrides(arguments)
        fixed = [str(override.input_line) for override in overrides if not override.is_sweep_override()]
        space = {str(override.get_key_element()): override for override in overrides if override.is_sweep_override()}
        if not space:
            raise ConfigError("tune=optuna: no key has an interval: add for instance 'trainer.r=choice(8,16,32)'")
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        study, failed = self._study({key: distribution(override) for key, override in space.items()}, fixed)
        if finished := [trial for trial in study.trials if trial.value is not None]:
            best = {"best_params": study.best_params, "best_value": study.best_value, "trials": len(finished)}
            OmegaConf.save(OmegaConf.create({"name": "optuna", **best}), folder / "optimization_results.yaml")
            logger.info("best of %d trials: %s", len(finished), best)
        for job in failed:
            if job.return_value is None:  # Hydra raises a job's error where its value is read
                raise ConfigError("tune=optuna: a run has no validation accuracy, by which values could be compared")

    def _study(self, space: Mapping[str, Any], fixed: Sequence[str]) -> tuple[Any, list[JobReturn]]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction=self.direction, sampler=optuna.samplers.TPESampler(seed=self.seed))
        failed = []
        for start in range(0, self.n_trials, self.n_jobs):
            trials = [study.ask(dict(space)) for _ in range(min(self.n_jobs, self.n_trials - start))]
            jobs = [[*fixed, *(f"{key}={value}" for key, value in trial.params.items())] for trial in trials]
            self.validate_batch_is_legal(jobs)
            for trial, job in zip(trials, self.launcher.launch(jobs, initial_job_idx=start), strict=True):
                if job.status is JobStatus.COMPLETED and job.return_value is not None:
                    study.tell(trial, float(job.return_value))
                else:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                    failed.append(job)
        return study, failed


def distribution(override: Override) -> Any:
    """Return Optuna's distribution for an override of Hydra's.

    Raises:
        ConfigError: Optuna is missing.
    """
    try:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    except ModuleNotFoundError as error:
        raise ConfigError('tune=optuna needs Optuna: pip install "star_loop[optuna]"') from error
    value = override.value()
    if isinstance(value, IntervalSweep):
        log, whole = "log" in value.tags, isinstance(value.start, int) and isinstance(value.end, int)
        if whole:
            return IntDistribution(value.start, value.end, log=log)
        return FloatDistribution(value.start, value.end, log=log)
    if isinstance(value, RangeSweep) and all(isinstance(part, int) for part in (value.start, value.stop, value.step)):
        return IntDistribution(*_ends(value.range()), step=value.step)
    return CategoricalDistribution(list(override.sweep_string_iterator()))


def _ends(numbers: Iterator[int]) -> tuple[int, int]:
    known = list(numbers)
    return known[0], known[-1]

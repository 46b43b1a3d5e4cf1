"""Beginning a run with the iterations of another."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from star_loop.errors import ConfigError
from star_loop.run.commit import IterationState
from star_loop.run.directory import HARD, MisplacedError, RunDirectory
from star_loop.run.disk import RunError, read_json
from star_loop.run.guard import check_prepared, differs
from star_loop.run.iteration import iteration_number
from star_loop.run.mirror import download

FETCHED = ".fork"
"""What is downloaded from a mirror, in the run directory; it goes when the launch is complete."""


def fetch(run: RunDirectory, source: str) -> Path:
    """Return the local directory of an iteration to begin with; of a mirror's, what is needed of it is downloaded.

    Once the first iteration of its own is committed, a fork does without the run that it began with.

    Raises:
        ConfigError: it is empty, or not a committed iteration of a mirror.
        RunError: it cannot be reached.
    """
    if not source:
        raise ConfigError("fork= is empty: give <run>/iterations/<NNNN>, or null")
    last = iteration_number(source.rstrip("/").rpartition("/")[2])
    if last is not None and run.iteration(last + 1).committed:
        return run.iteration(last).path  # all that was to be had is here
    if "://" not in source:
        return Path(os.path.normpath(Path(source).expanduser()))
    try:
        return download(source, run.path / FETCHED)
    except ValueError:  # it says what is wrong
        raise
    except Exception as error:  # what the clients of stores raise is of many kinds
        raise RunError(
            f"fork={source} cannot be read ({type(error).__name__}: {error}): the same command asks again"
        ) from error


def clear_fetched(run: RunDirectory) -> None:
    """Remove what was downloaded."""
    if (run.path / FETCHED).exists():
        shutil.rmtree(run.path / FETCHED)


def guard_source(run: RunDirectory, source: Path, made_of: Mapping[str, Any], named: str) -> None:
    """Look at all that a run which is made of `made_of` still has to take over; nothing is made or bound before.

    Args:
        run: the run that begins with it.
        source: the last iteration of it, as `fetch` found it.
        made_of: fingerprints of the new run's data and weights.
        named: `fork=`.

    Raises:
        ConfigError: it is not a committed iteration of a run, or learned from other observations or another base.
        RunError: it is damaged, or has no adapter any more.
    """
    origin, last = RunDirectory(source.parent.parent, run.disk), iteration_number(source.name)
    if last is None or not origin.iteration(last).committed:
        raise ConfigError(f"fork={named} is not a committed iteration: expected <run>/iterations/<NNNN>")
    if not (lacking := _lacking(run, last)):
        return
    try:
        if (gap := next((n for n in lacking if not origin.iteration(n).committed), None)) is not None:
            good = f"fork from {origin.iteration(gap - 1).path}" if gap else "restore it, or fork from another run"
            raise RunError(f"iteration {gap} has no commit (state.json is missing): {good}")
        state = origin.iteration(last).state()
        _compare(state.made_of or read_json(origin.path / "identity.json"), made_of, named)
        _refuse_without_adapter(origin, state)
        origin.verify(lacking, origin.iteration(last))
        check_prepared(origin)
    except RunError as error:
        clear_fetched(run)
        said = _said(error, origin).replace(str(origin.path), named.rstrip("/").rpartition("/iterations/")[0])
        raise RunError(f"fork={named} cannot be begun with: {said}") from error


def _said(error: RunError, origin: RunDirectory) -> str:
    """Advise what helps a fork, which does not go on in the run that it begins with."""
    if not isinstance(error, MisplacedError):
        return str(error)
    number = error.here.number
    good = f", or fork from {origin.iteration(number - 1).path}" if number else ""
    return f"{error.here.path} {error.what}: put back iteration {number} of this run{good}"


def adopt(run: RunDirectory, source: Path) -> None:
    """Copy the iterations of another run, up to and including the directory `source`; what is here is kept.

    Adapters that the other run has given up are not there to copy; that of `source` must be (`guard_source`).
    """
    origin = RunDirectory(source.parent.parent, run.disk)
    for number in _lacking(run, int(source.name)):
        theirs, ours = origin.iteration(number), run.iteration(number)
        run.disk.publish_directory(ours.path, lambda into, t=theirs: _copy(t.path, into))  # type: ignore[misc]


def _lacking(run: RunDirectory, last: int) -> list[int]:
    return [number for number in range(last + 1) if not run.iteration(number).committed]


def _compare(theirs: Mapping[str, Any], ours: Mapping[str, Any], named: str) -> None:
    for key in HARD:
        if differs(theirs, ours, key):
            raise ConfigError(
                f"fork={named} learned from other {key.replace('_', ' ')}: a fork continues on the same ones. To "
                "start from its model on others, export it and give model.name_or_path"
            )


def _refuse_without_adapter(origin: RunDirectory, state: IterationState) -> None:
    """An iteration that keeps all adapters needs all of them, one that does not at least its own."""
    needed = range(1, state.iteration + 1) if state.kept is None else [state.iteration] if state.adapter else []
    if missing := [t for t in needed if not (origin.iteration(t).path / "adapter").exists()]:
        last = origin.latest() if state.kept is not None else origin.iteration(missing[0] - 1)
        raise RunError(
            f"the adapter of iteration {missing[0]} was given up (keep=best) or is lost: fork from "
            f"{last.path if last else 'another run'}"
        )


def _copy(source: Path, into: Path) -> None:
    shutil.copytree(source, into, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))

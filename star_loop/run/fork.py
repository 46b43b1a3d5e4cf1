"""Beginning a run with the iterations of another."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from star_loop.errors import ConfigError
from star_loop.run.commit import IterationState
from star_loop.run.directory import HARD, RunDirectory
from star_loop.run.disk import Disk, RunError, read_json
from star_loop.run.guard import differs
from star_loop.run.iteration import iteration_number
from star_loop.run.mirror import download

FETCHED = ".fork"
"""What is downloaded from a mirror, in the run directory; it goes when the launch is complete."""


def fetch(run: RunDirectory, source: str) -> Path:
    """Return the local directory of an iteration to begin with; of a mirror's, what is needed of it is downloaded.

    Once the first iteration of its own is committed, a fork does without the run that it began with.

    Raises:
        ConfigError: it is empty.
        RunError: it is not a committed iteration of a mirror, or cannot be reached.
    """
    if not source:
        raise ConfigError("fork= is empty: give <run>/iterations/<NNNN>, or null")
    last = iteration_number(source.rstrip("/").rpartition("/")[2])
    if last is not None and run.iteration(last + 1).committed:
        return run.iteration(last).path  # all that was to be had is here
    if "://" not in source:
        return Path(os.path.normpath(source))
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


def guard_source(source: Path, made_of: Mapping[str, Any], disk: Disk) -> int:
    """Return the number of an iteration to begin with, for a run that is made of `made_of`.

    Raises:
        RunError: it is not a committed iteration of a run, is damaged, has no adapter any more, or learned from other
            observations or another base.
    """
    origin, last = RunDirectory(source.parent.parent, disk), iteration_number(source.name)
    if last is None or not (source / "state.json").exists():
        raise RunError(f"fork={source} is not a committed iteration: expected <run>/iterations/<NNNN>")
    state = origin.iteration(last).state()
    theirs_made_of = state.made_of or read_json(origin.path / "identity.json")
    for key in HARD:
        if differs(theirs_made_of, made_of, key):
            raise RunError(
                f"fork={source} learned from other {key.replace('_', ' ')}: a fork continues on the same ones. To "
                "start from its model on others, export it and give model.name_or_path"
            )
    _refuse_without_adapter(origin, state)
    return last


def adopt(run: RunDirectory, source: Path) -> None:
    """Copy the iterations of another run, up to and including the directory `source`; what is here is kept.

    Adapters that the other run has given up are not there to copy; that of `source` must be.

    Raises:
        RunError: see `guard_source`.
    """
    last = guard_source(source, run.made_of(), run.disk)
    origin = RunDirectory(source.parent.parent, run.disk)
    for number in range(last + 1):
        theirs, ours = origin.iteration(number), run.iteration(number)
        if not ours.committed:
            origin.verify([number], origin.iteration(last))
            run.disk.publish_directory(ours.path, lambda into, t=theirs: _copy(t.path, into))  # type: ignore[misc]


def _refuse_without_adapter(origin: RunDirectory, state: IterationState) -> None:
    """An iteration that keeps all adapters needs all of them, one that does not at least its own."""
    needed = range(1, state.iteration + 1) if state.kept is None else [state.iteration] if state.adapter else []
    if missing := [t for t in needed if not (origin.iteration(t).path / "adapter").exists()]:
        last = origin.latest()
        raise RunError(
            f"fork={origin.iteration(state.iteration).path}: the adapter of iteration {missing[0]} was given up "
            f"(keep=best) or is lost: fork from {last.path if last else 'another run'}"
        )


def _copy(source: Path, into: Path) -> None:
    shutil.copytree(source, into, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))

"""Which texts are judged, and against which gold answer: of a run's waves, of a file, or of standard input."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_loop.config.build import build
from star_loop.config.hydra import composed
from star_loop.protocols import Task
from star_loop.records import Observation
from star_loop.run.described import experiment_of
from star_loop.run.directory import IterationDirectory, RunDirectory
from star_loop.run.disk import RunError
from star_loop.tasks.choices import choices_of

HERE = "the command line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text to judge."""

    observation: Observation
    text: str
    said: str | None = None
    """The verdict that the run noted; None: it is not of a run."""


def task_of(overrides: Sequence[str]) -> Task:
    """Return the task of these overrides; without any, one's own with a guessed verifier.

    Raises:
        ConfigError: they do not make a task.
    """
    named = any(override.startswith("task=") for override in overrides)
    return build(composed([*([] if named else ["task=file"]), *overrides])).task


def of_run(run: Path, iteration: int | None, wave: int | None) -> tuple[Task, Iterator[Text]]:
    """Return the task of a run, and the judged texts of an iteration: all its waves, or one; of the base, test answers.

    Args:
        run: a run directory.
        iteration: None: the last one that has any, also where it is not committed yet.
        wave: counted from 0; None: all.

    Raises:
        RunError: no such run, iteration or wave, or a configuration that makes no task.
    """
    directory = RunDirectory(run)
    latest = directory.latest()
    if latest is None:
        raise RunError(f"{run} has no committed iteration: let it run further, or check the path")
    under_way = directory.iteration(latest.number + 1)
    here = (under_way if under_way.waves else latest) if iteration is None else directory.iteration(iteration)
    names = _names(here, wave)
    directory.check_committed([here.number] if here.committed else [])
    task = experiment_of(directory).task
    task.verifier.keep(directory.workspace)
    return task, _asked(task.train() if here.number else task.test(), here, names)


def _names(iteration: IterationDirectory, wave: int | None) -> list[str]:
    answers = ["evaluation"] if (iteration.path / "evaluation.jsonl").exists() else []
    names = iteration.waves if iteration.number else answers
    if wave is not None:
        names = [name for name in names if name == f"waves/{wave:03d}"]
    if not names:
        what = f"wave {wave}" if wave is not None else "waves" if iteration.number else "answers to a test split"
        raise RunError(f"{iteration.path} has no {what}: look at --iteration, --wave")
    return names


def _asked(observations: Sequence[Observation], iteration: IterationDirectory, names: Sequence[str]) -> Iterator[Text]:
    for name in names:
        for rollout in iteration.judged(name):
            known = rollout.position < len(observations) and observations[rollout.position].id == rollout.id
            if not known:
                raise RunError(
                    f"{iteration.path}, {name}: the task's data has no {rollout.id!r} in its place any more: restore it"
                )
            yield Text(observation=observations[rollout.position], text=rollout.text, said=rollout.how)


def of_file(task: Task, path: Path | None, given: Mapping[str, Any]) -> Iterator[Text]:
    """Yield the texts of a file, or of standard input (None).

    JSON Lines have a `text` and may have `id` (of one of the task's observations), or `answer`, `question`, `choices`
    and `numbers`, which are otherwise those of the command line; any other file is one text.

    Raises:
        ValueError: no such file, or a line without a text or a gold answer.
    """
    try:
        content = sys.stdin.read() if path is None else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path or 'standard input'} cannot be read as text: {error}") from error
    if path is None or path.suffix not in (".jsonl", ".ndjson"):
        yield Text(observation=_observation(task, given, HERE), text=content)
        return
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            place = f"{path}, line {number}"
            row = _row(line, place)
            yield Text(observation=_observation(task, {**given, **row}, place), text=row["text"])


def _row(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place}: not JSON ({error})") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise ValueError(f"{place}: expected an object with a text under `text`")
    return row


def _observation(task: Task, given: Mapping[str, Any], place: str) -> Observation:
    if (wanted := given.get("id")) is not None:
        splits = (task.train(), task.validation(), task.test())
        found = next((each for split in splits for each in split if each.id == str(wanted)), None)
        if found is None:
            raise ValueError(f"{place}: the task has no observation {wanted!r}: ids are as in rollouts, train/0000012")
        return found
    if given.get("answer") is None:
        raise ValueError(f"{place}: say what is right: --gold <answer>, or --id <observation> of the task")
    choices = given.get("choices")
    return Observation(
        id=place,
        question=str(given.get("question") or ""),
        answer=str(given["answer"]),
        choices=choices_of(choices, "choices", place) if choices else (),
        meta={"numbers": given["numbers"]} if given.get("numbers") else {},
    )

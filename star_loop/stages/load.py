"""What is looked at before anything expensive starts: the observations, the verifier's own golds, the world."""

import logging
import re
import sys
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from star_loop.config.component import Component
from star_loop.config.help import parts
from star_loop.errors import ConfigError, counted
from star_loop.experiment import Experiment
from star_loop.protocols import Generator, Task
from star_loop.records import Columns, Metrics, Observation
from star_loop.run.disk import RunError
from star_loop.schedule import Schedule
from star_loop.stages.proof import prove
from star_loop.tasks.members import keyed
from star_loop.tasks.splitting import SplitTask, Subset, surveyed

logger = logging.getLogger(__name__)

Splits = Mapping[str, Subset]
SMALL, HIGHEST_RATE = 50e6, 1e-3
"""Parameters from which a higher learning rate than this one is doubtful with LoRA."""
LARGE = 2e9
"""Parameters from which float32 is doubtful."""


@contextmanager
def refusing() -> Iterator[None]:
    """Make what a part refuses, before anything has run, a mistake in what was typed: of a key, or of what it names.

    Raises:
        ConfigError: in the part's own words.
    """
    try:
        yield
    except (ConfigError, RunError):
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error


@refusing()
def check(experiment: Experiment) -> None:
    """Let every part look at the world.

    Raises:
        ConfigError: the first part that cannot work, in its own words.
    """
    check_parts(experiment)
    model = experiment.model
    as_shipped = model.weightless or model.name_or_path == "tiny"
    if as_shipped and not model.chat_template:
        return  # torch takes seconds to load
    from star_loop.models import chat
    from star_loop.models.skeleton import prove

    tokenizer = prove(model)
    if model.chat_template:  # it is tried here, not in the engine's own process
        for first in islice(experiment.task.train(), 1):
            chat.attempt(tokenizer, experiment.task.prompt(first), model)


def check_parts(component: Component, key: str = "") -> None:
    """Let a component and all that it is made of look at the world, each once.

    Args:
        key: below which the component stands.

    Raises:
        ValueError: the first part that cannot work, in its own words; a mixture's task names its keys as
            they are typed.
    """
    seen, tasks = set[int](), dict[str, Task]()
    for place, part in parts(component, key):
        if id(part) in seen:
            continue
        seen.add(id(part))
        place = place.replace(".verifier.tasks.", ".tasks.")  # a mixture's verifier holds its tasks too
        if isinstance(part, Task):
            tasks[place] = part
        within = max((at for at in tasks if f"{place}.".startswith(f"{at}.")), key=len, default=None)
        with nullcontext() if within is None else keyed(within, tasks[within]):
            part.check()


def doubts(parameters: int, dtype: str, learning_rate: float | None) -> list[str]:
    """List settings that have been seen to spoil a run with a model of this size, each with what to do.

    Args:
        parameters: of the base model.
        dtype: `model.dtype`.
        learning_rate: the trainer's; None: it has none.
    """
    size = f"{parameters / 1e9:.2g}B" if parameters >= 1e9 else f"{parameters / 1e6:.3g}M"
    found = []
    if learning_rate is not None and learning_rate > HIGHEST_RATE and parameters > SMALL:
        found.append(
            f"trainer.learning_rate={learning_rate:g} is for tiny models and may ruin one of {size} parameters: "
            "take 1e-4 to 5e-4"
        )
    if dtype == "float32" and parameters > LARGE:
        found.append(
            f"model.dtype=float32: {4 * parameters / 1e9:.0f} GB of weights for {size} parameters: take bfloat16"
        )
    return found


def unreachable(schedule: Schedule, observations: int, iterations: int) -> str | None:
    """Say when the data will not fill the quota of correct rationales any more, and what would fit; None: never."""
    most = observations * schedule.per_observation
    iterations = min(iterations, sys.maxsize - 1)  # as long as a range may be
    fits = bisect_right(range(1, iterations + 1), most, key=lambda t: schedule.quota_at(t) or 0)  # quotas never fall
    if fits == iterations:
        return None
    times = "once" if schedule.per_observation == 1 else f"{schedule.per_observation} times"
    steps = max(1, most // (2 * schedule.batch))
    fewer = f", or schedule.steps={steps} for fewer" if schedule.quota == "beta" and steps < schedule.steps else ""
    return (
        f"iteration {fits + 1} wants {schedule.quota_at(fits + 1):,} correct rationales, and each of "
        f"{counted(observations, 'question')} counts {times}: from then on all are asked. Set schedule.quota=null to "
        f"say so{fewer}"
    )


@refusing()
def load(task: Task) -> Splits:
    """Return the three splits, checked; each observation is read once, except the golds that are proven.

    Raises:
        ConfigError: an empty training set, a duplicate id, a question shared by two splits, or a gold answer that the
            verifier rejects; names the observation.
    """
    found = {"train": task.train(), "validation": task.validation(), "test": task.test()}
    if not len(found["train"]):
        why = "".join(f" ({what}: {count})" for what, count in task.findings().items())
        raise ValueError(f"task: the training set is empty{why}: give the task at least one training observation")
    splits = {split: surveyed(observations) for split, observations in found.items()}
    _distinct(splits)
    _look_at_shown(task, splits)
    prove(task, splits)
    for split in ("validation", "test"):
        if not has_golds(task, splits[split]):
            what = "not every question has a gold answer, so no accuracy is measured"
            logger.warning("%s: %s: give task.%s_path with golds", split, what, split)
    return splits


def _look_at_shown(task: Task, splits: Splits) -> None:
    """Name worked examples without options where questions have some, and those whose question is measured too.

    Prompts would show the answer of the latter.
    """
    examples = task.shown() if isinstance(task, SplitTask) else ()
    if not examples:
        return  # nothing is surveyed, and no split is searched, for most runs
    bare = [example.id for example in examples if not example.choices]
    if bare and splits["train"][0].choices:
        logger.warning("%s has no `choices`, which the questions have: give them, as they are there", bare[0])
    digests = surveyed(examples).digests[:, 1]
    for split in ("validation", "test"):
        for place in np.flatnonzero(np.isin(digests, splits[split].digests[:, 1])):
            logger.warning(
                "%s asks what a %s question asks, so its answer is shown: take another example, or leave that question "
                "out", examples[place].id, split,
            )  # fmt: skip


@refusing()
def prove_parts(experiment: Experiment, splits: Splits) -> None:
    """Show a reward the first question of each task, generators all ids, and patience what it watches.

    Raises:
        ConfigError: it asks for what the question does not have, knows none of them, or watches nothing.
    """
    reward, task, train = experiment.reward, experiment.task, splits["train"]
    patience, watched = experiment.evaluation.patience, splits["validation"]
    if patience is not None and not (len(watched) and has_golds(task, watched)):
        what = f"evaluation.patience={patience} watches the accuracy on validation questions, and there are none with"
        raise ConfigError(f"{what} gold answers: give some (task.validation_size), or leave it out")
    if reward is not None:
        for place in task.first(1, train):
            reward.prove(task.own(train[place]))
    for _, part in parts(experiment):
        if isinstance(part, Generator):
            part.prove(id for rows in train.rows() for id in rows["id"].to_pylist())


def has_golds(task: Task, observations: Subset) -> bool:
    """Tell whether an accuracy can be measured: without labels by majority every verifier has what it needs."""
    return task.labels == "gold" or all(answer for rows in observations.rows() for answer in rows["answer"].to_pylist())


def _distinct(splits: Mapping[str, Subset]) -> None:
    """Refuse an id that comes twice, and a question in two splits."""
    ids, questions = np.concatenate([subset.hashes[:, :2] for subset in splits.values()]).T
    ends = np.cumsum([len(subset) for subset in splits.values()])

    def at(place: int) -> tuple[str, Observation]:
        k = int(np.searchsorted(ends, place, side="right"))
        split = list(splits)[k]
        return split, splits[split][place - int(ends[k])]

    for first, again in _alike(ids):
        (where, one), (split, other) = at(first), at(again)
        if one.id == other.id:
            among = f"twice in {split}" if where == split else f"in {where} and in {split}"
            raise ValueError(f"task: duplicate id {one.id!r} ({among}): ids must be unique")
    for first, again in _alike(questions):
        (where, one), (split, other) = at(first), at(again)
        if where != split and one.question == other.question:
            raise ValueError(
                f"task: {split} observation {other.id!r} asks the same as {where} observation {one.id!r}: "
                "remove one, or what is learned leaks into what is measured"
            )


def _alike(hashes: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Neighbouring places of the same hash, by the later one."""
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    pairs = zip(order[same].tolist(), order[same + 1].tolist(), strict=True)
    return sorted(pairs, key=lambda pair: pair[1])


def figures(task: Task, splits: Splits) -> Metrics:
    """Return `data/…`: the sizes of the splits, and what the task left out or rewrote."""
    found = {f"data/{split}/observations": float(len(observations)) for split, observations in splits.items()}
    for finding, count in task.findings().items():
        split, _, what = finding.partition(": ")
        found[f"data/{split}/{re.sub('[^a-z0-9]+', '_', what.casefold()).strip('_')}"] = float(count)
    return found


def columns(observations: Sequence[Observation]) -> Columns:
    """Return what samplers may know: `skill` (code in order of first appearance, -1 none), `level` (-1 none), `length`.

    `skill_names` are the names of the codes.
    """
    import pyarrow.compute as compute

    codes: dict[str, int] = {}
    parts: list[NDArray[np.int32]] = []
    for rows in surveyed(observations).rows():
        skills = rows["skill"].dictionary_encode()
        known = [codes.setdefault(name, len(codes)) for name in skills.dictionary.to_pylist()]
        skill = np.array([*known, -1], np.int32)[skills.indices.fill_null(-1).to_numpy()]
        level = rows["level"].fill_null(-1).cast("int32").to_numpy()
        parts.append(np.stack([skill, level, compute.utf8_length(rows["question"]).to_numpy()], axis=1))
    table = np.concatenate([np.empty((0, 3), np.int32), *parts])
    named = {name: table[:, k].copy() for k, name in enumerate(("skill", "level", "length"))}
    return {**named, "skill_names": np.array(list(codes), np.str_)}

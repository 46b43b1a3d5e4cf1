"""The files of an export: each part whole or not at all."""

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from star_loop.experiment import Experiment
from star_loop.export.card import PARTS, absent, data_card, model_card, name_of, stands_beside
from star_loop.models import Model, Pretrained
from star_loop.models import fingerprint as fingerprint_weights
from star_loop.records import Rollout
from star_loop.run.described import experiment_of
from star_loop.run.directory import IterationDirectory, RunDirectory
from star_loop.run.disk import Disk, RunError, clear, leaving_nothing_empty, parquet_bytes, read_json, unfinished_of
from star_loop.run.guard import EXAMPLES, besides, fingerprint, refuse_link
from star_loop.tasks.splitting import SplitTask

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def export(run: Path, iteration: str = "best", parts: Sequence[str] | None = None, license: str = "other") -> Path:
    """Write `<run>/export/<iteration>/`, whole or not at all; an export that exists is left as it is.

    Args:
        run: a run directory.
        iteration: a number, `last`, or `best`: the highest validation accuracy (the test split decides nothing); the
            last, where there is no validation.
        parts: which of `adapter`, `merged`, `data`; None: all that there are (a model trained whole has no adapter).
        license: what the cards say, an identifier of the Hub's.

    Raises:
        RunError: no such run or iteration, a damaged one, one without an adapter, or an export without these parts.
    """
    directory = RunDirectory(run)
    here = choose(directory, iteration)
    directory.check_committed()
    directory.verify([here.number], directory.latest() or here)
    if not (here.path / "adapter").exists():
        raise RunError(
            f"the adapter of {here.path} was given up (keep=best) or is lost: take --iteration best, last or 1"
        )
    experiment = experiment_of(directory)
    whole = experiment.trainer.whole
    parts = parts or [part for part in PARTS if part != "adapter" or not whole]
    _refuse_others(directory, experiment, parts)
    target = run / "export" / f"{here.number:04d}"
    for written in (target.parent, target):
        refuse_link(written)
    if target.exists() and not target.is_dir():
        raise RunError(f"{target} is no folder: move it away to export here")
    if target.exists():
        if missing := [part for part in parts if not (target / part).exists()]:
            raise RunError(f"{target} was exported without {', '.join(missing)}: move it away to export again")
        return target

    def fill(into: Path) -> None:
        if "adapter" in parts:
            copy_adapter(here.path / "adapter", experiment.model, into / "adapter")
        if "merged" in parts:
            from star_loop.models.weights import save_merged

            (into / "merged").mkdir()
            save_merged(Model(base=experiment.model, adapter=here.path / "adapter"), into / "merged")
        if "data" in parts:
            rows = _write_data(directory, experiment, here.number, into / "data")
            text = data_card(directory, experiment, here.number, license, rows)
            (into / "data" / "README.md").write_text(text, encoding="utf-8")
        (into / "README.md").write_text(model_card(directory, experiment, here, license, parts), encoding="utf-8")

    with leaving_nothing_empty(target.parent):
        try:
            Disk().publish_directory(target, fill)
        except BaseException:
            clear(unfinished_of(target))
            raise
    return target


def choose(run: RunDirectory, iteration: str) -> IterationDirectory:
    """Return the iteration that is meant; never the base model, which needs no export.

    Raises:
        RunError: it is not committed.
    """
    latest = run.latest()
    if latest is None or latest.number == 0:
        raise RunError(f"{run.path} has no trained iteration to export: let it run further, or check the path")
    if iteration == "last":
        return latest
    if iteration == "best":
        best = run.best(first=1)
        return latest if best is None else run.iteration(best)
    if not re.fullmatch("[0-9]{1,9}", iteration) or not 1 <= int(iteration) <= latest.number:
        raise RunError(f"--iteration {iteration}: give best, last or a number from 1 to {latest.number}")
    return run.iteration(int(iteration))


def _refuse_others(run: RunDirectory, experiment: Experiment, parts: Sequence[str]) -> None:
    """Data and weights that are not those of the run any more, or of which nobody can tell."""
    if not (made_of := run.made_of()):
        raise run.ledger.damaged(run.path / "identity.json", "it is missing")
    now: dict[str, str] = {}
    if "data" in parts:
        task = experiment.task
        splits = {"train": task.train(), "validation": task.validation(), "test": task.test()}
        now |= {"observations": fingerprint(splits), "choices_and_meta": besides(splits)}
        if isinstance(task, SplitTask) and (examples := task.worked_examples()) is not None:
            now[EXAMPLES] = examples
    if "merged" in parts or ("adapter" in parts and stands_beside(experiment.model)):
        now["base_weights"] = fingerprint_weights(experiment.model)
    for key, found in now.items():
        if made_of.get(key, found) != found:
            raise RunError(
                f"{run.path}: the {key.replace('_', ' ')} changed since the run began (fingerprint "
                f"{made_of[key]}, now {found}): restore them, or export other --parts"
            )


def copy_adapter(adapter: Path, base: Pretrained, into: Path) -> None:
    """Copy an adapter, which then names a base that can be loaded; one that nobody else has is put beside it.

    Raises:
        RunError: it is no adapter of PEFT's.
    """
    for name in ADAPTER:
        if not (adapter / name).exists():
            raise RunError(
                f"{adapter / name} is missing: only a run of trainer=lora has an adapter to export; give other --parts"
            )
    into.mkdir()
    configuration = read_json(adapter / ADAPTER[0]) | {"base_model_name_or_path": name_of(base)}
    (into / ADAPTER[0]).write_text(json.dumps(configuration, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    shutil.copyfile(adapter / ADAPTER[1], into / ADAPTER[1])
    if base.directory is not None and stands_beside(base):
        shutil.copytree(base.directory, into.with_name("base"), ignore=shutil.ignore_patterns(".*"))


def _write_data(run: RunDirectory, experiment: Experiment, last: int, into: Path) -> dict[str, int]:
    into.mkdir()
    left_out = 0
    observations = experiment.task.train()
    rationales: dict[str, list[Any]] = {name: [] for name in ("prompt", "completion", "weight", "id", "iteration")}
    pairs: dict[str, list[Any]] = {name: [] for name in ("prompt", "chosen", "rejected", "id", "iteration")}
    for t in range(1, last + 1):
        here = run.iteration(t)
        for example in here.examples(absent):
            left_out += example.weight < 0
            if example.weight <= 0:
                continue
            row = {"prompt": example.prompt, "completion": example.completion, "weight": example.weight}
            _append(rationales, row | {"id": example.id, "iteration": t})
        for right, wrong in _pairs(here.rollouts()):
            prompt = experiment.task.bare_prompt(observations[right.position])
            row = {"prompt": prompt, "chosen": right.text, "rejected": wrong.text}
            _append(pairs, row | {"id": right.id, "iteration": t})
    (into / "rationales.parquet").write_bytes(parquet_bytes(rationales))
    (into / "pairs.parquet").write_bytes(parquet_bytes(pairs))
    return {"rationales": len(rationales["id"]), "pairs": len(pairs["id"]), "wrong": left_out}


def _pairs(rollouts: Sequence[Rollout]) -> Iterator[tuple[Rollout, Rollout]]:
    """The Cartesian product of the correct and the incorrect rationales of each question, un-hinted and whole ones."""
    groups: dict[int, tuple[list[Rollout], list[Rollout]]] = defaultdict(lambda: ([], []))
    for rollout in rollouts:
        if not rollout.hinted and rollout.finish == "stop":
            groups[rollout.position][not rollout.correct].append(rollout)
    for correct, incorrect in groups.values():
        yield from ((right, wrong) for right in correct for wrong in incorrect)


def _append(columns: dict[str, list[Any]], row: dict[str, Any]) -> None:
    for name, value in row.items():
        columns[name].append(value)

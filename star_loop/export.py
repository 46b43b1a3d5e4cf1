"""`python -m star_loop.export RUN`: what a run has made, in the formats that other tools load.

<run>/export/<iteration>/
  adapter/       PEFT: `PeftModel.from_pretrained`, or a vLLM LoRARequest
  merged/        a whole model, base and adapter summed: transformers, vLLM
  rationales.parquet   prompt, completion, …: every rationale that was trained on (TRL's prompt/completion layout)
  pairs.parquet        prompt, chosen, rejected, …: a correct and an incorrect rationale of the same question, for
                       DPO or a verifier (V-STaR, arXiv 2402.06457)
  README.md      the model card: base, data, method, iteration, figures, command
"""

import argparse
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from star_loop.configuration import ConfigError, build
from star_loop.disk import Disk, RunError, parquet_bytes
from star_loop.experiment import Experiment
from star_loop.notation import interval, percent
from star_loop.records import Metrics, Model, Rollout
from star_loop.report.files import configuration
from star_loop.store import IterationDirectory, RunDirectory

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
PARTS = ("adapter", "merged", "data")


def export(run: Path, iteration: str = "best", parts: Sequence[str] = PARTS) -> Path:
    """Write `<run>/export/<iteration>/`, whole or not at all; an export that exists is left as it is.

    Args:
        run: a run directory.
        iteration: a number, `last`, or `best`: the highest validation accuracy (the test split decides nothing).
        parts: which of `adapter`, `merged`, `data`.

    Raises:
        RunError: no such run or iteration, a damaged one, or one without an adapter.
    """
    directory = RunDirectory(run)
    here = choose(directory, iteration)
    directory.verify([here.number], directory.latest() or here)
    if not (here.path / "adapter").exists():
        raise RunError(
            f"the adapter of {here.path} was given up (keep=best) or is lost: take --iteration best, last or 1"
        )
    experiment = _experiment(run)
    target = run / "export" / f"{here.number:04d}"
    if target.exists():
        return target

    def fill(into: Path) -> None:
        if "adapter" in parts:
            _copy_adapter(here, into / "adapter")
        if "merged" in parts:
            from star_loop.weights import save_merged

            (into / "merged").mkdir()
            save_merged(Model(base=experiment.model, adapter=here.path / "adapter"), into / "merged")
        if "data" in parts:
            _write_data(directory, experiment, here.number, into)
        (into / "README.md").write_text(card(directory, experiment, here), encoding="utf-8")

    Disk().publish_directory(target, fill)
    return target


def choose(run: RunDirectory, iteration: str) -> IterationDirectory:
    """The iteration that is meant; never the base model, which needs no export.

    Raises:
        RunError: it is not committed.
    """
    latest = run.latest()
    if latest is None or latest.number == 0:
        raise RunError(f"{run.path} has no trained iteration to export: let it run further, or check the path")
    if iteration == "last":
        return latest
    if iteration == "best":
        curve = [metrics.get("validation/accuracy", 0.0) for metrics in run.committed_metrics()[1:]]
        return run.iteration(1 + max(range(len(curve)), key=curve.__getitem__))
    if not iteration.isdigit() or not 1 <= int(iteration) <= latest.number:
        raise RunError(f"--iteration {iteration}: give best, last or a number from 1 to {latest.number}")
    return run.iteration(int(iteration))


def card(run: RunDirectory, experiment: Experiment, here: IterationDirectory) -> str:
    """The model card, with what a hub reads in its head."""
    base, after, before = experiment.model, here.metrics(), run.iteration(0).metrics()
    x = experiment
    method = f"{type(x.sampler).__name__}, each round from the {x.start_from} model, second try: {x.second_try}"
    return f"""---
base_model: {base.name_or_path}
library_name: peft
tags: [star_loop, lora, self-improvement]
---
# {experiment.name}, iteration {here.number}

`{base.name_or_path}` after {here.number} iterations of teaching itself with star_loop: it wrote rationales, those
that reached the right answer were kept, and a LoRA adapter was trained on them. Its licence is that of the base model
and of the questions.

| | base model | iteration {here.number} |
|---|---|---|
| test accuracy | {_accuracy(before, "evaluation")} | {_accuracy(after, "evaluation")} |
| validation accuracy | {_accuracy(before, "validation")} | {_accuracy(after, "validation")} |
| FLOPs so far (generation and training, papers' convention) | 0 | {after.get("flops/cumulative", 0.0):.3g} |

| | |
|---|---|
| task | {type(experiment.task).__name__} |
| method | {method} |
| seed | {experiment.seed} |
| adapter | `adapter/` (PEFT) |
| merged model | `merged/` (transformers, vLLM) |
| data | `rationales.parquet` (prompt, completion), `pairs.parquet` (prompt, chosen, rejected): the model's own words |
| configuration | `config.yaml` of the run; `python -m star_loop` with its values makes it again |

Accuracy is zero-shot and greedy, with 95 % Wilson intervals.
"""


def _experiment(run: Path) -> Experiment:
    try:
        return build(configuration(run / "config.yaml")[1])
    except ConfigError as error:
        raise RunError(f"{run / 'config.yaml'} does not describe a run ({error}): check the path") from error


def _copy_adapter(here: IterationDirectory, into: Path) -> None:
    into.mkdir()
    for name in ADAPTER:
        source = here.path / "adapter" / name
        if not source.exists():
            raise RunError(f"{source} is missing: only a run of trainer=lora has an adapter to export")
        shutil.copyfile(source, into / name)


def _write_data(run: RunDirectory, experiment: Experiment, last: int, into: Path) -> None:
    observations = experiment.task.train()
    rationales: dict[str, list[Any]] = defaultdict(list)
    pairs: dict[str, list[Any]] = defaultdict(list)
    for t in range(1, last + 1):
        here = run.iteration(t)
        for example in here.examples(_absent):
            row = {"prompt": example.prompt, "completion": example.completion, "weight": example.weight}
            _append(rationales, row | {"id": example.id, "iteration": t})
        for right, wrong in _pairs(here.rollouts()):
            prompt = experiment.task.bare_prompt(observations[right.position])
            row = {"prompt": prompt, "chosen": right.text, "rejected": wrong.text}
            _append(pairs, row | {"id": right.id, "iteration": t})
    (into / "rationales.parquet").write_bytes(parquet_bytes(rationales))
    (into / "pairs.parquet").write_bytes(parquet_bytes(pairs))


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


def _absent() -> list[Any]:
    raise RunError("a committed iteration has no examples.jsonl: it is damaged")


def _accuracy(metrics: Metrics, split: str) -> str:
    low, high = metrics.get(f"{split}/accuracy_low"), metrics.get(f"{split}/accuracy_high")
    return f"{percent(metrics.get(f'{split}/accuracy'))} ({interval(low, high)})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Export and say where.

    Returns:
        0, or 2 where nothing could be exported.
    """
    parser = argparse.ArgumentParser(prog="python -m star_loop.export", description="Write <run>/export/<iteration>/.")
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory, e.g. outputs/default")
    parser.add_argument("--iteration", default="best", help="a number, last, or best (highest validation accuracy)")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS, help="what to write (default: everything)")
    options = parser.parse_args(arguments)
    try:
        sys.stdout.write(f"{export(options.run, options.iteration, options.parts)}\n")
    except (RunError, ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

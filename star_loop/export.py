"""`python -m star_loop.export RUN`: what a run has made, in the formats that other tools load.

<run>/export/<iteration>/
  adapter/       PEFT: `PeftModel.from_pretrained`, or a vLLM LoRARequest
  merged/        a whole model, base and adapter summed: transformers, vLLM
  data/          a data set, with its card:
    rationales.parquet   prompt, completion, …: every rationale that was trained on (TRL's prompt/completion layout)
    pairs.parquet        prompt, chosen, rejected, …: a correct and an incorrect rationale of the same question, for
                         DPO or a verifier (V-STaR, arXiv 2402.06457)
  README.md      the model card: base, task, method, iteration, figures, command
"""

import argparse
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from star_loop.cards import data_card, model_card
from star_loop.configuration import build
from star_loop.disk import Disk, RunError, parquet_bytes
from star_loop.errors import ConfigError
from star_loop.experiment import Experiment
from star_loop.records import Model, Rollout
from star_loop.report.files import configuration
from star_loop.store import IterationDirectory, RunDirectory

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
PARTS = ("adapter", "merged", "data")


def export(run: Path, iteration: str = "best", parts: Sequence[str] = PARTS, license: str = "other") -> Path:
    """Write `<run>/export/<iteration>/`, whole or not at all; an export that exists is left as it is.

    Args:
        run: a run directory.
        iteration: a number, `last`, or `best`: the highest validation accuracy (the test split decides nothing); the
            last, where there is no validation.
        parts: which of `adapter`, `merged`, `data`.
        license: what the cards say, an identifier of the Hub's.

    Raises:
        RunError: no such run or iteration, a damaged one, one without an adapter, or an export without these parts.
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
        if missing := [part for part in parts if not (target / part).exists()]:
            raise RunError(f"{target} was exported without {', '.join(missing)}: move it away to export again")
        return target

    def fill(into: Path) -> None:
        if "adapter" in parts:
            _copy_adapter(here, into / "adapter")
        if "merged" in parts:
            from star_loop.weights import save_merged

            (into / "merged").mkdir()
            save_merged(Model(base=experiment.model, adapter=here.path / "adapter"), into / "merged")
        if "data" in parts:
            rows = _write_data(directory, experiment, here.number, into / "data")
            text = data_card(directory, experiment, here.number, license, rows)
            (into / "data" / "README.md").write_text(text, encoding="utf-8")
        (into / "README.md").write_text(model_card(directory, experiment, here, license), encoding="utf-8")

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
        curve = [metrics.get("validation/accuracy", -1.0) for metrics in run.committed_metrics()[1:]]
        return run.iteration(1 + max(range(len(curve)), key=curve.__getitem__)) if max(curve) >= 0 else latest
    if not iteration.isdigit() or not 1 <= int(iteration) <= latest.number:
        raise RunError(f"--iteration {iteration}: give best, last or a number from 1 to {latest.number}")
    return run.iteration(int(iteration))


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


def _write_data(run: RunDirectory, experiment: Experiment, last: int, into: Path) -> dict[str, int]:
    into.mkdir()
    observations = experiment.task.train()
    rationales: dict[str, list[Any]] = {name: [] for name in ("prompt", "completion", "weight", "id", "iteration")}
    pairs: dict[str, list[Any]] = {name: [] for name in ("prompt", "chosen", "rejected", "id", "iteration")}
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
    return {"rationales": len(rationales["id"]), "pairs": len(pairs["id"])}


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


def push(folder: Path, repository: str) -> list[str]:
    """Upload an export to the Hugging Face Hub: the model, and its data as a data set of the same name, both private.

    Returns:
        Their addresses.

    Raises:
        RunError: no token, no network, no such name, or a refusal of the Hub; what is on disk stays.
    """
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import HfHubHTTPError

    if constants.HF_HUB_OFFLINE:
        raise RunError("--push: HF_HUB_OFFLINE is set: unset it, or upload the folder elsewhere")
    if get_token() is None:
        raise RunError(
            "--push needs a token of the Hugging Face Hub with the right to write: hf auth login, or HF_TOKEN"
        )
    api, addresses = HfApi(), []
    kinds = {"model": folder, "dataset": folder / "data"}
    try:
        for kind, what in kinds.items():
            if what.is_dir():
                addresses.append(str(api.create_repo(repository, repo_type=kind, private=True, exist_ok=True)))
                api.upload_folder(repo_id=repository, repo_type=kind, folder_path=what, ignore_patterns="data/*")
    except (*HfHubHTTPError.__bases__, ValueError) as error:  # those of the HTTP library, whichever it is
        raise RunError(f"--push {repository}: the Hub did not take it ({error}); the export is in {folder}") from error
    return addresses


def main(arguments: Sequence[str] | None = None) -> int:
    """Export and say where.

    Returns:
        0, or 2 where nothing could be exported.
    """
    parser = argparse.ArgumentParser(prog="python -m star_loop.export", description="Write <run>/export/<iteration>/.")
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory, e.g. outputs/default")
    parser.add_argument("--iteration", default="best", help="a number, last, or best (highest validation accuracy)")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS, help="what to write (default: everything)")
    parser.add_argument("--license", default="other", help="for the cards: a Hub licence id, such as apache-2.0")
    parser.add_argument("--push", metavar="REPO", help="upload it to the Hugging Face Hub, privately, e.g. me/my-model")
    options = parser.parse_args(arguments)
    try:
        folder = export(options.run, options.iteration, options.parts, options.license)
        sys.stdout.write(f"{folder}\n")
        for address in push(folder, options.push) if options.push else []:
            sys.stdout.write(f"{address}\n")
    except (RunError, ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

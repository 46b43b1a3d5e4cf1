"""What an export says of itself: a model card and a data card, with what a hub reads in their heads."""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from star_loop.experiment import Experiment
from star_loop.export.made import how_made
from star_loop.models import Pretrained
from star_loop.records import TURN, Example, Metrics
from star_loop.report.quantities import asked, interval, percent
from star_loop.run.directory import FREE_KEYS, IterationDirectory, RunDirectory
from star_loop.run.disk import RunError

_MERGED = '"merged"'
_PARTS = {
    "adapter": ("adapter", "`adapter/`: PEFT, or a vLLM `LoRARequest`"),
    "merged": ("merged model", "`merged/`: transformers, vLLM"),
    "data": ("data", "`data/`, with a card of its own"),
}
"""Part -> how the card calls it, and what it says of it."""
PARTS = tuple(_PARTS)


def model_card(
    run: RunDirectory, experiment: Experiment, here: IterationDirectory, license: str,
    parts: Sequence[str] = PARTS,
) -> str:  # fmt: skip
    """Describe base, task, method, iteration, figures and command; and how to load the `parts` that are there."""
    base, after, before = experiment.model, here.metrics(), run.iteration(0).metrics()
    whole = experiment.trainer.whole
    local = base.name_or_path == "tiny" or Path(base.name_or_path).expanduser().is_dir()
    hub = "" if local else f"base_model: {in_head(base.name_or_path)}\n"
    listed = "".join(f"| {title} | {text} |\n" for part, (title, text) in _PARTS.items() if part in parts)
    return f"""---
{hub}license: {in_head(license)}
library_name: {"transformers" if whole else "peft"}
tags: [star_loop, {"full" if whole else "lora"}, self-improvement]
---
# {experiment.name}, iteration {here.number}

`{base.name_or_path}` after {here.number} {"iteration" if here.number == 1 else "iterations"} of learning with
star_loop, {"all weights" if whole else "an adapter"} trained on rationales. They were {how_made(experiment)}
The licences of the base model and of the questions hold for it.

| | base model | iteration {here.number} |
|---|---|---|
| test accuracy | {_accuracy(before, "evaluation")} | {_accuracy(after, "evaluation")} |
{_worked(before)}| validation accuracy | {_accuracy(before, "validation")} | {_accuracy(after, "validation")} |
| FLOPs so far (all but evaluation, papers' convention) | {_flops(before)} | {_flops(after)} |

{_provenance(run, experiment)}
{listed}
Accuracy is greedy, {asked(run.config())}, with 95 % Wilson intervals. Which iteration is the best, validation decides.

{_loading(base, parts)}## The prompt

What it was trained and measured with, as the first of its training questions shows; {_put(experiment)}.

{_fenced(prompt_of(here))}

## Settings

{_fenced(settings_of(run), "yaml")}
"""


def name_of(base: Pretrained) -> str:
    """Return what an adapter calls its base, so that it can be loaded: a Hub id, a directory here, or `base`.

    `base` is the folder beside the adapter, for weights that come with a Python package and are nowhere else.
    """
    if base.directory is None:
        return base.name_or_path
    return "base" if stands_beside(base) else str(base.directory.resolve())


def stands_beside(base: Pretrained) -> bool:
    """Tell whether the base is exported with its adapter: it came with a Python package, so nobody else has it."""
    given = Path(base.name_or_path).expanduser()
    return base.directory is not None and base.directory != given


def prompt_of(here: IterationDirectory) -> str:
    """Return the first prompt that the iteration was trained on, its turns apart."""
    first = next((example for example in here.examples(absent) if example.weight > 0), None)
    return "" if first is None else first.prompt.replace(TURN, "\n[the next turn]\n")


def settings_of(run: RunDirectory) -> str:
    """Return the run's configuration as YAML, without where and how it ran."""
    from yaml import safe_dump

    kept = {key: value for key, value in run.config().items() if key not in (*FREE_KEYS, "fork")}
    return str(safe_dump(kept, sort_keys=False, allow_unicode=True)).strip()


def absent() -> list[Example]:
    """Say that examples which must be there are not."""
    raise RunError("a committed iteration has no examples.jsonl: it is damaged")


def _loading(base: Pretrained, parts: Sequence[str]) -> str:
    lines = ["from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
    if "adapter" in parts:
        name = json.dumps(name_of(base), ensure_ascii=False) + _revision(base)
        lines = ["from peft import PeftModel", *lines]
        lines += [f"base, tokenizer = {_pair(name)}", 'model = PeftModel.from_pretrained(base, "adapter")']
    if "merged" in parts:
        lines += [
            *(["# or without PEFT and a base:"] if "adapter" in parts else []),
            f"model, tokenizer = {_pair(_MERGED)}",
        ]
    code = _fenced("\n".join(lines), "python")
    return f"## How to load it\n\nIn this folder:\n\n{code}\n\n" if {"adapter", "merged"} & set(parts) else ""


def _pair(name: str) -> str:
    return f"AutoModelForCausalLM.from_pretrained({name}), AutoTokenizer.from_pretrained({name})"


def _revision(base: Pretrained) -> str:
    return "" if base.directory or base.revision is None else f", revision={json.dumps(base.revision)}"


def _put(experiment: Experiment) -> str:
    if not experiment.model.chat_template:
        return "the model goes on from its end"
    system = experiment.model.system_prompt
    after = "" if system is None else f", after the system prompt {system!r}"
    return f"as a user's message in the tokenizer's chat template{after}"


def _fenced(text: str, language: str = "text") -> str:
    """Return a block of code that nothing in the text ends."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def in_head(text: str) -> str:
    """Return a text as a value of a card's YAML head; nothing in it ends the value or begins another key.

    Example:
        >>> in_head("apache-2.0"), in_head("a: b # c")
        ('apache-2.0', '"a: b # c"')
    """
    from yaml import YAMLError, safe_load

    try:
        plain = "\n" not in text and safe_load(f"key: {text}") == {"key": text}
    except YAMLError:
        plain = False
    return text if plain else json.dumps(text, ensure_ascii=False)


def data_card(run: RunDirectory, experiment: Experiment, last: int, license: str, rows: dict[str, int]) -> str:
    """Describe what the two tables hold, in the form that `datasets.load_dataset` reads.

    Args:
        rows: of each table, and `wrong` ones that were trained on to be written less, which are in neither as such.
    """
    trained = f"the right ones that were trained on; {rows['wrong']} wrong ones, to be written less, are left out"
    trained = trained if rows["wrong"] else "all that was trained on"
    return f"""---
license: {in_head(license)}
tags: [star_loop, synthetic, reasoning]
configs:
- config_name: rationales
  data_files: rationales.parquet
- config_name: pairs
  data_files: pairs.parquet
---
# Rationales of {experiment.name}, iterations 1 to {last}

They were {how_made(experiment)}
The licences of the questions and of the models that wrote hold for them.

| table | rows | columns |
|---|---|---|
| `rationales` | {rows["rationales"]} | `prompt`, `completion`, `weight`, `id`, `iteration`: {trained} |
| `pairs` | {rows["pairs"]} | `prompt`, `chosen`, `rejected`, `id`, `iteration`: a right and a wrong rationale |

{_provenance(run, experiment)}
"""


def _provenance(run: RunDirectory, experiment: Experiment) -> str:
    second = f"second try: {experiment.second_try}"
    rows = {
        "task": type(experiment.task).__name__,
        "method": f"{type(experiment.sampler).__name__}, each round from the {experiment.start_from} model, {second}",
        "seed": experiment.seed,
        "command": f"`{command(run)}`",
    }
    if source := experiment.model.provenance:
        licence = source.get("license", "not stated in it")
        rows["base weights"] = f"converted from `{source['source']}` (SHA-256 `{source['sha256']}`), licence {licence}"
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in rows.items())])


def command(run: RunDirectory) -> str:
    """Return the last launch's, as it was typed: without the `++` that Hydra is given (see `command_line`)."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    recorded = sorted(run.path.glob("attempts/*/overrides.yaml"))
    try:
        overrides = OmegaConf.to_container(OmegaConf.load(recorded[-1])) if recorded else []
    except (YAMLError, OmegaConfBaseException, OSError, ValueError):
        overrides = None
    if not isinstance(overrides, list):
        return f"python -m star_loop … ({recorded[-1].relative_to(run.path)} is damaged)"
    typed = [re.sub(r"^\+\+(?=[A-Za-z_][\w.]*\.\w+=)", "", str(override)) for override in overrides]
    return shlex.join(["python", "-m", "star_loop", *typed])


def _worked(before: Metrics) -> str:
    """Return the base model's other baseline, where it was measured."""
    worked = f"| with worked examples | {_accuracy(before, 'evaluation_shots')} | |\n"
    return worked if "evaluation_shots/accuracy" in before else ""


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _flops(metrics: Metrics) -> str:
    return f"{metrics.get('flops/cumulative', 0.0):.3g}"


def _accuracy(metrics: Metrics, split: str) -> str:
    low, high = metrics.get(f"{split}/accuracy_low"), metrics.get(f"{split}/accuracy_high")
    return f"{percent(metrics.get(f'{split}/accuracy'))} ({interval(low, high)})"

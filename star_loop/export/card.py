"""What an export says of itself: a model card and a data card, with what a hub reads in their heads."""

import json
import re
import shlex
from typing import Any

from star_loop.experiment import Experiment
from star_loop.records import Metrics
from star_loop.report.quantities import asked, interval, percent
from star_loop.run.directory import IterationDirectory, RunDirectory


def model_card(run: RunDirectory, experiment: Experiment, here: IterationDirectory, license: str) -> str:
    """Describe base, task, method, iteration, figures and command."""
    base, after, before = experiment.model, here.metrics(), run.iteration(0).metrics()
    whole = experiment.trainer.whole
    adapter = "" if whole else "| adapter | `adapter/`: `PeftModel.from_pretrained`, or a vLLM `LoRARequest` |\n"
    return f"""---
base_model: {in_head(base.name_or_path)}
license: {in_head(license)}
library_name: {"transformers" if whole else "peft"}
tags: [star_loop, {"full" if whole else "lora"}, self-improvement]
---
# {experiment.name}, iteration {here.number}

`{base.name_or_path}` after {here.number} iterations of teaching itself with star_loop: it wrote rationales, those
that reached the right answer were kept, and {"all its weights were" if whole else "a LoRA adapter was"} trained on
them. The licences of the base model and of the questions hold for it.

| | base model | iteration {here.number} |
|---|---|---|
| test accuracy | {_accuracy(before, "evaluation")} | {_accuracy(after, "evaluation")} |
{_worked(before)}| validation accuracy | {_accuracy(before, "validation")} | {_accuracy(after, "validation")} |
| FLOPs so far (generation and training, papers' convention) | 0 | {after.get("flops/cumulative", 0.0):.3g} |

{_provenance(run, experiment)}
{adapter}| merged model | `merged/`: transformers, vLLM |
| data | `data/`, with a card of its own |

Accuracy is greedy, {asked(run.config())}, with 95 % Wilson intervals. Which iteration is the best, validation decides.
"""


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
    """Describe what the two tables hold, in the form that `datasets.load_dataset` reads."""
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

Written by `{experiment.model.name_or_path}` and the models that it became, and judged by their final answers only: a
rationale that is right in its answer may be wrong in a step. The licences of the base model and of the questions hold
for them.

| table | rows | columns |
|---|---|---|
| `rationales` | {rows["rationales"]} | `prompt`, `completion`, `weight`, `id`, `iteration`: all that was trained on |
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
    """The last launch's, as it was typed: without the `++` that Hydra is given (see `command_line`)."""
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
    """The base model's other baseline, where it was measured."""
    worked = f"| with worked examples | {_accuracy(before, 'evaluation_shots')} | |\n"
    return worked if "evaluation_shots/accuracy" in before else ""


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _accuracy(metrics: Metrics, split: str) -> str:
    low, high = metrics.get(f"{split}/accuracy_low"), metrics.get(f"{split}/accuracy_high")
    return f"{percent(metrics.get(f'{split}/accuracy'))} ({interval(low, high)})"

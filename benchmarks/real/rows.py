"""One seed of `make real`: run in a process of its own, its chat baselines too, and reduced to the row that is kept."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from star_loop.config.build import build
from star_loop.config.hydra import CONF, composed
from star_loop.records import Metrics
from star_loop.run.directory import RunDirectory
from star_loop.run.iteration import IterationDirectory

RESULTS = Path(__file__).with_name("results.jsonl")
OUTPUTS = Path("outputs/real")
"""The run directories."""
LOOP = ("experiment=real",)
CHAT = (*LOOP, "iterations=0", "model.chat_template=true", "task.turns=true", "task.validation_per_level=1")
"""The base asked as a chat, and as a chat after worked examples."""
PHASES = ("collect", "train", "evaluate")
Row = dict[str, Any]


def perform(seed: int) -> Row:
    """Run the loop and the chat baselines of a seed, which draws the questions too, or go on with them."""
    loop, chat = launched(LOOP, f"loop-{seed}", seed), launched(CHAT, f"chat-{seed}", seed)
    levels = [observation.level or 0 for observation in build(composed(overrides(LOOP, "", seed))).task.train()]
    spent = processor_seconds(f"loop-{seed}")
    return {"seed": seed, "experiment": experiment(), "processor_seconds": spent, **reduced(loop, chat, levels)}


def reduced(loop: RunDirectory, chat: RunDirectory, levels: Sequence[int]) -> Row:
    """What of the two runs is kept; `levels` are those of the training questions."""
    metrics, talked = loop.committed_metrics(), chat.committed_metrics()[0]
    measured = {
        "base": test(metrics[0], "evaluation"),
        "shots": test(metrics[0], "evaluation_shots"),
        "chat": test(talked, "evaluation"),
        "chat_shots": test(talked, "evaluation_shots"),
        "end": test(metrics[-1], "evaluation"),
    }
    curve = [point(loop.iteration(t), figures, levels) for t, figures in enumerate(metrics)]
    return {"measured": measured, "curve": curve}


def overrides(what: Sequence[str], name: str, seed: int) -> list[str]:
    """What is given to `python -m star_loop`."""
    return [*what, f"seed={seed}", f"task.seed={seed}", f"name={name or 'real'}", f"outputs={OUTPUTS}"]


def launched(what: Sequence[str], name: str, seed: int) -> RunDirectory:
    """Run it to its end as a person would; what it took of the processor is noted beside the run."""
    command = [sys.executable, "-m", "star_loop", *overrides(what, name, seed)]
    begun = time.monotonic()
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    spent = {"seconds": time.monotonic() - begun, "processor": used.ru_utime + used.ru_stime}
    with (OUTPUTS / f"{name}.spent.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(spent) + "\n")
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}; the same goes on")
    return RunDirectory(OUTPUTS / name)


def processor_seconds(name: str) -> float:
    """Of all launches together, on all cores."""
    lines = (OUTPUTS / f"{name}.spent.jsonl").read_text(encoding="utf-8").splitlines()
    return round(sum(json.loads(line)["processor"] for line in lines))


def experiment() -> Any:
    """The settings as they are now; a row that was made with others does not count."""
    return OmegaConf.to_container(OmegaConf.load(CONF / "experiment" / "real.yaml"))


def test(metrics: Metrics, name: str) -> Metrics:
    """What an evaluation of the test split found, by its names without the first part."""
    return {key.partition("/")[2]: round(value, 6) for key, value in metrics.items() if key.startswith(f"{name}/")}


def point(iteration: IterationDirectory, metrics: Metrics, levels: Sequence[int]) -> Row:
    """One iteration: accuracy on validation, what it spent, and of each level what was asked, solved and trained on."""
    counts = {str(level): [0, 0, 0] for level in sorted(set(levels))}
    for rollout in iteration.rollouts():
        found = counts[str(levels[rollout.position])]
        found[0] += 1
        found[1] += rollout.correct
    for position in {example.position for example in iteration.examples(list)} if iteration.number else ():
        counts[str(levels[position])][2] += 1
    kept = {
        "validation": "validation/accuracy",
        "validation_shots": "validation_shots/accuracy",
        "faithful": "collect/faithful",
        "generated": "tokens/generated",
        "trained": "tokens/trained",
        "loss": "train/loss",
        **{phase: f"seconds/{phase}" for phase in PHASES},
        "seconds": "seconds/total",
    }
    figures = {name: round(metrics[key], 4) for name, key in kept.items() if key in metrics}
    return {**figures, "levels": counts}


def rows() -> list[Row]:
    """Those that were made with the present settings, by seed."""
    if not RESULTS.exists():
        return []
    lines, present = map(json.loads, RESULTS.read_text(encoding="utf-8").splitlines()), experiment()
    return sorted((line for line in lines if line["experiment"] == present), key=lambda line: int(line["seed"]))


def keep(row: Row) -> None:
    """Append it."""
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")

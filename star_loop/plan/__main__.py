"""python -m star_loop.plan --like outputs/default: time, FLOPs and memory on 1 to 4,096 GPUs."""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from star_loop.accounting.flops import Shapes, shapes_of
from star_loop.config.screen import conclude, outlive_screen
from star_loop.doctor import Size
from star_loop.errors import a_path, natural
from star_loop.experiment import Experiment
from star_loop.generators.devices import stated
from star_loop.models import Pretrained
from star_loop.plan.rates import Habits, Rates, growth, habits, measured
from star_loop.plan.text import text
from star_loop.plan.work import READING, Job, Model, Network, Prediction
from star_loop.run.described import experiment_of
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import RunError

GPUS = (1, 8, 64, 512, 4096)
_MOST_SPANS = 1000
OBSERVATIONS = (10**4, 10**5, 10**6, 10**7, 10**8, 10**9)


class Configured(Pretrained):
    """A base model of which only `config.json` is wanted."""

    def check(self) -> None:
        """Check nothing: its weights may be elsewhere."""


def some(typed: str) -> int:
    """Read a number of things that cannot be none, for argparse.

    Raises:
        ArgumentTypeError: it is no whole number, or less than 1.
    """
    if not typed.isdecimal() or int(typed) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 is wanted, not {typed!r}")
    return int(typed)


def amount(typed: str) -> float:
    """Read how much there is of something, for argparse.

    Raises:
        ArgumentTypeError: it is no number, 0 or less, or not finite.
    """
    try:
        found = float(typed)
    except ValueError:
        found = math.nan
    if not (math.isfinite(found) and found > 0):
        raise argparse.ArgumentTypeError(f"a number above 0 is wanted, not {typed!r}")
    return found


def arguments() -> argparse.ArgumentParser:
    """Return the flags; what is not given is as in the run."""
    parser = argparse.ArgumentParser(prog="python -m star_loop.plan", description=__doc__)
    add = parser.add_argument
    add("--like", type=a_path, default=Path("outputs/default"), help="a finished run: its rates, lengths and yields")
    add("--model", help="another base (a Hub id, or a folder with config.json): rates scale with its weights and FLOPs")
    add("--observations", type=some, nargs="+", default=OBSERVATIONS)
    add("--gpus", type=some, nargs="+", default=GPUS)
    add("--iterations", type=some)
    add("--quota", type=natural, help="accepted rationales of every iteration; 0: everything is asked")
    add("--wave", type=some, help="schedule.wave")
    add("--share", type=some, help="generator.share; not given: a wave is divided evenly")
    add("--batch", type=some, help="schedule.batch")
    add("--tokens", type=amount, help="mean tokens of a rationale: the run's lengths are stretched to it")
    add("--gpus-each", type=some, help="generator.tensor_parallel_size")
    add("--flops", type=amount, help="FLOP/s that one GPU reaches, instead of the rates of the run's machine")
    add("--memory-bandwidth", type=amount, help="bytes/s of that GPU's memory: a decoding step reads all weights once")
    add("--network", type=amount, default=Network().bandwidth, help="bytes/s between two nodes")
    add("--node", type=some, default=Network().node, help="GPUs of a node")
    add("--json", action="store_true", help="everything, for machines")
    return parser


def main(given: Sequence[str] | None = None) -> int:
    """Print it.

    Returns:
        0, or 2 where nothing can be predicted.
    """
    wanted = arguments().parse_args(given)
    try:
        found = plan(wanted)
    except (RunError, ValueError, OSError) as error:
        sys.stderr.write(f"star_loop.plan: {error}\n")
        return 2
    sys.stdout.write(json.dumps(found, indent=1) + "\n" if wanted.json else text(found))
    return 0


def plan(wanted: argparse.Namespace) -> dict[str, Any]:
    """Tell what is known and what is assumed, the memory, and a prediction for each number of observations and GPUs.

    Raises:
        RunError, ValueError: `--like` is no run to measure rates from, or there is no such model.
    """
    run = RunDirectory(wanted.like)
    experiment = measurable(run)
    rates, now = measured(run, slots_of(experiment), stream=experiment.generator.independent), habits(run)
    base = experiment.model if wanted.model is None else Configured(name_or_path=wanted.model)
    shapes, whole = shapes_of(base), experiment.trainer.whole
    rates, now = scaled(rates, now, wanted, shapes_of(experiment.model), shapes, whole)
    sampler, commit = growth(experiment)
    model = Model(
        rates=rates, habits=now, sampler=sampler, commit=commit,
        network=Network(bandwidth=wanted.network, node=wanted.node),
    )  # fmt: skip
    job = job_of(experiment, wanted)
    return {
        "measured": {"run": str(run.path), "model": base.name_or_path, **asdict(rates), "sampler": asdict(sampler),
                     "commit": asdict(commit)},
        "assumed": {"reading": READING, "network": wanted.network, "node": wanted.node, "flops": wanted.flops,
                    "memory_bandwidth": wanted.memory_bandwidth},
        "memory": memory(shapes, base, job.gpus_each, whole),
        "predictions": [
            {"observations": n, "gpus": gpus, "process_bytes": n * sampler.held, **_shown(prediction)}
            for n in wanted.observations
            for gpus in wanted.gpus
            for prediction in [model.predict(replace(job, observations=n), gpus)]
        ],
    }  # fmt: skip


def measurable(run: RunDirectory) -> Experiment:
    """Build what the run is made of.

    Raises:
        RunError: it is no run, or one of several engines.
    """
    if not run.config():
        raise RunError(f"{run.path} is no run directory (it has no config.yaml): give --like a finished run")
    experiment = experiment_of(run)
    share, engines = (getattr(experiment.generator, key, None) for key in ("share", "engines"))
    if share is not None or engines not in (None, 1):
        raise RunError(
            f"{run.path} generated in shares (generator.share, generator.engines), which hide what one engine takes: "
            "give --like a run without them"
        )
    return experiment


def slots_of(experiment: Experiment) -> int:
    """Completions that an engine has in flight at once."""
    return getattr(experiment.generator, "max_num_seqs", None) or 256


def job_of(experiment: Experiment, wanted: argparse.Namespace) -> Job:
    """Return the run's own job, with what the flags change."""
    spans = spans_of(wanted.iterations or experiment.iterations)
    middles = [first + 1 + span // 2 for first, span in zip(accumulate(spans, initial=0), spans, strict=False)]
    quotas = [
        experiment.schedule.quota_at(iteration) if wanted.quota is None else wanted.quota or None
        for iteration in middles
    ]
    return Job(
        observations=1, quotas=quotas, spans=spans, slots=slots_of(experiment),
        wave=wanted.wave or (None if experiment.generator.independent else experiment.schedule.wave),
        share=wanted.share,
        batch=wanted.batch or experiment.schedule.batch,
        gpus_each=wanted.gpus_each or stated(getattr(experiment.generator, "tensor_parallel_size", 1)),
    )  # fmt: skip


def spans_of(iterations: int) -> list[int]:
    """Cut so many iterations into at most a thousand spans of nearly equal length, each alike within itself."""
    spans = min(iterations, _MOST_SPANS)
    return [iterations * (k + 1) // spans - iterations * k // spans for k in range(spans)]


def scaled(
    rates: Rates, now: Habits, wanted: argparse.Namespace, before: Shapes, after: Shapes, whole: bool = False
) -> tuple[Rates, Habits]:
    """Return the rates for another model, another length or another machine.

    A step costs what reading the weights costs, a token and a round what their FLOPs cost. `whole`: an iteration keeps
    a model instead of an adapter.
    """
    stretch = wanted.tokens / float(now.lengths.mean()) if wanted.tokens else 1.0
    weights = after.parameters / before.parameters
    work = after.prefill(100) / before.prefill(100)
    now = replace(
        now,
        lengths=now.lengths * stretch,
        flops_generated=now.flops_generated * work * stretch,
        flops_trained=now.flops_trained * work * stretch,
        adapter=int(now.adapter * (weights if whole else _low_rank(after) / _low_rank(before))),
    )
    if wanted.flops is None and wanted.memory_bandwidth is None:
        return replace(
            rates, step=rates.step * weights, token=rates.token * work, swap=rates.swap * weights, flop=rates.flop
        ), now
    if wanted.flops is None or wanted.memory_bandwidth is None:
        raise ValueError("--flops and --memory-bandwidth describe one machine: give both, or neither")
    each = wanted.gpus_each or 1
    read = 2 * after.parameters / wanted.memory_bandwidth / each
    token = after.prefill(100) / 100 / wanted.flops / each
    return replace(rates, step=read, token=token, swap=rates.swap + 2 * read, flop=1 / wanted.flops), now


def _low_rank(shapes: Shapes) -> int:
    """Weights of an adapter of rank 1."""
    return sum(linear.inputs + linear.outputs for linear in shapes.linears)


def memory(shapes: Shapes, base: Pretrained, gpus_each: int, whole: bool = False) -> dict[str, float]:
    """Bytes on each GPU: see `star_loop.doctor`."""
    from star_loop.models.weights import load_config

    config = load_config(base).get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = Size(
        base.name_or_path, shapes.parameters, shapes.layers, shapes.hidden,
        getattr(config, "intermediate_size", None) or 4 * shapes.hidden, heads * shapes.head_dim,
    )  # fmt: skip
    train = size.train_whole if whole else size.train
    return {"generate": size.generate() / gpus_each, "train": train(), "train_checkpointing": train(checkpointing=True)}


def _shown(prediction: Prediction) -> dict[str, Any]:
    return {
        "seconds": {**prediction.phases(), "total": prediction.total}, "parts": dict(prediction.seconds),
        "flops": dict(prediction.flops), "bottleneck": prediction.bottleneck,
    }  # fmt: skip


if __name__ == "__main__":
    outlive_screen()
    conclude(main)

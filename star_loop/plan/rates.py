"""What a finished run says of the machine that it ran on: seconds for each step, token and FLOP."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
from numpy.typing import NDArray

from star_loop.accounting.metrics import token_counts
from star_loop.accounting.statistics import Statistics
from star_loop.experiment import Experiment
from star_loop.protocols import Sampler
from star_loop.records import Columns, Metrics, Outcome, Rollout, State
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import Disk, RunError, npz_bytes, parquet_bytes
from star_loop.seeding import rng

SPLITS = ("validation", "evaluation")
"""The files of held-out answers, in the order in which they are asked."""
SIZES = (10_000, 100_000, 1_000_000)
"""Observations for which the sampler and the commit are timed."""
VISITED = 4096
"""Observations of the iteration that is timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Seconds of one engine and one rank on the machine of the run."""

    step: float
    """A decoding step of a batch, however many are in it, takes these seconds."""
    token: float
    """A token, read or written, takes these."""
    swap: float
    """New weights, with the proof that they generate, take these."""
    start: float
    """Until the engine answers for the first time."""
    begin: float
    """A LoRA round takes these before its first step and after its last."""
    load: float
    """The first round of a launch takes these besides: libraries are imported."""
    flop: float
    """An exact FLOP of training takes these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How long the run's questions and answers are, and how often they are right."""

    lengths: NDArray[np.int64]
    """Tokens of the rationales, sorted."""
    prompt: float
    """Tokens of a prompt, on average."""
    accepted: Sequence[float]
    """Accepted rationales of an observation that is visited, by iteration from 1."""
    tries: Sequence[float]
    """Requests of an observation that is visited: the first, and the second where that failed; by iteration from 1."""
    held_out: Sequence[int]
    """Questions of each call of an evaluation: validation and test, one after the other."""
    flops_generated: float
    """Exact FLOPs of a request."""
    flops_trained: float
    """Exact FLOPs of a training example."""
    adapter: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Seconds and bytes that grow with the number of observations."""

    once: float
    """Seconds."""
    each: float
    """Seconds for each observation."""
    held: float = 0.0
    """Bytes of memory for each."""

    def __call__(self, observations: float) -> float:
        """Seconds."""
        return self.once + self.each * observations


def steps_of(lengths: Sequence[int], slots: int) -> int:
    """Count the decoding steps of an engine that writes these rationales, `slots` at a time, the next once one is done.

    Example:
        >>> steps_of([5, 1, 1, 3], slots=2)
        5
    """
    ends = [0] * min(slots, len(lengths))
    for length in lengths:
        heapq.heapreplace(ends, ends[0] + length)
    return max(ends, default=0)


def measured(run: RunDirectory, slots: int, *, stream: bool = False) -> Rates:
    """Fit the rates to every call and every round of the run; a pass that was a `stream` is a call.

    Raises:
        RunError: too little was measured.
    """
    calls: list[tuple[list[float], float]] = []
    rounds: list[tuple[list[float], float]] = []
    for t, metrics in enumerate(run.committed_metrics()):
        calls += _calls(run, t, slots, stream)
        if metrics.get("seconds/train") and "train/flops_exact" in metrics:
            rounds.append(([1.0, float(t == 1), metrics["train/flops_exact"]], metrics["seconds/train"]))
    if len(calls) < 4 or len(rounds) < 3:
        raise RunError(f"{run.path} has too few timed waves or rounds to measure rates from: --like needs a run that "
                       "generated with a model and trained at least three times")  # fmt: skip
    step, token, swap, start = fit(calls).tolist()
    begin, load, flop = fit(rounds).tolist()
    return Rates(step=step, token=token, swap=swap, start=start, begin=begin, load=load, flop=flop)


def _calls(run: RunDirectory, number: int, slots: int, stream: bool) -> list[tuple[list[float], float]]:
    """((steps, tokens, swaps, starts), seconds) of each call whose time is known for certain."""
    iteration, timings = run.iteration(number), run.timings(number)
    answered = [split for split in SPLITS if (iteration.path / f"{split}.jsonl").exists()]
    found = []
    for phase, names in (("collect", iteration.waves), ("evaluate", answered)):
        seconds = [entry["seconds"] for entry in timings if entry["phase"] == phase]
        if len(seconds) != len(names):
            continue  # of several launches, or evaluated in part
        if phase == "collect" and stream and names:
            rollouts = list(iteration.rollouts())
            steps = float(steps_of([rollout.tokens for rollout in rollouts], slots))
            found.append(([steps, float(sum(token_counts(rollouts))), 0.0, 0.0], sum(seconds)))
            continue
        for index, (name, taken) in enumerate(zip(names, seconds, strict=True)):
            served = float(phase == "evaluate" and index == 0)
            swaps, starts = (0.0, served) if number == 0 else (served, 0.0)
            found.append(([*_work(list(iteration.judged(name)), slots), swaps, starts], taken))
    return found


def _work(rollouts: Sequence[Rollout], slots: int) -> tuple[float, float]:
    steps = sum(steps_of([r.tokens for r in part], slots) for _, part in groupby(rollouts, key=lambda r: r.attempt))
    return float(steps), float(sum(token_counts(rollouts)))


def habits(run: RunDirectory) -> Habits:
    """Read the habits of the whole run.

    Raises:
        RunError: nothing was generated or trained.
    """
    metrics = run.committed_metrics()
    iterations = [run.iteration(number) for number in range(1, len(metrics))]
    waves = [[list(iteration.judged(name)) for name in iteration.waves] for iteration in iterations]
    rollouts = [r for iteration in waves for wave in iteration for r in wave]
    adapters = sorted(run.path.glob("iterations/*/adapter"))
    if not rollouts or not adapters:
        raise RunError(f"{run.path} has no waves or no adapters: --like needs a run that has finished an iteration")
    held_out = [list(run.iteration(0).judged(name)) for name in SPLITS]
    return Habits(
        lengths=np.sort([r.tokens for r in rollouts]),
        prompt=float(np.mean([r.prompt_tokens for r in rollouts])),
        accepted=[m["collect/accepted"] / m["collect/observations"] for m in metrics[1:]],
        tries=[sum(map(len, waves)) / sum(len({r.position for r in wave}) for wave in waves) for waves in waves],
        held_out=[len(rollouts) for rollouts in held_out if rollouts],
        flops_generated=_sum(metrics, "flops_exact/generate") / len(rollouts),
        flops_trained=_sum(metrics, "train/flops_exact") / max(_sum(metrics, "train/examples"), 1),
        adapter=sum(path.stat().st_size for path in adapters[-1].iterdir()),
    )  # fmt: skip


def _sum(metrics: Sequence[Metrics], name: str) -> float:
    return float(sum(m.get(name, 0.0) for m in metrics))


def fit(rows: Sequence[tuple[Sequence[float], float]]) -> NDArray[np.float64]:
    """Find non-negative coefficients with the least squared relative errors of (features, seconds)."""
    features, seconds = np.array([f for f, _ in rows]), np.array([s for _, s in rows])
    scale = np.maximum(features.max(axis=0), 1e-300)  # FLOPs beside ones would be lost to rounding
    relative = features / scale / seconds[:, None]
    best, error = np.zeros(len(scale)), np.inf
    for size in range(1, features.shape[1] + 1):
        for chosen in map(list, combinations(range(features.shape[1]), size)):
            found = np.linalg.lstsq(relative[:, chosen], np.ones(len(rows)))[0]
            missed = float(np.sum((relative[:, chosen] @ found - 1) ** 2))
            if (found >= 0).all() and missed < error:
                best, error = np.zeros(len(scale)), missed
                best[chosen] = found
    unscaled: NDArray[np.float64] = best / scale
    return unscaled


def growth(experiment: Experiment) -> tuple[Growth, Growth]:
    """Return the run's sampler, and a commit of what it and the statistics hold: timed here and now (CPU seconds)."""
    proposals, commits, held = [], [], 0.0
    for n in SIZES:
        state, facts, outcome = _world(experiment.sampler, n)
        proposals.append(([1.0, n], _seconds(lambda: _iteration(experiment.sampler, state, facts, outcome))))  # noqa: B023
        with TemporaryDirectory() as folder:
            commits.append(([1.0, n], _seconds(lambda: _commit(state, facts, Path(folder)))))  # noqa: B023
        arrays = [*state.values(), *facts.columns().values()]
        held = sum(array.nbytes for array in arrays) / n
    (once, each), (write, write_each) = fit(proposals).tolist(), fit(commits).tolist()
    return Growth(once=once, each=each, held=held), Growth(once=write, each=write_each)


def _world(sampler: Sampler, n: int) -> tuple[State, Statistics, Outcome]:
    luck = rng(0, "plan", n)
    columns: Columns = {
        "skill": luck.integers(0, 10, n, np.int32), "level": luck.integers(1, 9, n, np.int32),
        "length": luck.integers(1, 200, n, np.int32), "skill_names": np.array([f"skill {k}" for k in range(10)]),
    }  # fmt: skip
    state = sampler.init(columns, rng(0, "plan"))
    proposal, during = sampler.propose(state, min(VISITED, n), rng(0, "plan"))
    none, some = (np.full(len(proposal.positions), k, np.int64) for k in (0, 1))
    outcome = Outcome(
        iteration=1, positions=proposal.positions, attempts=some, wins=some, hinted_attempts=none, hinted_wins=none,
        first_attempts=some, first_wins=some,
    )  # fmt: skip
    return sampler.learn(during, outcome), Statistics.empty(n).add(outcome), outcome


def _iteration(sampler: Sampler, state: State, facts: Statistics, outcome: Outcome) -> None:
    _, during = sampler.propose(state, len(outcome.positions), rng(1, "plan"))
    sampler.learn(during, outcome)
    facts.add(outcome)


def _commit(state: State, facts: Statistics, folder: Path) -> None:
    Disk().publish(folder / "statistics.parquet", parquet_bytes(facts.columns()))
    Disk().publish(folder / "sampler.npz", npz_bytes(state))


def _seconds(act: Callable[[], None]) -> float:
    act()  # once for what is imported and cached
    began = process_time()
    act()
    return process_time() - began

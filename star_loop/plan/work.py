"""From rates to a prediction: how much work an iteration is, and how engines and ranks share it."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from star_loop.plan.rates import Growth, Habits, Rates

READING = 2e-5
"""Seconds of processor time to read and check an observation before anything starts (docs/tasks.md)."""
REMEDIES = {
    "tokens": "more GPUs, if there are waves for them",
    "tail": "a larger quota, or schedule.wave with seeding=wave: the longest rationale is waited for",
    "evaluate": "evaluation.test_every, or fewer questions",
    "train": "more ranks, up to a node's GPUs and a batch's sequences",
    "weights": "a faster network, or fewer iterations",
    "sampler": "fewer iterations, or sampler=uniform: one process does it",
    "commit": "fewer iterations: it writes all statistics each time",
    "start": "more iterations in one launch; most of it is reading the observations, in one process",
}
"""By the part that takes longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A run that is to be predicted."""

    observations: int
    quotas: Sequence[int | None]
    """Accepted rationales of each iteration; None: everything is asked."""
    spans: Sequence[int] = ()
    """How many iterations in a row each of them stands for; empty: one."""
    wave: int | None = 256
    """Observations of a wave, for whose longest rationale the next one waits; None: collecting is a stream."""
    share: int | None = None
    """Requests of a share; None: a wave is divided evenly."""
    slots: int = 256
    """Completions in flight in one engine."""
    batch: int = 8
    """Sequences of an optimiser step: no more ranks than these can work, nor more than one node has GPUs."""
    gpus_each: int = 1
    """GPUs of one engine."""

    def engines(self, gpus: int) -> int:
        """Count the engines that work at once."""
        return max(1, gpus // self.gpus_each)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Assumed, not measured here."""

    bandwidth: float = 1e9
    """Bytes per second between two nodes."""
    node: int = 8
    """GPUs of a node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """How long a whole launch takes, and what it spends."""

    seconds: Mapping[str, float]
    """By part: see `REMEDIES`."""
    flops: Mapping[str, float]
    """Exact, by phase."""

    @property
    def total(self) -> float:
        """Seconds."""
        return sum(self.seconds.values())

    @property
    def bottleneck(self) -> str:
        """The part that takes longest."""
        return max(self.seconds, key=self.seconds.__getitem__)

    def phases(self) -> dict[str, float]:
        """Seconds as a run's own metrics name them."""
        seconds = self.seconds
        return {
            "collect": seconds["tokens"] + seconds["tail"],
            "train": seconds["train"],
            "evaluate": seconds["evaluate"] + seconds["weights"],
            "start": seconds["start"],
            "learn and commit": seconds["sampler"] + seconds["commit"],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """All that a prediction rests on."""

    rates: Rates
    habits: Habits
    sampler: Growth
    commit: Growth
    network: Network = Network()

    def predict(self, job: Job, gpus: int) -> Prediction:
        """Predict the launch on so many GPUs (a CPU counts as one)."""
        spans = job.spans or [1] * len(job.quotas)
        before = [0, *accumulate(spans)]  # the middle one speaks for those of its span
        parts = [self.iteration(job, k, before[k] + spans[k] // 2, gpus) for k in range(len(job.quotas))]
        seconds = _summed([part.seconds for part in parts], spans)
        flops = _summed([part.flops for part in parts], spans)
        seconds["evaluate"] += self._evaluation(job, job.engines(gpus))  # of the base model
        seconds["train"] += self.rates.load
        seconds["start"] = self.rates.start + READING * job.observations
        flops["evaluate"] += sum(self.habits.held_out) * self.habits.flops_generated
        return Prediction(seconds=seconds, flops=flops)

    def iteration(self, job: Job, k: int, done: int, gpus: int) -> Prediction:
        """Predict the iteration after `done` others, with the k-th quota, without the start."""
        rates, habits, network = self.rates, self.habits, self.network
        engines, nodes = job.engines(gpus), math.ceil(gpus / network.node)
        accepted, tries = (numbers[min(done, len(numbers) - 1)] for numbers in (habits.accepted, habits.tries))
        quota = job.quotas[k] or job.observations
        each = job.wave or 1
        asked = min(math.ceil(quota / max(accepted, 1e-9) / each) * each, job.observations)
        waves, rounds = (math.ceil(asked / each), (1.0, tries - 1)) if job.wave else (1, (tries,))
        wave = [call(share * asked / waves, job, habits, engines) for share in rounds]
        examples = min(quota, asked * accepted)
        sent = habits.adapter / network.bandwidth * math.ceil(math.log2(nodes))
        ranks = min(gpus, job.batch, network.node)  # a round is trained on one node
        trained = habits.flops_trained * examples
        return Prediction(
            seconds={
                "tokens": waves * rates.token * sum(part.tokens for part in wave),
                "tail": waves * rates.step * sum(part.steps for part in wave),
                "evaluate": self._evaluation(job, engines),
                "train": rates.begin + rates.flop * trained / ranks,
                "weights": rates.swap + sent,
                "sampler": self.sampler(job.observations),
                "commit": self.commit(job.observations),
            },
            flops={
                "generate": asked * tries * habits.flops_generated,
                "train": trained,
                "evaluate": sum(habits.held_out) * habits.flops_generated,
            },
        )

    def _evaluation(self, job: Job, engines: int) -> float:
        calls = [call(count, job, self.habits, engines) for count in self.habits.held_out]
        return sum(self.rates.token * part.tokens + self.rates.step * part.steps for part in calls)


@dataclass(frozen=True, slots=True)
class Call:
    """The work of a call that the busiest engine has to do."""

    steps: float
    tokens: float


def call(requests: float, job: Job, habits: Habits, engines: int) -> Call:
    """Return the busiest engine's work of so many requests, cut into shares that the engines take in turn."""
    share = min(job.share or math.ceil(requests / engines), requests)
    if share <= 0:
        return Call(0.0, 0.0)
    rounds = math.ceil(math.ceil(requests / share) / engines)
    mean = float(habits.lengths.mean())
    last = longest(habits.lengths, min(share, job.slots))
    steps = last + max(0.0, share - job.slots) * mean / job.slots
    alone = rounds * share if engines > 1 else requests
    return Call(rounds * steps, alone * (habits.prompt + mean))


def _summed(parts: Sequence[Mapping[str, float]], times: Sequence[int]) -> defaultdict[str, float]:
    sums: defaultdict[str, float] = defaultdict(float)
    for part, number in zip(parts, times, strict=True):
        for name, value in part.items():
            sums[name] += number * value
    return sums


def longest(lengths: NDArray[np.int64], count: float) -> float:
    """Return the expected greatest of `count` draws from these lengths, which are sorted."""
    below = np.arange(1, len(lengths) + 1) / len(lengths)
    chance = np.diff(np.concatenate([[0.0], below**count]))
    return float(chance @ lengths)

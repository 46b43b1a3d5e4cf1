"""Asking the engine and judging what comes back, for collecting, pilots, preparations and evaluation alike."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from star_loop.models import Model
from star_loop.protocols import Progress
from star_loop.records import Completion, Request, Rollout, Try
from star_loop.seeding import Purpose, seed_for
from star_loop.stages.judge import Drawn, judge_all
from star_loop.stages.labels import by_majority
from star_loop.stages.live import LiveRun

Asked = tuple[int, int, Request]
"""(position, attempt, request)"""
Journal = dict[str, float]
"""What a phase adds to its line in `timings.jsonl`: `cached_tokens`."""


def serve(live: LiveRun, model: Model, purpose: str) -> None:
    """Make the engine generate with this model, and take up what an earlier launch has had of it for this purpose."""
    live.engine.serve(model)
    adapter = os.path.relpath(model.adapter, live.run.path) if model.adapter else "the base"
    live.run.arrivals.turn_to(f"{purpose}, by {adapter}")


def draw_pilots(
    live: LiveRun, iteration: int, name: str, draws: Mapping[int, int], model: Model, temperature: float | None = None
) -> list[Rollout]:
    """Draw rollouts that nothing is learned from but how to sample: `draws` of each position; the name seeds them."""
    with live.run.timed(iteration, "search") as journal:
        serve(live, model, f"iteration {iteration}, pilot {name}")
        return draw(live, iteration, f"pilot {name}", Try.FIRST, draws, journal, temperature=temperature)


def draw(
    live: LiveRun, iteration: int, wave: Purpose, attempt: int, draws: Mapping[int, int], journal: Journal, *,
    temperature: float | None = None, hint: bool = False, before: Sequence[Rollout] = (),
) -> list[Rollout]:  # fmt: skip
    """Judged rollouts of training observations by the model that is served: `draws` of each position.

    They are judged by the golds, or with `task.labels=majority` by each other.

    Args:
        wave: its number, or the name of draws that belong to no wave; it seeds them.
        temperature: stands in for the generator's own.
        hint: whether the prompts show the answer.
        before: what the wave has so far.
    """
    named = (wave,) if isinstance(wave, str) else ()
    asked = [
        (position, attempt, request(live, iteration, position, attempt, n, named, temperature=temperature, hint=hint))
        for position, n in draws.items() if n
    ]  # fmt: skip
    seed = seed_for(live.experiment.seed, "wave", iteration, wave, attempt)
    return labelled(live, ask(live, asked, seed, journal, reject_truncated=True), before)


def labelled(live: LiveRun, judged: list[Rollout], before: Sequence[Rollout]) -> list[Rollout]:
    """Judge rollouts of training observations by each other instead, where `task.labels=majority`.

    Args:
        judged: by the golds; all draws of a try of each observation.
        before: earlier tries of these observations.
    """
    task = live.experiment.task
    return by_majority(task, live.splits["train"], judged, before) if task.labels == "majority" else judged


def request(
    live: LiveRun, iteration: int, position: int, attempt: int, draws: int, named: Sequence[Purpose] = (), *,
    temperature: float | None, hint: bool,
) -> Request:  # fmt: skip
    """Ask for draws of a training observation; `named`: what seeds them beside iteration, observation and attempt."""
    experiment, observation = live.experiment, live.splits["train"][position]
    prompt = experiment.task.prompt if live.shots else experiment.task.bare_prompt
    sampling = experiment.sampling(observation)
    if temperature is not None:
        sampling = replace(sampling, temperature=temperature)
    return Request(
        prompt=prompt(observation, hint=hint), observation=observation, sampling=sampling, n=draws, hinted=hint,
        seed=seed_for(experiment.seed, *named, "request", iteration, observation.id, attempt),
    )  # fmt: skip


def ask(
    live: LiveRun, asked: Sequence[Asked], seed: int, journal: Journal, *,
    reject_truncated: bool, progress: bool = False,
) -> list[Rollout]:  # fmt: skip
    """Judged rollouts of these requests, in their order.

    Args:
        seed: what `seeding: wave` draws with.
        reject_truncated: whether a text that was cut off is wrong, whatever it says so far.
        progress: whether each request is a unit of the phase that the session shows.
    """
    if not asked:
        return []
    told = live.session.advance if progress else partial(live.session.advance, 0, 0)
    completions = _complete(live, [request for *_, request in asked], seed, told)
    cached = sum(samples[0].cached_tokens for samples in completions if samples)
    journal["cached_tokens"] = journal.get("cached_tokens", 0) + cached
    drawn = [
        Drawn(position, attempt, sample, request, completion)
        for (position, attempt, request), samples in zip(asked, completions, strict=True)
        for sample, completion in enumerate(samples)
    ]
    return judge_all(live.experiment.task, drawn, reject_truncated=reject_truncated)


def _complete(live: LiveRun, requests: Sequence[Request], seed: int, told: Progress) -> list[list[Completion]]:
    """Return what has arrived already, and what the engine makes of the rest."""
    arrivals = live.run.arrivals
    completions = {k: known for k, request in enumerate(requests) if (known := arrivals.known(request)) is not None}
    left = [k for k in range(len(requests)) if k not in completions]
    if completions:
        told(len(completions))
    if left:
        drawn = live.engine.generate(
            [requests[k] for k in left], seed=seed, progress=told,
            arrived=lambda place, samples: arrivals.add(requests[left[place]], samples),
        )  # fmt: skip
        live.session.advance(0, sum(completion.tokens for samples in drawn for completion in samples))
        completions |= zip(left, drawn, strict=True)
    return [completions[k] for k in range(len(requests))]

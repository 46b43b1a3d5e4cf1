"""Asking the engine and judging what comes back: waves of rationales, and answers for evaluation."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from star_loop.accounting.metrics import TOO_LONG
from star_loop.experiment import Experiment
from star_loop.models import Model
from star_loop.protocols import Engine, Progress, Session
from star_loop.records import Completion, Proposal, Request, Rollout, Sampling, State
from star_loop.run.directory import RunDirectory
from star_loop.seeding import Purpose, rng, seed_for
from star_loop.stages.judge import Drawn, judge_all
from star_loop.stages.load import Splits

Asked = tuple[int, int, Request]
"""(position, attempt, request)"""


class Generation:
    """From positions to judged rollouts. Serves the model it is told to, when something must be generated at all."""

    def __init__(self, x: Experiment, run: RunDirectory, splits: Splits, engine: Engine, session: Session) -> None:
        self.x, self.run, self.splits, self.engine, self.session = x, run, splits, engine, session

    def wave(
        self,
        iteration: int,
        wave: int,
        proposal: Proposal,
        known: State,
        model: Model,
        temperature: float | None = None,
    ) -> list[Rollout]:
        """Both tries of one wave, the atom of generation: seeded by itself, whatever was generated before.

        `known` is what the allocator may look at: the facts so far and the sampler's beliefs. `temperature` stands in
        for the generator's own.
        """
        how = self._sampling(temperature)
        rollouts = proposal.rollouts
        if rollouts is None:
            rollouts = self.x.allocator.allocate(proposal, known, rng(self.x.seed, "allocator", iteration, wave))
        draws = dict(zip(proposal.positions.tolist(), rollouts.tolist(), strict=True))
        with self.run.timed(iteration, "collect") as entry:
            self._serve(model, f"iteration {iteration}, wave {wave}")
            judged = self._attempt(iteration, wave, 0, draws, entry, how)
            if self.x.second_try != "none":
                solved = {r.position for r in judged if r.correct}
                failed = {r.position: 1 for r in judged if r.position not in solved and r.how != TOO_LONG}
                judged += self._attempt(iteration, wave, 1, failed, entry, how, hint=self.x.second_try == "rationalize")
        return judged

    def pilot(
        self, iteration: int, name: str, draws: Mapping[int, int], model: Model, temperature: float | None = None
    ) -> list[Rollout]:
        """Rollouts that nothing is learned from but how to sample: `draws` of each position; the name seeds them."""
        with self.run.timed(iteration, "search") as entry:
            self._serve(model, f"iteration {iteration}, pilot {name}")
            return self._attempt(iteration, f"pilot {name}", 0, draws, entry, self._sampling(temperature))

    def survey(self, name: str, draws: Mapping[int, int]) -> list[Rollout]:
        """Rollouts of the base model before the first iteration, for a preparation; the name seeds them."""
        self._serve(Model(base=self.x.model), f"survey {name}")
        return self._attempt(0, f"survey {name}", 0, draws, {}, self._sampling(None))

    def _serve(self, model: Model, purpose: str) -> None:
        """The model, and what an earlier launch has had of it for this purpose."""
        self.engine.serve(model)
        adapter = os.path.relpath(model.adapter, self.run.path) if model.adapter else "the base"
        self.run.arrivals.turn_to(f"{purpose}, by {adapter}")

    def _complete(self, requests: Sequence[Request], seed: int, told: Progress) -> list[list[Completion]]:
        """What has arrived already, and what the engine makes of the rest."""
        arrivals = self.run.arrivals
        completions = {k: known for k, request in enumerate(requests) if (known := arrivals.known(request)) is not None}
        left = [k for k in range(len(requests)) if k not in completions]
        if completions:
            told(len(completions))
        if left:
            drawn = self.engine.generate(
                [requests[k] for k in left], seed=seed, progress=told,
                arrived=lambda place, drawn: arrivals.add(requests[left[place]], drawn),
            )  # fmt: skip
            self.session.advance(0, sum(completion.tokens for samples in drawn for completion in samples))
            completions |= zip(left, drawn, strict=True)
        return [completions[k] for k in range(len(requests))]

    def _sampling(self, temperature: float | None) -> Sampling:
        return self.x.sampling if temperature is None else replace(self.x.sampling, temperature=temperature)

    def answers(self, iteration: int, split: str, model: Model) -> list[Rollout]:
        """Every observation of a held-out split, asked zero-shot."""
        with self.run.timed(iteration, "evaluate") as entry:
            return self.examine(iteration, split, model, entry)

    def examine(self, iteration: int, split: str, model: Model, entry: dict[str, float] | None = None) -> list[Rollout]:
        """The same without a journal of its own."""
        observations = self.splits[split]
        prompts = [self.x.task.bare_prompt(observation) for observation in observations]
        asked = self.x.evaluation.requests(observations, prompts, self.x.sampling, self.x.seed)
        self.session.phase(iteration, split, len(asked))
        self._serve(model, f"iteration {iteration}, {split}")
        seed = seed_for(self.x.seed, "evaluate", iteration, split)
        return self._ask(asked, seed, {} if entry is None else entry, reject_truncated=False, progress=True)

    def _attempt(
        self,
        iteration: int,
        wave: Purpose,
        attempt: int,
        draws: Mapping[int, int],
        entry: dict[str, float],
        sampling: Sampling,
        *,
        hint: bool = False,
    ) -> list[Rollout]:
        observations, task = self.splits["train"], self.x.task
        pilot = (wave,) if isinstance(wave, str) else ()
        asked = [
            (position, attempt, Request(
                prompt=task.prompt(observations[position], hint=hint), observation=observations[position],
                sampling=sampling, n=n, hinted=hint,
                seed=seed_for(self.x.seed, *pilot, "request", iteration, observations[position].id, attempt),
            ))
            for position, n in draws.items() if n
        ]  # fmt: skip
        return self._ask(asked, seed_for(self.x.seed, "wave", iteration, wave, attempt), entry, reject_truncated=True)

    def _ask(
        self,
        asked: Sequence[Asked],
        seed: int,
        entry: dict[str, float],
        *,
        reject_truncated: bool,
        progress: bool = False,
    ) -> list[Rollout]:
        if not asked:
            return []
        requests = [request for *_, request in asked]
        told = self.session.advance if progress else partial(self.session.advance, 0, 0)
        completions = self._complete(requests, seed, told)
        cached = sum(drawn[0].cached_tokens for drawn in completions if drawn)
        entry["cached_tokens"] = entry.get("cached_tokens", 0) + cached
        drawn = [
            Drawn(position, attempt, sample, request, completion)
            for (position, attempt, request), samples in zip(asked, completions, strict=True)
            for sample, completion in enumerate(samples)
        ]
        return judge_all(self.x.task, drawn, reject_truncated=reject_truncated)

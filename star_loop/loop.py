"""Self-taught reasoning, one iteration at a time.

    a preparation, where there is one, learns about the observations
    iteration 0 is the base model: evaluated, with empty statistics and the sampler's first belief
    repeat for iteration t = 1, 2, …
        1  collect    draw observations, generate rationales in waves, judge them, try failures again,
                      until the quota of correct ones is filled
        2  select     score, choose and weight the rationales worth learning from
        3  train      LoRA fine-tune, from the base or from the previous model
        4  evaluate   the new model, greedy and zero-shot, on held-out observations
        5  learn      update the statistics and the sampler's belief; commit

Every numbered line leaves files behind; a line whose files exist is not repeated. That is all that resuming is.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import count
from pathlib import Path

import numpy as np

from star_loop.accounting.metrics import collect_metrics, evaluation_metrics, machine_metrics, token_counts
from star_loop.accounting.statistics import Statistics, accepted, concatenate, filling_prefix, first, tally
from star_loop.experiment import Experiment
from star_loop.models import Model
from star_loop.protocols import BootstrapError, Engine, Session
from star_loop.records import Candidate, Columns, Example, Metrics, Outcome, Rollout, Score, Selection, State
from star_loop.run.directory import IterationDirectory, RunDirectory
from star_loop.searches.balance import Setting
from star_loop.seeding import rng, seed_for
from star_loop.stages import load
from star_loop.stages.pilot import Piloting
from star_loop.stages.prepare import Preparing
from star_loop.stages.rollouts import Generation
from star_loop.stages.score import Scoring, key_of
from star_loop.stages.search import Searching

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where the run stands after an iteration: all that the next one needs."""

    iteration: int
    model: Model
    statistics: Statistics
    beliefs: State


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What collecting brought: every rollout, and the outcome of the prefix that counts."""

    rollouts: list[Rollout]
    outcome: Outcome
    quota: int | None
    beliefs: State

    @cached_property
    def counted(self) -> list[Rollout]:
        """The rollouts of that prefix."""
        visited = set(self.outcome.positions.tolist())
        return [rollout for rollout in self.rollouts if rollout.position in visited]


class Loop:
    """One launch of an experiment on its run directory, with a live engine."""

    def __init__(self, x: Experiment, run: RunDirectory, splits: load.Splits, engine: Engine, session: Session) -> None:
        self.x, self.run, self.splits, self.session = x, run, splits, session
        self.generation = Generation(x, run, splits, engine, session)
        self.preparing = Preparing(x, run, splits, self.generation, session)
        self.searching = Searching(x, splits, self.generation)
        self.scoring = Scoring(x, run, splits, self.generation, session)
        self.piloting = Piloting(x, self.generation, self.scoring)
        self.cost = x.generator.cost(x.model)
        self.curve = [metrics.get("validation/accuracy", 0.0) for metrics in run.committed_metrics()]

    def __call__(self) -> Standing:
        """Iterate until the experiment's last iteration is committed."""
        columns = self.preparing()
        standing = last_standing(self.x, self.run, columns) or self.begin(columns)
        while standing.iteration < self.x.iterations and not self.settled():
            standing = self.iterate(standing)
        return standing

    def iterate(self, before: Standing) -> Standing:
        """Iteration t, from the standing after t-1."""
        here = self.run.iteration(before.iteration + 1)
        setting = self.searching(here, before.model)  # 1
        believed = self.piloting(here, before.beliefs, before.model)  # 1
        collected = self.collect(here, replace(before, beliefs=believed), setting)  # 1
        scores = self.scoring(here, "scores", collected.counted, before.model)  # 2
        examples = here.examples(lambda: self.select(here.number, collected, scores, setting))  # 2
        model, trained = self.train(here, before, examples)  # 3
        evaluated = self.evaluate(here, model)  # 4
        figures = trained | evaluated | self.asides(here, before, collected, scores, examples, model)
        outcome = self.scoring.measured(collected.outcome, collected.counted, scores)
        return self.learn(here, before, replace(collected, outcome=outcome), model, figures)  # 5

    def asides(
        self, here: IterationDirectory, before: Standing, collected: Collected, scores: Sequence[Score],
        examples: Sequence[Example], model: Model,
    ) -> Metrics:  # fmt: skip
        """What the optional stages say of themselves: preparation, search, pilots and scores."""
        return {
            **self.preparing.metrics(here.number),
            **self.searching.metrics(here, before.model),
            **self.piloting.metrics(here, before.beliefs, before.model),
            **self.scoring.metrics(here, collected.counted, scores, examples, model),
        }

    def begin(self, columns: Columns) -> Standing:
        """Iteration 0: the base model, measured before anything is learned."""
        here = self.run.iteration(0)
        standing = Standing(
            iteration=0,
            model=Model(base=self.x.model),
            statistics=Statistics.empty(len(self.splits["train"])),
            beliefs=first_beliefs(self.x, columns),
        )
        metrics = load.figures(self.x.task, self.splits) | self.evaluate(here, standing.model)
        metrics |= self.preparing.metrics(0)
        spent = {f"{kind}/cumulative": metrics.get(f"{kind}/prepare", 0.0) for kind in ("flops", "flops_exact")}
        return self.commit(here, standing, metrics | spent)

    # ------------------------------------------------------------------------------------------------- 1 collect

    def collect(self, here: IterationDirectory, before: Standing, setting: Setting | None) -> Collected:
        """Waves in the sampler's order, up to the first prefix of observations that fills the quota."""
        quota, per_observation = self.x.schedule.quota_at(here.number), self.x.schedule.per_observation
        beliefs, facts, outcomes, rollouts = before.beliefs, before.statistics.columns(), [], []
        temperature = setting.temperature if setting else None
        self.session.phase(here.number, "collect", quota or len(self.splits["train"]))
        for wave in count():
            proposal, beliefs = self.x.sampler.propose(
                beliefs, self.x.schedule.wave, rng(self.x.seed, "sampler", here.number)
            )
            if not len(proposal.positions):
                break
            known = {**facts, **beliefs}
            ask = partial(self.generation.wave, here.number, wave, proposal, known, before.model, temperature)
            judged = here.wave(wave, proposal.positions, ask)
            outcomes.append(tally(here.number, proposal.positions, judged))
            rollouts += judged
            beliefs = self.x.sampler.observe(beliefs, outcomes[-1])
            self.session.advance(accepted(outcomes[-1], per_observation) if quota else len(proposal.positions))
            if quota and filling_prefix(concatenate(outcomes), quota, per_observation) is not None:
                break
        if not outcomes:
            raise BootstrapError(f"nothing to train on: {type(self.x.sampler).__name__} proposed no observation at all")
        outcome = concatenate(outcomes)
        if quota and (m := filling_prefix(outcome, quota, per_observation)) is not None:
            outcome = first(outcome, m)
        return Collected(rollouts=rollouts, outcome=outcome, quota=quota, beliefs=beliefs)

    # --------------------------------------------------------------------------------------- 2 select and 3 train

    def select(
        self, iteration: int, collected: Collected, scores: Sequence[Score], setting: Setting | None
    ) -> list[Example]:
        """The rationales of the counted prefix, through the selectors, as zero-shot training pairs."""
        known, threshold = {key_of(score): score for score in scores}, setting.threshold if setting else None
        chosen = [Candidate(rollout=r, score=known.get(key_of(r))) for r in collected.counted]
        beta, beliefs = self.x.schedule.beta(iteration), collected.beliefs
        context = Selection(iteration=iteration, beta=beta, threshold=threshold, beliefs=beliefs)
        for name, selector in self.x.selectors.items():
            chosen = selector.select(chosen, context, rng(self.x.seed, "select", iteration, name))
        if not chosen:
            raise BootstrapError(self.nothing_to_train_on(collected))
        observations, task = self.splits["train"], self.x.task
        return [
            Example(
                position=c.rollout.position, id=c.rollout.id, completion=c.rollout.text, weight=c.weight,
                prompt=task.bare_prompt(observations[c.rollout.position]),
            )
            for c in chosen
        ]  # fmt: skip

    def nothing_to_train_on(self, collected: Collected) -> str:
        """Why there are no examples, and what would change that."""
        within, correct = len(collected.rollouts), sum(r.correct for r in collected.rollouts)
        unparsed = sum(r.answer is None for r in collected.rollouts)
        return (
            f"nothing to train on: {correct} of {within} rollouts of {len(collected.outcome.positions)} observations "
            f"were correct ({unparsed} had no answer), and the selectors {list(self.x.selectors)} kept none. Take "
            "easier observations or a stronger model, more rollouts (allocator.rollouts), second_try=rationalize, or "
            "check task.verifier against the texts in the wave files; then start again with another name="
        )

    def train(self, here: IterationDirectory, before: Standing, examples: Sequence[Example]) -> tuple[Model, Metrics]:
        """A LoRA round; the adapter is published whole or not at all."""
        start = before.model if self.x.start_from == "previous" else Model(base=self.x.model)
        steps = self.x.schedule.training_steps(here.number)

        def round_(into: Path) -> Metrics:
            self.run.arrivals.discard()  # all that was asked is published; what comes is asked of another model
            self.generation.engine.release()
            self.session.phase(here.number, "train", self.x.trainer.total_steps(len(examples), steps))
            with self.run.timed(here.number, "train"):
                return self.x.trainer.train(
                    examples, start, into, steps=steps, progress=self.session.advance,
                    seed=seed_for(self.x.seed, "train", here.number),
                )  # fmt: skip

        adapter, metrics = here.adapter(round_)
        return Model(base=self.x.model, adapter=adapter), {f"train/{key}": value for key, value in metrics.items()}

    # ------------------------------------------------------------------------------------ 4 evaluate and 5 learn

    def evaluate(self, here: IterationDirectory, model: Model) -> Metrics:
        """Validation for decisions, test for the record."""
        figures: Metrics = {}
        for split, name in (("validation", "validation"), ("test", "evaluation")):
            observations = self.splits[split]
            due = split == "validation" or self.x.evaluation.measures_test(here.number, self.x.iterations)
            if len(observations) and due:
                rollouts = here.evaluation(split, lambda: self.generation.answers(here.number, split, model))  # noqa: B023
                figures |= evaluation_metrics(name, rollouts, observations)
                figures[f"flops/{name}"] = self.cost.inference(rollouts)
        return figures

    def learn(
        self, here: IterationDirectory, before: Standing, collected: Collected, model: Model, figures: Metrics
    ) -> Standing:
        """Facts and beliefs move only now, after training has succeeded."""
        seen = {name: value for name, value in figures.items() if not name.startswith("evaluation/")}
        earlier = self.run.iteration(before.iteration).metrics()
        seen |= {f"before/{name}": value for name, value in earlier.items() if name.startswith("validation/")}
        outcome = replace(collected.outcome, metrics=seen)  # the test split is for the record: no sampler sees it
        kept = accepted(outcome, self.x.schedule.per_observation)
        figures = collect_metrics(outcome, collected.rollouts, collected.quota, kept) | figures
        figures |= {f"sampler/{k}": v for k, v in self.x.sampler.metrics(collected.beliefs, outcome).items()}
        figures |= {f"allocator/{k}": v for k, v in self.x.allocator.metrics(outcome).items()}
        figures |= self.spent(here.number, collected.rollouts, figures)
        standing = Standing(
            iteration=here.number,
            model=model,
            statistics=before.statistics.add(outcome),
            beliefs=self.x.sampler.learn(collected.beliefs, outcome),
        )
        return self.commit(here, standing, figures)

    def spent(self, iteration: int, rollouts: Sequence[Rollout], figures: Metrics) -> Metrics:
        """Tokens and FLOPs of this iteration, surplus included, and the running sum since iteration 0."""
        prompt, generated = token_counts(rollouts)
        tokens = {"prompt": prompt, "generated": generated, "trained": int(figures.get("train/tokens", 0))}
        before = self.run.iteration(iteration - 1).metrics()
        flops = self.cost.iteration(rollouts, figures)
        for kind in ("flops", "flops_exact"):
            if f"{kind}/generate" in flops:
                spent = flops[f"{kind}/generate"] + flops[f"{kind}/train"]
                spent += sum(figures.get(f"{kind}/{what}", 0.0) for what in ("prepare", "search", "pilot", "score"))
                flops[f"{kind}/cumulative"] = before.get(f"{kind}/cumulative", 0.0) + spent
        return {f"tokens/{key}": float(value) for key, value in tokens.items()} | flops

    def commit(self, here: IterationDirectory, standing: Standing, figures: Metrics) -> Standing:
        """The iteration's last files; then everybody is told."""
        self.run.arrivals.discard()
        adapter = standing.model.adapter
        metrics = figures | machine_metrics(self.run.timings(here.number), figures, self.cost.peak(figures))
        here.commit(
            adapter=adapter.relative_to(self.run.path).as_posix() if adapter else None,
            metrics=metrics, statistics=standing.statistics, beliefs=standing.beliefs,
            kept=self.run.kept(here.number, metrics, keep=self.x.keep), made_of=self.run.made_of(),
        )  # fmt: skip
        self.run.give_up_adapters(here)
        self.curve.append(metrics.get("validation/accuracy", 0.0))
        self.session.log(here.number, metrics)
        return standing

    def settled(self) -> bool:
        """Whether validation accuracy has not improved for `evaluation.patience` iterations."""
        patience = self.x.evaluation.patience
        return patience is not None and len(self.curve) - 1 - int(np.argmax(self.curve)) >= patience


def last_standing(x: Experiment, run: RunDirectory, columns: Columns) -> Standing | None:
    """Where the last commit left the run; None: nothing is committed yet."""
    if (latest := run.latest()) is None:
        return None
    state = latest.state()
    beliefs, fresh = latest.beliefs(), first_beliefs(x, columns)
    if set(beliefs) != set(fresh):
        logger.warning("the forked run had another sampler: %s starts afresh", type(x.sampler).__name__)
        beliefs = fresh
    return Standing(
        iteration=latest.number,
        model=Model(base=x.model, adapter=run.path / state.adapter if state.adapter else None),
        statistics=latest.statistics(),
        beliefs=beliefs,
    )


def first_beliefs(x: Experiment, columns: Columns) -> State:
    """What the sampler believes before anything was seen."""
    return x.sampler.init(columns, rng(x.seed, "sampler", 0))

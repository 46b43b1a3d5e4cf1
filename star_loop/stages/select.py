"""2 select: choose and weight the rationales worth learning from."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from star_loop.errors import counted
from star_loop.protocols import BootstrapError
from star_loop.records import Candidate, Example, Metrics, Selection
from star_loop.run.directory import IterationDirectory
from star_loop.searches.balance import Setting
from star_loop.seeding import rng
from star_loop.stages import laws
from star_loop.stages.collect import Collected
from star_loop.stages.live import LiveRun
from star_loop.stages.replay import replayed
from star_loop.stages.score import key_of


def select(
    live: LiveRun, iteration: IterationDirectory, collected: Collected, setting: Setting | None
) -> tuple[Sequence[Example], Metrics]:
    """Return the rationales that count, through the selectors, as zero-shot training pairs.

    Returns:
        The examples, and `select/…`: with `schedule.replay`, how many are of earlier iterations, how many are wrong,
        where a selector keeps such, and where there are scores how unequal the weights are.

    Raises:
        BootstrapError: the selectors kept nothing.
    """
    examples = iteration.examples(lambda: _examples(live, iteration.number, collected, setting))
    figures = _inequality(examples) if collected.scores else {}
    if wrong := sum(example.weight < 0 for example in examples):
        figures["select/wrong"] = float(wrong)
    if live.experiment.schedule.replay:
        drawn = {(rollout.position, rollout.text) for rollout in collected.counted}
        old = sum((example.position, example.completion) not in drawn for example in examples)
        figures["select/replayed"] = float(old)
    return examples, figures


def _examples(live: LiveRun, iteration: int, collected: Collected, setting: Setting | None) -> list[Example]:
    experiment, observations = live.experiment, live.splits["train"]
    scores = {key_of(score): score for score in collected.scores}
    chosen = [Candidate(rollout=rollout, score=scores.get(key_of(rollout))) for rollout in collected.counted]
    context = Selection(
        iteration=iteration,
        beta=experiment.schedule.beta(iteration),
        threshold=setting.threshold if setting else None,
        beliefs=collected.beliefs,
    )
    for name, selector in experiment.selectors.items():
        given = selector.select(chosen, context, rng(experiment.seed, "select", iteration, name))
        chosen = laws.kept(selector, given, chosen)
    if not chosen:
        hint = experiment.task.labels == "gold" and experiment.second_try != "rationalize"
        raise BootstrapError(_nothing_to_train_on(live.run.path, collected, list(experiment.selectors), hint=hint))
    examples = [
        Example(
            position=c.rollout.position, id=c.rollout.id, completion=c.rollout.text, weight=c.weight,
            prompt=experiment.task.bare_prompt(observations[c.rollout.position]), ids=c.rollout.ids,
        )
        for c in chosen
    ]  # fmt: skip
    return [*examples, *replayed(live.run, iteration, experiment.schedule.replay, examples)]


def _nothing_to_train_on(run: Path, collected: Collected, selectors: Sequence[str], *, hint: bool) -> str:
    """Say why there are no examples, and what would change that; `hint`: answers could be shown, and are not."""
    rollouts, asked = collected.rollouts, len(collected.outcome.positions)
    correct, unparsed = sum(r.correct for r in rollouts), sum(r.answer is None for r in rollouts)
    cut = sum(r.finish == "length" for r in rollouts)
    draws = "more rollouts (allocator.rollouts)"
    more = f"{draws} or second_try=rationalize" if hint else draws
    advice = [f"easier observations, a stronger model, {more}"]
    if 2 * cut >= len(rollouts):
        advice.insert(0, "a larger generator.max_tokens")
    if 2 * unparsed >= len(rollouts):
        advice.insert(0, "task.exemplars=<worked examples>, task.instruction or another task.verifier")
    return (
        f"nothing to train on: {correct:,} of {counted(len(rollouts), 'rollout')} of {counted(asked, 'observation')} "
        f"were correct ({unparsed:,} had no answer, {cut:,} were cut off), and the selectors {selectors} kept none. "
        f"Take {'; or '.join(advice)}; a lower generator.temperature helps a weak model. python -m star_loop.judge "
        f"{shlex.quote(str(run))} shows how texts are judged. Then start with another name="
    )


def _inequality(examples: Sequence[Example]) -> Metrics:
    """Extremes of the weights, their signs apart, and the effective share of the examples, (Σw)² / (n Σw²): 1 where
    all are equal."""
    w = np.abs([example.weight for example in examples])
    effective = w.sum() ** 2 / (len(w) * (w**2).sum())
    return {
        "select/examples": float(len(w)),
        "select/least_weight": float(w.min()),
        "select/greatest_weight": float(w.max()),
        "select/effective": float(effective),
    }

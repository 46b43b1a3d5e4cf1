"""Figures from rollouts: accuracy with intervals, maj@k, pass@k, yield, tokens. docs/run_directory.md has the names."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from star_loop.records import Decoding, How, Metrics, Observation, Outcome, Rollout


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a proportion (Wilson 1927).

    Example:
        >>> low, high = wilson(50, 100)
        >>> round(low, 3), round(high, 3)
        (0.404, 0.596)
    """
    if n == 0:
        return 0.0, 1.0
    p, zz = successes / n, z * z
    centre, half = p + zz / (2 * n), z * math.sqrt(p * (1 - p) / n + zz / (4 * n * n))
    low, high = (centre - half) / (1 + zz / n), (centre + half) / (1 + zz / n)
    return max(0.0, min(low, p)), min(1.0, max(high, p))  # rounding must not exclude the share itself


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Unbiased estimate of P(at least one of k is correct) from n samples (Chen et al. 2021, arXiv 2107.03374, eq. 1).

    Example:
        >>> pass_at_k(4, 1, 2)
        0.5
    """
    if n - correct < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - correct + 1, n + 1))


def majority_correct(rollouts: Sequence[Rollout], answer: str | None) -> bool:
    """Tell whether the answer that most of an observation's rollouts agree with is correct; None: none was read."""
    return answer is not None and next(r.correct for r in rollouts if r.answer == answer)


def evaluation_metrics(
    name: str, rollouts: Sequence[Rollout], observations: Sequence[Observation], majorities: Mapping[int, str]
) -> Metrics:
    """Accuracy of a split with its interval, by skill and level; maj@k and pass@k where samples were drawn.

    Args:
        name: of the split.
        rollouts: its answers.
        observations: of the split; `position` is the place in it.
        majorities: of each observation with samples, the answer that most of them agree with, if any was read.
    """
    greedy = [r for r in rollouts if r.attempt == Decoding.GREEDY]
    low, high = wilson(sum(r.correct for r in greedy), len(greedy))
    figures = {"accuracy": _share(greedy), "accuracy_low": low, "accuracy_high": high}
    figures |= {"unparsed": _mean([r.answer is None for r in greedy])}
    figures |= {"too_long": _mean([r.how == How.TOO_LONG for r in greedy])}
    cells: dict[str, list[Rollout]] = defaultdict(list)
    for r in greedy:
        observation = observations[r.position]
        if observation.skill is not None:
            cells[observation.skill].append(r)
            if observation.level is not None:
                cells[f"{observation.skill}/level_{observation.level}"].append(r)
    figures |= {cell: _share(cells[cell]) for cell in sorted(cells)}
    figures |= _sampled_metrics([r for r in rollouts if r.attempt == Decoding.SAMPLED], majorities)
    return {f"{name}/{key}": value for key, value in figures.items()}


def _sampled_metrics(rollouts: Sequence[Rollout], majorities: Mapping[int, str]) -> Metrics:
    groups: dict[int, list[Rollout]] = defaultdict(list)
    for r in rollouts:
        groups[r.position].append(r)
    if not groups:
        return {}
    n = len(next(iter(groups.values())))
    ks = sorted({2**i for i in range(n.bit_length()) if 2**i <= n} | {n})
    correct = {position: sum(r.correct for r in group) for position, group in groups.items()}
    return {
        f"maj@{n}": _mean([majority_correct(group, majorities.get(p)) for p, group in groups.items()]),
        **{f"pass@{k}": _mean([pass_at_k(n, c, k) for c in correct.values()]) for k in ks},
    }


def best_on_validation(curve: Mapping[int, Metrics]) -> int | None:
    """Return the iteration with the highest validation accuracy, the first of equals; None: it was measured in none.

    Args:
        curve: metrics by iteration, in order.
    """
    measured = [iteration for iteration, metrics in curve.items() if "validation/accuracy" in metrics]
    return max(measured, key=lambda iteration: curve[iteration]["validation/accuracy"], default=None)


def collect_metrics(outcome: Outcome, rollouts: Sequence[Rollout], quota: int | None, accepted: int) -> Metrics:
    """Yield of an iteration; `surplus` counts the rollouts of observations past the prefix that filled the quota."""
    visited = set(outcome.positions.tolist())
    within = [r for r in rollouts if r.position in visited]
    correct = [r for r in within if r.correct]
    graded = [r for r in correct if r.score is not None]
    return {
        "collect/observations": float(len(outcome.positions)),
        "collect/rollouts": float(len(within)),
        "collect/correct": float(len(correct)),
        "collect/accepted": float(accepted),
        "collect/accuracy": _mean((outcome.first_wins > 0).tolist()),
        "collect/hinted": float(sum(r.hinted for r in correct)),
        "collect/surplus": float(len(rollouts) - len(within)),
        "collect/unparsed": _mean([r.answer is None for r in within]),
        "collect/truncated": _mean([r.finish == "length" and r.how != How.TOO_LONG for r in within]),
        "collect/too_long": _mean([r.how == How.TOO_LONG for r in within]),
        "collect/duplicates": 1 - len({(r.position, r.wording) for r in correct}) / max(len(correct), 1),
        "collect/hint_leak": _mean([r.how == How.HINT_LEAK for r in within if r.hinted]),
        **({"collect/quota": float(quota)} if quota is not None else {}),
        **({"collect/faithful": _mean([r.faithful for r in graded])} if graded else {}),
    }


ZERO_SHOT, WITH_EXAMPLES = "zero-shot", "with worked examples"
BASELINES = {ZERO_SHOT: "evaluation", WITH_EXAMPLES: "evaluation_shots"}
"""How the base model is asked, and what the figures of the test split begin with then."""


def baselines(metrics: Metrics) -> dict[str, float]:
    """Return an iteration's test accuracies by how it was asked; only iteration 0 was asked with worked examples."""
    named = {how: f"{split}/accuracy" for how, split in BASELINES.items()}
    return {how: metrics[name] for how, name in named.items() if name in metrics}


VOTES = 2
"""Rationales of a question that must give the same answer, or it gets no label by majority."""


def label_metrics(rollouts: Sequence[Rollout], right: Sequence[bool]) -> Metrics:
    """Figures of labels by majority vote.

    Args:
        rollouts: those that count, judged by majority.
        right: of each label that has a gold answer, whether it is this answer.
    """
    asked = {r.position for r in rollouts}
    labels = {r.position for r in rollouts if r.correct}
    votes = [r.correct for r in rollouts if r.position in labels and not r.hinted]
    return {
        "collect/labelled": len(labels) / max(len(asked), 1),
        "collect/label_votes": _mean(votes),
        **({"collect/label_agreement": _mean(right)} if right else {}),
    }


VETOED = (How.TOO_LONG, How.TRUNCATED, How.HINT_LEAK)
"""What the loop itself takes for wrong, so that nobody asks a judge about it."""


def reward_metrics(rollouts: Sequence[Rollout]) -> Metrics:
    """Figures of a reward beside the verifier: its mean mark, and how often a mark from 0.5 on agrees with the verdict.

    A mean of no marks is left out.

    Args:
        rollouts: those that count.
    """
    asked = [r for r in rollouts if r.how not in VETOED]
    marked = [(r.score, r.correct) for r in asked if r.score is not None]
    means: dict[str, list[float]] = {
        "reward/mark": [score for score, _ in marked],
        "reward/mark_of_correct": [score for score, correct in marked if correct],
        "reward/agreement": [(score >= 0.5) == correct for score, correct in marked],
    }
    figures = {name: _mean(values) for name, values in means.items() if values}
    return figures | {"reward/unmarked": 1 - len(marked) / max(len(asked), 1)}


def base_accuracy(metrics: Metrics) -> float | None:
    """The better of an iteration's two test accuracies, bare and after worked examples; None: it was not measured.

    Only iteration 0 has both. What is gained is counted from the better one, so the form of the answer is no gain.
    """
    return max(baselines(metrics).values(), default=None)


def token_counts(rollouts: Sequence[Rollout]) -> tuple[int, int]:
    """Count (prompt, generated) tokens; a prompt that several samples share is counted once."""
    return sum(r.prompt_tokens for r in rollouts if r.sample == 0), sum(r.tokens for r in rollouts)


_NOTED = ("cached_tokens", "surplus")
"""What a phase adds to its line of the journal."""
_UTILISED = {"generate": "collect", "train": "train"}
"""What FLOPs are spent on, and the phase in which that happens."""


def machine_metrics(timings: Sequence[Mapping[str, Any]], figures: Metrics) -> Metrics:
    """Seconds by phase and rates: the only figures that may differ between two identical runs.

    Utilisation is of what was computed: tokens whose keys and values were cached are taken off at a token's mean cost.

    Args:
        timings: the journal's lines about the iteration.
        figures: the iteration's other metrics; without `machine/peak_flops` there is no utilisation.
    """
    phases: dict[str, float] = defaultdict(float)
    sound = [entry for entry in timings if _is_sound(entry)]
    for entry in sound:
        phases[entry["phase"]] += entry["seconds"]
    found = {f"seconds/{phase}": seconds for phase, seconds in sorted(phases.items())}
    found |= {"seconds/total": sum(phases.values())}
    for name in _NOTED:
        if name == "cached_tokens" or any(name in entry for entry in sound):
            found[f"machine/{name}"] = float(sum(entry.get(name, 0) for entry in sound))
    if (generated := figures.get("tokens/generated")) and phases.get("collect"):
        found["machine/tokens_per_second"] = generated / phases["collect"]
    if (peak := figures.get("machine/peak_flops")) is not None:
        tokens = figures.get("tokens/prompt", 0.0) + figures.get("tokens/generated", 0.0)
        cached = sum(entry.get("cached_tokens", 0) for entry in sound if entry["phase"] == "collect")
        computed = {"generate": max(1 - cached / max(tokens, 1.0), 0.0), "train": 1.0}
        for what, phase in _UTILISED.items():
            if phases.get(phase):
                flops = figures[f"flops_exact/{what}"] * computed[what]
                found[f"machine/utilisation_{what}"] = flops / phases[phase] / peak
    return found


def _is_sound(entry: Mapping[str, Any]) -> bool:
    """A journal's line that a failing disk has changed costs a time, not the run."""
    figures = [entry.get("seconds"), *(entry.get(name, 0) for name in _NOTED)]
    return isinstance(entry.get("phase"), str) and all(isinstance(f, int | float) and math.isfinite(f) for f in figures)


def _share(rollouts: Sequence[Rollout]) -> float:
    return _mean([r.correct for r in rollouts])


def _mean(values: Sequence[float]) -> float:
    return float(sum(values) / len(values)) if values else 0.0

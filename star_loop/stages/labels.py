"""Labels of one's own making: the answer that most rationales of a question give stands in for its gold answer.

Huang et al. 2022 (arXiv 2210.11610) train on what agrees with the majority; with golds, how often it is right is known.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from star_loop.accounting.metrics import VETOED, VOTES, label_metrics
from star_loop.protocols import Task
from star_loop.records import Metrics, Observation, Rollout
from star_loop.stages.judge import verdicts


def by_majority(
    task: Task, observations: Sequence[Observation], rollouts: Sequence[Rollout], before: Sequence[Rollout] = ()
) -> list[Rollout]:
    """Judge rollouts by the majority of their question's answers instead of by the golds.

    Args:
        task: whose verifier reads and compares.
        observations: of the split; `position` is the place in it.
        rollouts: as they were judged by the golds; those that were cut off have no vote.
        before: rollouts of an earlier round, judged by majority: their label stays.
    """
    labels = {**_majorities(rollouts), **_labels(before)}
    places = [k for k, rollout in enumerate(rollouts) if rollout.how not in VETOED and rollout.position in labels]
    asked = [(labelled(observations, rollouts[k], labels), rollouts[k].text) for k in places]
    judged = dict(zip(places, verdicts(task, asked), strict=True))
    return [
        replace(r, answer=judged[k].answer, correct=judged[k].correct, how=judged[k].how, score=judged[k].score)
        if k in judged
        else replace(r, correct=False, how=r.how if r.how in VETOED else "no majority")
        for k, r in enumerate(rollouts)
    ]


def labelled(observations: Sequence[Observation], rollout: Rollout, labels: Mapping[int, str]) -> Observation:
    """Return the observation with its label in the place of the gold answer."""
    return replace(observations[rollout.position], answer=labels[rollout.position])


def agreement(task: Task, observations: Sequence[Observation], rollouts: Sequence[Rollout]) -> Metrics:
    """Say how many questions have a label, how many of their rationales gave it, and how often it is the gold answer.

    Args:
        task: whose verifier compares a label with the gold answer.
        observations: of the split.
        rollouts: judged by majority.
    """
    first = {r.position: r for r in reversed(rollouts) if r.correct}
    golds = [(observations[p], r.text) for p, r in sorted(first.items()) if observations[p].answer]
    right = [verdict.correct for verdict in verdicts(task, golds)]
    return label_metrics(rollouts, right)


def judge_agreement(task: Task, observations: Sequence[Observation], rollouts: Sequence[Rollout]) -> Metrics:
    """Say how often a verifier that does not rest on the golds agrees with those that there are."""
    asked = [r for r in rollouts if r.how not in VETOED]
    found = [(task.verifier.by_gold(observations[r.position], r.text), r.correct) for r in asked]
    told = [by_gold == correct for by_gold, correct in found if by_gold is not None]
    return {"collect/judge_agreement": sum(told) / len(told)} if told else {}


def _majorities(rollouts: Sequence[Rollout]) -> dict[int, str]:
    """Return the most frequent answer of each question; of equals, the one that came first."""
    answers: dict[int, Counter[str]] = defaultdict(Counter)
    for r in rollouts:
        if r.answer is not None and r.how not in VETOED:
            answers[r.position][r.answer] += 1
    most = {position: votes.most_common(1)[0] for position, votes in answers.items()}
    return {position: answer for position, (answer, votes) in most.items() if votes >= VOTES}


def _labels(judged: Sequence[Rollout]) -> dict[int, str]:
    return {r.position: r.answer for r in reversed(judged) if r.correct and r.answer is not None}

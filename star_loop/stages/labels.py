"""Labels of one's own making: the answer that most rationales of a question agree with stands in for its gold answer.

Huang et al. 2022 (arXiv 2210.11610) train on what agrees with the majority; with golds, how often it is right is known.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from operator import itemgetter

from star_loop.accounting.metrics import VETOED, VOTES, label_metrics
from star_loop.protocols import Task
from star_loop.records import Metrics, Observation, Rollout, Verdict
from star_loop.stages.judge import verdicts

CANDIDATES = 8
"""Spellings of a question's answers that the others are compared with, at most: all pairs of 64 are 4,032 verdicts."""


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
    won = majorities(task, observations, [r for r in rollouts if r.how not in VETOED])
    labels = {**{position: answer for position, (answer, votes) in won.items() if votes >= VOTES}, **_labels(before)}
    places = [k for k, rollout in enumerate(rollouts) if rollout.how not in VETOED and rollout.position in labels]
    asked = [(labelled(observations, rollouts[k], labels), rollouts[k].text) for k in places]
    judged = dict(zip(places, verdicts(task, asked), strict=True))
    return [
        _by_label(r, judged[k], labels[r.position])
        if k in judged
        else replace(r, correct=False, how=r.how if r.how in VETOED else "no majority")
        for k, r in enumerate(rollouts)
    ]


def majorities(
    task: Task, observations: Sequence[Observation], rollouts: Sequence[Rollout]
) -> dict[int, tuple[str, int]]:
    """Return the answer of each question that most of its rollouts agree with, and how many do; of equals, the first.

    A rollout agrees with an answer where the verifier, given it in the gold answer's place, accepts the rollout: so
    `0.5` and `1/2` vote together, and the gold answer has no part in it. Of many spellings the eight most frequent can
    win. Where the verifier judges by something else (`Verifier.takes_labels`), or one spelling alone has more than half
    of the votes, spellings are counted.

    Args:
        task: whose verifier reads and compares.
        observations: of the split; `position` is the place in it.
        rollouts: those that have a vote, if an answer was read.
    """
    said: dict[int, dict[str, list[Rollout]]] = defaultdict(dict)
    for r in rollouts:
        if r.answer is not None:
            said[r.position].setdefault(r.answer, []).append(r)
    votes = {(p, answer): len(same) for p, answers in said.items() for answer, same in answers.items()}
    pairs: list[tuple[int, str, str]] = []
    asked: list[tuple[Observation, str]] = []
    for p, answers in said.items():
        numbers = [len(same) for same in answers.values()]
        if 2 * max(numbers) <= sum(numbers) and task.verifier.choose(observations[p]).takes_labels:
            frequent = sorted(answers, key=lambda answer: -len(answers[answer]))[:CANDIDATES]
            compared = [(one, other) for one, other in product(frequent, answers) if one != other]
            given = {answer: replace(observations[p], answer=answer) for answer in frequent}
            pairs += [(p, one, other) for one, other in compared]
            asked += [(given[one], answers[other][0].text) for one, other in compared]
    for (p, one, other), verdict in zip(pairs, verdicts(task, asked), strict=True):
        votes[p, one] += verdict.correct * len(said[p][other])
    return {
        p: max(((answer, votes[p, answer]) for answer in answers), key=itemgetter(1)) for p, answers in said.items()
    }


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


def _by_label(rollout: Rollout, verdict: Verdict, label: str) -> Rollout:
    """What agrees with a label has it as its answer, so that a later round finds the label again."""
    answer = label if verdict.correct else verdict.answer
    return replace(rollout, answer=answer, correct=verdict.correct, how=verdict.how, score=verdict.score)


def _labels(judged: Sequence[Rollout]) -> dict[int, str]:
    return {r.position: r.answer for r in reversed(judged) if r.correct and r.answer is not None}

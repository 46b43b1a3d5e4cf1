"""Test questions whose answers can be compared: the first measured iteration beside the last."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from star_loop.records import Decoding, Rollout
from star_loop.report.rollouts import observations
from star_loop.run.directory import RunDirectory

MOST = 120
"""Questions on the page."""
CHANGES = ("learned", "forgotten", "still right", "still wrong")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One test question, answered greedily by two models."""

    before: Rollout
    after: Rollout
    observation: Mapping[str, Any]
    """`question`, `answer`, `skill`, `level`; each may be missing."""

    @property
    def change(self) -> str:
        """Return one of `CHANGES`."""
        if self.before.correct == self.after.correct:
            return "still right" if self.after.correct else "still wrong"
        return "learned" if self.after.correct else "forgotten"

    @property
    def skill(self) -> str:
        """Empty where the observation has none."""
        return self.observation.get("skill") or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The questions on the page, and how many there are of each change in all."""

    first: int
    """Iterations that are compared."""
    last: int
    counts: Mapping[str, int]
    chosen: Sequence[Answer]

    @property
    def changes(self) -> list[str]:
        """List the changes of the chosen questions."""
        return [change for change in CHANGES if any(answer.change == change for answer in self.chosen)]

    @property
    def skills(self) -> list[str]:
        """List the skills of the chosen questions."""
        return sorted({answer.skill for answer in self.chosen} - {""})


def answers(run: RunDirectory, base: Iterable[Rollout] = ()) -> Answers | None:
    """Return the first few questions of each skill and change; None: the test split was measured less than twice.

    Args:
        run: whose.
        base: the base model's answers, where they have been read already.

    Raises:
        RunError: a file that cannot be read.
    """
    latest = run.latest()
    directories = [run.iteration(t) for t in range(latest.number + 1)] if latest else []
    measured = [here for here in directories if (here.path / "evaluation.jsonl").exists()]
    if len(measured) < 2:
        return None
    first = () if measured[0].number else base
    before, after = _greedy(first or measured[0].judged("evaluation")), _greedy(measured[-1].judged("evaluation"))
    known = observations(run, [("split", "=", "test")])
    every = [Answer(before=before[k], after=after[k], observation=known.get(k, {})) for k in before if k in after]
    counts = Counter(answer.change for answer in every)
    return Answers(
        first=measured[0].number,
        last=measured[-1].number,
        counts={change: counts[change] for change in CHANGES},
        chosen=_choose(every),
    )


def _greedy(rollouts: Iterable[Rollout]) -> dict[str, Rollout]:
    return {rollout.id: rollout for rollout in rollouts if rollout.attempt == Decoding.GREEDY}


def _choose(every: Sequence[Answer]) -> list[Answer]:
    """Choose as many of each skill and change as fit, in the order of the test split."""
    cells = Counter((answer.skill, answer.change) for answer in every)
    each = max(1, MOST // max(1, len(cells)))
    taken: Counter[tuple[str, str]] = Counter()
    chosen = list[Answer]()
    for answer in every:
        cell = (answer.skill, answer.change)
        taken[cell] += 1
        if taken[cell] <= each and len(chosen) < MOST:
            chosen.append(answer)
    return chosen

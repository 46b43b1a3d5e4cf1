"""Skill-It's learned graph: which skill helps which (arXiv 2307.14430, Algorithms 2 and 3).

The paper trains for H steps on some skills and takes the fall of the validation loss on another as the strength of an
edge. Here the training is a LoRA round from the base on rationales that the base itself got right, and the loss is the
cross-entropy of such rationales of observations that are held out, or the error rate on the validation split. Strengths
are relative falls, as in the paper's dynamics (equation 2).
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from star_loop.config.component import MOST_DRAWS
from star_loop.models import Model
from star_loop.preparations import Bench, Preparation, Prepared, total
from star_loop.records import Columns, Decoding, Example, Observation, Rollout
from star_loop.run.preparation import Arrays
from star_loop.samplers.grouped import label
from star_loop.scorers import Scorer
from star_loop.scorers.student import Student
from star_loop.seeding import rng

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Skills = tuple[int, ...]
"""Codes of those that a round is on."""


class SkillGraph(Preparation):
    """The table `skill_graph` (groups, groups), for `sampler.mixture.graph=learned`; rows help, columns are helped."""

    by: tuple[str, ...] = Field(("skill",), min_length=1)
    """What makes a skill, as in `sampler.by`: `preparation=[clusters,skill_graph]` with `[cluster]` takes clusters."""
    method: Literal["linear", "brute_force"] = "linear"
    """`linear` (Algorithm 3): a round on each skill i, A_ij = fall of L_j. `brute_force` (Algorithm 2): a round on each
    pair as well, A_ij = how much further L_j falls by training on i and j than on j alone; A_jj = fall of L_j by itself
    (the paper sets the diagonal by hand)."""
    loss: Literal["cross_entropy", "error"] = "cross_entropy"
    """`cross_entropy`: the paper's; a model's own right rationales are probable to begin with, so it may hardly fall.
    `error`: the error rate on the validation split, as in `sampler.mixture.loss=validation`; for groups by `skill` and
    `level`, which validation observations have too."""
    questions: int = Field(64, ge=1)
    """Observations of each skill that are asked for something to train on."""
    held_out: int = Field(32, ge=1)
    """With `cross_entropy`, further observations of each skill, on whose right rationales it is measured."""
    rollouts: int = Field(4, ge=1, le=MOST_DRAWS)
    """Draws of each of them."""
    steps: int = Field(50, ge=1)
    """H, optimiser steps of each round."""
    noise: float = Field(1.0, ge=0)
    """Falls of at most so many standard errors are none (ours)."""
    scorer: Scorer = Student()
    """Measures the cross-entropies."""

    @property
    def needs_base(self) -> bool:
        """Tell that its scorer asks the base, where cross-entropies are measured."""
        return self.loss == "cross_entropy" and self.scorer.needs_base

    def prepare(self, columns: Columns, bench: Bench) -> Prepared:
        """Train short rounds, each with files of its own: k of them, or k (k + 1) / 2.

        Raises:
            ValueError: there are no skills, or nothing to measure one by.
        """
        group, names = label(columns, self.by, "preparation.skill_graph.by")
        if all(name.startswith("no_") for name in names):
            raise ValueError("preparation: the task names no skills, so there is no graph of them: give task.skill")
        found = [
            bench.folder.arrays(
                f"rationales/{skill:03d}", partial(self._ask, skill, np.flatnonzero(group == skill), bench)
            )
            for skill in range(len(names))
        ]
        learned, held = ([_rollouts(part[kind]) for part in found] for kind in ("learned", "held"))
        for name, rollouts in zip(names, learned, strict=True):
            if not rollouts:
                logger.warning("the base solves no question of skill %s: in the graph it helps only itself", name)
        of = self._items(names, held, bench)
        after = {
            skills: bench.folder.arrays(_file(skills), partial(self._after, skills, learned, held, bench))
            for skills in self._rounds([skill for skill, rollouts in enumerate(learned) if rollouts])
        }
        losses = {skills: np.asarray(part["losses"], np.float64) for skills, part in after.items()}
        graph = strengths(losses, of, len(names), self.noise)
        if not graph.any():
            logger.warning("no round moved a loss by more than noise: take more preparation.skill_graph.steps")
        edges = np.count_nonzero(graph) - np.count_nonzero(np.diag(graph))
        return Prepared(
            columns={"skill_graph": graph, "graph_names": np.array(names, np.str_)},
            metrics={
                "edges": float(edges),
                "rounds": float(len(after) - 1),
                "rollouts": float(sum(int(part["drawn"]) for part in found)),
            },
            spent=total([*found, *after.values()]),
        )

    def _rounds(self, tried: Sequence[int]) -> list[Skills]:
        """Return the sets of skills that are trained on; (): the base."""
        pairs = list(combinations(tried, 2)) if self.method == "brute_force" else []
        return [(), *((skill,) for skill in tried), *pairs]

    def _ask(self, code: int, inside: Codes, bench: Bench) -> Arrays:
        """Return the right rationales of a skill, to learn from and held out, and what they cost."""
        order = rng(bench.seed, "skill graph", code).permutation(inside)
        away = min(self.held_out, len(order) // 2) if self.loss == "cross_entropy" else 0
        asked = order[: away + self.questions].tolist()
        drawn = bench.ask(f"skill {code}", dict.fromkeys(asked, self.rollouts))
        right = [rollout for rollout in drawn if rollout.correct]
        kept = set(asked[:away])
        sides = {
            "held": [rollout for rollout in right if rollout.position in kept],
            "learned": [rollout for rollout in right if rollout.position not in kept],
        }
        lines = {
            side: np.array([rollout.to_json() for rollout in rollouts], np.str_) for side, rollouts in sides.items()
        }
        return {**lines, "drawn": np.array(len(drawn)), "spent": bench.cost.asking(drawn)}

    def _items(self, names: list[str], held: Sequence[Sequence[Rollout]], bench: Bench) -> Codes:
        """Return the skill of each thing that a loss is measured on."""
        if self.loss == "cross_entropy":
            return np.repeat(np.arange(len(held)), [len(rollouts) for rollouts in held])
        if strange := sorted(set(self.by) - {"skill", "level"}):
            raise ValueError(
                f"preparation.skill_graph.loss=error: validation observations have no {strange[0]}: take cross_entropy"
            )
        found = [_name(observation, self.by) for observation in bench.validation]
        if lacking := [name for name in names if name not in found]:
            raise ValueError(
                f"preparation: no validation observation has skill {lacking[0]!r}: add some of every skill"
            )
        return np.array([names.index(name) if name in names else -1 for name in found], np.int64)

    def _after(
        self, skills: Skills, learned: Sequence[list[Rollout]], held: Sequence[list[Rollout]], bench: Bench
    ) -> Arrays:
        """Return the losses after a round on these skills, each in equal measure, and what that cost."""
        model, spent = Model(base=bench.base), np.zeros(3)
        if skills:
            most = max(len(learned[skill]) for skill in skills)
            rows = [learned[skill][number % len(learned[skill])] for skill in skills for number in range(most)]
            name = f"skill {skills[0]}" if len(skills) == 1 else f"skills {skills[0]} {skills[1]}"
            model, spent = bench.train(name, [_example(rollout, bench) for rollout in rows], self.steps)
        if self.loss == "error":
            answers = sorted(
                (answer for answer in bench.examine(model) if answer.attempt == Decoding.GREEDY),
                key=lambda answer: answer.position,
            )
            return {
                "losses": np.array([not answer.correct for answer in answers], float),
                "spent": spent + bench.cost.asking(answers),
            }
        measured = [rollout for rollouts in held for rollout in rollouts]
        bench.release()
        prompts = [bench.task.bare_prompt(bench.observations[rollout.position]) for rollout in measured]
        scored = self.scorer.score(measured, prompts, model) if measured else []
        loss = {(score.position, score.sample): score.loss for score in scored}
        losses = [loss.get((rollout.position, rollout.sample), np.nan) for rollout in measured]
        return {"losses": np.array(losses, float), "spent": spent + bench.cost.rereading(measured)}


def strengths(losses: Mapping[Skills, Floats], of: Codes, k: int, noise: float) -> Floats:
    """Return a (k, k), from the losses of the same things after a round on each set of skills, () being none.

    Args:
        losses: (things,) for each set that was trained on; NaN: not measured.
        of: (things,) the skill of each.
        k: skills.
        noise: falls of at most so many standard errors, of the paired differences, are none.
    """
    before, graph = losses[()], np.eye(k)
    start = np.array([np.nanmean(before[of == j]) if np.isfinite(before[of == j]).any() else 0.0 for j in range(k)])
    fall = partial(_falls, of=of, k=k, noise=noise)
    for skills in losses:
        if len(skills) == 1:
            graph[skills[0]] = fall(before, losses[skills])
    for i, j in (skills for skills in losses if len(skills) == 2):
        graph[i, j] = fall(losses[j,], losses[i, j])[j]
        graph[j, i] = fall(losses[i,], losses[i, j])[i]
    relative: Floats = np.divide(graph, start, out=np.zeros((k, k)), where=start > 0)
    alone = [j for j in range(k) if (j,) not in losses or (start[j] <= 0 and not (of == j).any())]
    relative[alone, alone] = 1.0
    return relative


def _falls(worse: Floats, better: Floats, *, of: Codes, k: int, noise: float) -> Floats:
    """Mean fall of the loss of each skill, 0 where there is none but noise."""
    found = np.zeros(k)
    for j in range(k):
        fall = (worse - better)[of == j]
        fall = fall[np.isfinite(fall)]
        error = fall.std(ddof=1) / np.sqrt(len(fall)) if len(fall) > 1 else np.inf
        if len(fall) and fall.mean() > 0 and (noise == 0 or fall.mean() > noise * error):
            found[j] = fall.mean()
    return found


def _file(skills: Skills) -> str:
    return "losses/" + ("_".join(f"{skill:03d}" for skill in skills) or "base")


def _rollouts(lines: NDArray[np.generic]) -> list[Rollout]:
    return [Rollout.from_json(line) for line in lines.tolist()]


def _example(rollout: Rollout, bench: Bench) -> Example:
    prompt = bench.task.bare_prompt(bench.observations[rollout.position])
    return Example(position=rollout.position, id=rollout.id, completion=rollout.text, prompt=prompt, ids=rollout.ids)


def _name(observation: Observation, by: Sequence[str]) -> str:
    """Name the observation's group as `samplers.grouped.label` does."""
    level = "no_level" if observation.level is None else f"level_{observation.level}"
    return "/".join((observation.skill or "no_skill") if column == "skill" else level for column in by)

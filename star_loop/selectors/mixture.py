"""A mixture applied to what is trained on, instead of or after what is asked (Skill-It, arXiv 2307.14430)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from star_loop.protocols import Selector
from star_loop.records import Candidate, Selection


class Mass(Selector):
    """Weights after which every group has its mass of the sampler's mixture in the round, whatever its yield was.

    w = mass_g / share_g, where share_g is the group's part of the weights so far; groups of which nothing was kept are
    left out. For `sampler=skill_it` with `sampler.mixture.yield_cap=1`: otherwise the mass is corrected for the yield
    already, when asking.
    """

    idempotent: ClassVar[bool] = False  # up to rounding
    weighs: ClassVar[bool] = True

    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """Select all of them but those of groups without mass.

        Raises:
            ValueError: the sampler has no groups.
        """
        if not {"mass", "group"} <= set(context.beliefs):
            raise ValueError(
                "the selector Mass needs a sampler with a mixture over groups: take sampler=skill_it, space or "
                "stratified, or remove it"
            )
        mass = np.asarray(context.beliefs["mass"], np.float64)
        group = np.asarray(context.beliefs["group"])[[c.rollout.position for c in candidates]]
        weights = np.array([c.weight for c in candidates])
        held = np.bincount(group, weights=weights, minlength=len(mass))
        factor = np.divide(mass * held.sum(), held, out=np.zeros(len(mass)), where=held > 0)
        weights = weights * factor[group]
        return [replace(c, weight=float(w)) for c, w in zip(candidates, weights, strict=True) if w > 0]

"""What samplers, allocators and selectors give, held to the laws of their protocols: a breach ends the launch by name.

A policy of somebody else's is code like any other; what it breaks would be written down and trained on.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from star_loop.config.component import MOST_DRAWS, Component
from star_loop.errors import PolicyError
from star_loop.records import Candidate, Metrics, Positions, Proposal, State


def numbers(policy: Component, what: str, given: Any, length: int | None = None) -> NDArray[np.int64]:
    """Return whole numbers as an array.

    Args:
        policy: who gives them.
        what: which of its methods.
        given: by the policy.
        length: how many there must be; None: any number.

    Raises:
        PolicyError: it is no one-dimensional array of whole numbers, or of another length.
    """
    if not (isinstance(given, np.ndarray) and given.ndim == 1 and (given.dtype.kind in "iu" or not len(given))):
        found = f"an array of {given.dtype}, {given.ndim}-dimensional" if isinstance(given, np.ndarray) else repr(given)
        raise _breach(policy, what, found, "a one-dimensional numpy array of whole numbers is wanted")
    if length is not None and len(given) != length:
        raise _breach(policy, what, f"{len(given):,} numbers", f"{length:,} are wanted")
    return given.astype(np.int64)


def draws(policy: Component, what: str, given: Any, length: int) -> NDArray[np.int64]:
    """Return how often each of so many observations is to be drawn.

    Raises:
        PolicyError: see `numbers`; or one is below 0, or more than any machine draws.
    """
    counts = numbers(policy, what, given, length)
    if len(counts) and not 0 <= counts.min() <= counts.max() <= MOST_DRAWS:
        found = counts.min() if counts.min() < 0 else counts.max()
        raise _breach(policy, what, f"{found:,} draws of an observation", f"0 to {MOST_DRAWS:,} are possible")
    return counts


def proposed(policy: Component, given: Any) -> tuple[Proposal, State]:
    """Return a proposal and the state beside it.

    Raises:
        PolicyError: it is no such pair.
    """
    if not (isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], Proposal)):
        raise _breach(policy, "propose", repr(given), "a pair of a Proposal and the state is wanted")
    return given[0], mapping(policy, "propose", given[1])


def positions(policy: Component, given: Any, asked: NDArray[np.bool_], most: int) -> Positions:
    """Return a proposal's observations, and note that they are asked.

    Args:
        policy: the sampler.
        given: by the sampler.
        asked: of each observation, whether it was proposed in this iteration; is written.
        most: how many were to be proposed.

    Raises:
        PolicyError: see `numbers`; or they are more, unknown, or not the first time in this iteration.
    """
    found = numbers(policy, "propose", given)
    if len(found) > most:
        raise _breach(policy, "propose", f"{len(found):,} observations", f"at most {most:,} were asked for")
    if unknown := [p for p in found.tolist() if not 0 <= p < len(asked)]:
        raise _breach(policy, "propose", f"position {unknown[0]}", f"there are 0 to {len(asked) - 1}")
    distinct, times = np.unique(found, return_counts=True)
    if len(again := [*distinct[times > 1], *found[asked[found]]]):
        raise _breach(policy, "propose", f"position {again[0]} again", "each comes once in an iteration")
    asked[found] = True
    return found


def mapping(policy: Component, what: str, given: Any) -> Mapping[str, Any]:
    """Return named values, such as the state within an iteration, which nobody stores.

    Raises:
        PolicyError: it is no mapping.
    """
    if not isinstance(given, Mapping):
        raise _breach(policy, what, repr(given), "a mapping of names to values is wanted")
    return given


def state(policy: Component, what: str, given: Any) -> State:
    """Return a sampler's belief.

    Raises:
        PolicyError: it is no mapping of names to arrays, or holds objects, which cannot be stored without pickle.
    """
    found = mapping(policy, what, given)
    for name, value in found.items():
        try:
            stored = isinstance(name, str) and not np.asarray(value).dtype.hasobject
        except ValueError:  # lists of different lengths
            stored = False
        if not stored:
            shown = f"{name!r}, {type(value).__name__} {value!r}"
            raise _breach(policy, what, shown, "arrays of numbers, truth values or texts can be stored")
    return found


def kept(policy: Component, given: Any, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return what a selector keeps.

    Raises:
        PolicyError: it is no sub-sequence of the candidates, or a weight is not finite, or that of a right rationale is
            below 0, which would be trained as a wrong one.
    """
    if not isinstance(given, Sequence) or not all(isinstance(one, Candidate) for one in given):
        raise _breach(policy, "select", repr(given), "a list of candidates is wanted")
    left = iter(candidates)
    for one in given:
        if not any(one.rollout is candidate.rollout for candidate in left):
            raise _breach(
                policy, "select", f"{one.rollout.id}, sample {one.rollout.sample}",
                "each of the candidates may be kept once, in their order",
            )  # fmt: skip
        if not math.isfinite(one.weight) or (one.weight < 0 and one.rollout.correct):
            raise _breach(
                policy, "select", f"weight {one.weight} of {one.rollout.id}",
                "weights are finite, and those of right rationales not below 0",
            )  # fmt: skip
    return list(given)


def told(policy: Component, prefix: str, given: Any) -> dict[str, Any]:
    """Return what a policy says of itself, under the name of its kind.

    Raises:
        PolicyError: it is no mapping.
    """
    return {f"{prefix}/{name}": value for name, value in mapping(policy, "metrics", given).items()}


def figures(given: Mapping[str, Any]) -> Metrics:
    """Return an iteration's figures as Python's numbers; those that are some already as they are.

    Raises:
        PolicyError: one is no finite number.
    """
    found = {}
    for name, value in given.items():
        try:
            number = float(value) if isinstance(value, Real | np.bool_) else math.nan
        except OverflowError:  # a whole number that no float can be
            number = math.inf
        if not math.isfinite(number):
            raise PolicyError(
                f"the figure {name} is {str(value)[:40]} ({type(value).__name__}): a finite number is wanted"
            )
        found[name] = value if type(value) in (int, float) else number
    return found


def _breach(policy: Component, what: str, found: str, wanted: str) -> PolicyError:
    kind = type(policy)
    return PolicyError(f"{kind.__module__}.{kind.__qualname__}: {what} gave {found[:80]}: {wanted}")

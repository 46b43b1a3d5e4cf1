"""Within selecting: verified rationales of earlier iterations, where the schedule keeps them."""

from collections.abc import Sequence

from star_loop.records import Example
from star_loop.run.directory import RunDirectory


def replayed(run: RunDirectory, iteration: int, age: int, new: Sequence[Example]) -> list[Example]:
    """The newest earlier examples of every observation that has no new ones, written at most `age` iterations ago.

    Wrong rationales, which some losses use, are neither.

    An iteration's examples hold what was replayed to it; its waves tell what its own policy has written.
    """
    known, found = {example.position for example in new if example.weight > 0}, list[Example]()
    for number in range(iteration - 1, max(iteration - 1 - age, 0), -1):
        earlier = run.iteration(number)
        written = {(rollout.position, rollout.text) for rollout in earlier.rollouts()}
        right = (e for e in earlier.examples(list) if e.weight > 0 and e.position not in known)
        own = [e for e in right if (e.position, e.completion) in written]
        known |= {example.position for example in own}
        found += own
    return found

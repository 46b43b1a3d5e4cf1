"""What is right by a wrong step is not learned from, where steps are graded."""

from dataclasses import replace

from star_loop.records import Candidate, Selection
from star_loop.seeding import rng
from star_loop.selectors.family import Faithful
from tests.test_policies import candidate


def graded(correct: bool, score: float | None) -> Candidate:
    plain = candidate(0, 0, correct, "so it is 4")
    return replace(plain, rollout=replace(plain.rollout, score=score))


def test_only_what_is_right_in_every_step_stays() -> None:
    sound, slipped, wrong, ungraded = graded(True, 1.0), graded(True, 0.5), graded(False, 1.0), graded(True, None)
    pool = [slipped, sound, wrong, ungraded]
    assert Faithful().select(pool, Selection(iteration=1, beta=9), rng(0, "select")) == [sound, ungraded]

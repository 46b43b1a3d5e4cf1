"""RFT's selection against a naive form of the released code, without its eval."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.records import Candidate, Selection
from star_loop.seeding import rng
from star_loop.selectors import rft
from star_loop.selectors.rft import Equations, edit_distance, equations, holds
from tests.test_policies import candidate

CONTEXT = Selection(iteration=1, beta=9)
STEPS = ["3+4=<<3+4=7>>7", "4+3=<<4+3=7>>7", "3 + 4 = <<3 + 4=7>>7, surely", "so <<7*2=14>>14", "wrong <<2+2=5>>5", "."]
texts = st.lists(st.sampled_from(STEPS), max_size=3).map(" ".join)
pools = st.lists(st.tuples(st.integers(0, 2), texts), max_size=12)


def build(pool: list[tuple[int, str]]) -> list[Candidate]:
    return [candidate(position, k, True, text) for k, (position, text) in enumerate(pool)]


def naive_distance(a: str, b: str) -> int:
    """The recursion of Levenshtein (1966), as a table."""
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    table[:, 0], table[0] = range(len(a) + 1), range(len(b) + 1)
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i, j] = min(
                table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i - 1] != b[j - 1])
            )  # fmt: skip
    return int(table[-1, -1])


@given(st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_edit_distances(a: str, b: str) -> None:
    assert edit_distance(a, b) == naive_distance(a, b)


def naive_rft(pool: list[Candidate]) -> set[int]:
    """Samples that survive; one observation at a time, as printed."""
    survivors = set()
    for position in {c.rollout.position for c in pool}:
        kept: list[tuple[str, Candidate]] = []
        for c in (c for c in pool if c.rollout.position == position):
            key = "|".join(equations(c.rollout.text))
            if "2+2=5" in key:
                continue
            same = [k for k, (other, _) in enumerate(kept) if other == key]
            rest = [o.rollout.text for other, o in kept if other != key]
            if not same:
                kept.append((key, c))
            elif sum(naive_distance(c.rollout.text, t) for t in rest) > sum(
                naive_distance(kept[same[0]][1].rollout.text, t) for t in rest
            ):
                kept[same[0]] = (key, c)
        survivors |= {c.rollout.sample for _, c in kept}
    return survivors


@given(pools)
def test_the_farthest_rationale_of_each_list_of_equations_is_kept(pool: list[tuple[int, str]]) -> None:
    items = build(pool)
    kept = Equations().select(items, CONTEXT, rng(0))
    assert {c.rollout.sample for c in kept} == naive_rft(items)
    assert [c.rollout.sample for c in kept] == sorted(c.rollout.sample for c in kept)
    lists = [(c.rollout.position, equations(c.rollout.text)) for c in kept]
    assert len(lists) == len(set(lists))


def test_order_matters_and_spaces_do_not() -> None:
    items = build([(0, STEPS[0]), (0, STEPS[1]), (0, STEPS[2])])
    kept = Equations().select(items, CONTEXT, rng(0))
    # 4+3 is another list than 3+4; of the two with 3+4, the longer is farther from it
    assert [c.rollout.sample for c in kept] == [1, 2]


def test_false_equations_are_dropped_unless_they_are_not_looked_at() -> None:
    items = build([(0, STEPS[4])])
    assert Equations().select(items, CONTEXT, rng(0)) == []
    assert Equations(verify=False).select(items, CONTEXT, rng(0)) == items


@pytest.mark.parametrize(
    "equation, true",
    [
        ("1,200/3=400", True), ("$12.50*2=25", True), (".5*4=2", True), ("50%*8=4", True), ("(1+2)*3=9", True),
        ("2/3=0.667", True), ("2/3=0.66", False), ("1/0=1", False), ("=", False), ("1=1=1", False), ("", False),
        ("__import__('os').system('true')=0", False), ("9**9**9=1", False), ("1e9=1000000000", False),
        ("(" * 500 + "1" + ")" * 500 + "=1", False), ("5:00=5", False),
    ],
)  # fmt: skip
def test_equations_are_read_and_never_run(equation: str, true: bool) -> None:
    assert holds(equation) is true


@given(st.text(max_size=30))
def test_any_text_is_an_equation_or_not(text: str) -> None:
    assert holds(text) in (True, False)


def test_examples() -> None:
    assert doctest.testmod(rft).failed == 0

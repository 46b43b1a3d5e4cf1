"""What is told without an algebra system is what exact arithmetic and Math-Verify say."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from star_loop.verifiers.at_sight import told_at_sight
from star_loop.verifiers.latex import spelt
from star_loop.verifiers.points import same_value
from tests.verifiers.test_laws import ANY_TEXT
from tests.verifiers.test_math import PAIRS

LETTERS = {"x": Fraction(101, 7), "y": Fraction(-57, 11)}
"""Where the oracle looks: at no point of the module's own."""
Tree = tuple[str, Fraction]
"""A polynomial or quotient in LaTeX, and its value there."""


def _joined(pair: tuple[Tree, Tree], sign: str) -> Tree:
    (one, x), (other, y) = pair
    if sign == "+":
        return f"{one}+{other}", x + y
    if sign == "-":
        return f"{one}-({other})", x - y
    if sign == "*":
        return f"({one})({other})", x * y
    return f"\\frac{{{one}}}{{{other}}}", x / (y or Fraction(1))


LEAVES = st.one_of(
    st.integers(0, 99).map(lambda n: (str(n), Fraction(n))), st.sampled_from(sorted(LETTERS.items())).map(tuple)
)
TREES = st.recursive(
    LEAVES,
    lambda tree: st.tuples(st.tuples(tree, tree), st.sampled_from("+-*")).map(lambda t: _joined(*t)),
    max_leaves=8,
)


@given(TREES, TREES)
def test_polynomials_are_equal_where_exact_arithmetic_says_so(one: Tree, other: Tree) -> None:
    told = same_value(spelt(one[0]), spelt(other[0]))
    assert told is (one[1] == other[1])
    assert told_at_sight(one[0], other[0]) is told


@given(TREES, TREES)
def test_other_ways_to_write_a_polynomial_are_equal(one: Tree, other: Tree) -> None:
    assert same_value(f"{one[0]}+{other[0]}", f"{other[0]}+({one[0]})")
    assert same_value(f"({one[0]})({other[0]})", f"({other[0]})\\cdot({one[0]})")
    assert same_value(f"({one[0]})^2", f"({one[0]})({one[0]})")
    assert same_value(f"({one[0]})+1", one[0]) is False


@given(TREES, TREES)
def test_quotients_are_multiplied_out(one: Tree, other: Tree) -> None:
    assume(same_value(other[0], "0") is False)
    assert same_value(f"\\frac{{{one[0]}}}{{{other[0]}}}\\cdot({other[0]})", one[0])


@given(st.integers(1, 999), st.integers(1, 999))
def test_roots_logarithms_and_powers_follow_their_laws(a: int, b: int) -> None:
    assert same_value(f"\\sqrt{{{a}}}\\sqrt{{{b}}}", f"\\sqrt{{{a * b}}}")
    assert same_value(f"\\sqrt[3]{{{a}}}", f"{a}^{{\\frac{{1}}{{3}}}}")
    assert same_value(f"\\ln {a}+\\ln {b}", f"\\ln {a * b}") in ((True,) if a * b > 1 else (True, None))
    assert same_value(f"\\sqrt{{{a}}}", f"\\sqrt{{{a + b}}}") is False
    assert same_value(f"\\frac{{{a}}}{{\\sqrt{{{b}}}}}", f"\\frac{{{a}\\sqrt{{{b}}}}}{{{b}}}")


@pytest.mark.parametrize(
    "one, other, told",
    [("\\sin 2x", "2\\sin x\\cos x", True), ("\\sin^2x+\\cos^2x", "1", True), ("\\sqrt{x^2}", "|x|", True),
     ("\\sqrt{x^2}", "x", False), ("\\log_2 8", "3", True), ("\\binom{5}{2}", "10", True), ("5!", "120", True),
     ("3+4i", "4i+3", True), ("3+4i", "3-4i", False), ("i^2", "-1", None), ("\\frac{1}{i}", "-i", None), ("1/3", "0.333333", None),
     ("\\pi", "3.14", False), ("\\pi", "3.14159265", None), ("10^{-20}", "10^{-21}", False), ("10^{50}", "10^{50}+1", False),
     ("1/2x", "x/2", None), ("x^10", "x^{10}", None), ("f(x)", "xf", None), ("\\frac{dy}{dx}", "\\frac{y}{x}", None),
     ("\\frac{3}{0}", "3", None), ("9^{9^{9^9}}", "1", None), ("n!", "n(n-1)!", None), ("x x_1", "x^2", False)],
)  # fmt: skip
def test_what_can_be_told_of_functions(one: str, other: str, told: bool | None) -> None:
    assert same_value(spelt(one), spelt(other)) is same_value(spelt(other), spelt(one)) is told


@pytest.mark.parametrize(
    "gold, answer, told",
    [("(1,2)", "(1,\\frac{4}{2})", True), ("(1,2)", "(2,1)", False), ("[0,1)", "[0,1]", False), ("1,2", "x=2,x=1", True),
     ("\\{1,2\\}", "2,1,1", True), ("1,2,2", "2,1,1", False), ("\\pm 3", "3,-3", True), ("(-\\infty,2]", "(-\\infty,3]", False),
     ("(0,1)\\cup(2,3)", "(2,3)\\cup(0,1)", True), ("(0,3)", "(0,2)\\cup(1,3)", None), ("x=5", "5", True), ("y=2x", "y=3x", False),
     ("y=2x", "x=2y", None), ("x>5", "5<x", None), ("\\infty", "-\\infty", False), ("\\infty", "5", False),
     ("\\begin{pmatrix}1&x\\end{pmatrix}", "\\begin{bmatrix}1 & \\frac{2x}{2}\\end{bmatrix}", True), ("x\\in\\{1,2\\}", "1,2", True),
     ("\\begin{pmatrix}1&2\\end{pmatrix}", "\\begin{pmatrix}1&3\\end{pmatrix}", False), ("x=1,y=2", "1,2", None)],
)  # fmt: skip
def test_what_can_be_told_of_things_of_several_parts(gold: str, answer: str, told: bool | None) -> None:
    assert told_at_sight(gold, answer) is told


def test_what_is_told_is_what_math_verify_says() -> None:
    from star_loop.verifiers.algebra import compare

    told = [(told_at_sight(spelt(gold), spelt(answer)), gold, answer) for gold, answer in PAIRS]
    wrong = [(gold, answer) for each, gold, answer in told if each is not None and compare(gold, [answer]) is not each]
    assert wrong == []
    assert sum(each is not None for each, _, _ in told) > len(PAIRS) / 2


@given(ANY_TEXT, ANY_TEXT)
def test_telling_is_total(one: str, other: str) -> None:
    assert told_at_sight(spelt(one), spelt(other)) in (True, False, None)
    assert same_value(one, one) in (True, None)

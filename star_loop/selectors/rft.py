"""RFT: distinct ways to calculate (arXiv 2308.01825, and its released collect_rejection_sampling.py)."""

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from star_loop.protocols import Selector
from star_loop.records import Candidate, Selection
from star_loop.verifiers.expression import Unreadable, evaluate

_ANNOTATION = re.compile(r"<<([^<>]*)>>")
_DECIMAL = re.compile(r"(\d*)\.(\d+)")
_PERCENT = re.compile(r"(\d+|\))\s*%")
TOLERANCE = 1e-3
"""By which the two sides of an equation may differ."""


class Equations(Selector):
    """One rationale for each list of equations of an observation, and only where every equation is true.

    Equations are GSM8K's calculator annotations `<<3+4=7>>`, compared as text without spaces and in order, so 3+4 and
    4+3 differ. Of several with the same list, the one farthest from the others is kept: a later one replaces it if its
    edit distances to the rationales of the other lists, as they stand then, have the larger sum. All rationales without
    an equation share the empty list. The released code evaluates the model's text as Python; here exact fractions and
    the four operations are all there is.
    """

    verify: bool = True
    """Drop rationales with a false or unreadable equation."""
    characters: int = Field(2000, ge=1)
    """Characters of each rationale that are compared; edit distances cost their square."""

    def select(self, candidates: Sequence[Candidate], context: Selection, rng: np.random.Generator) -> list[Candidate]:
        """Return the kept ones, in their order."""
        kept: dict[int, dict[tuple[str, ...], Candidate]] = defaultdict(dict)
        for candidate in candidates:
            found = equations(candidate.rollout.text)
            if self.verify and not all(holds(equation) for equation in found):
                continue
            paths = kept[candidate.rollout.position]
            if found not in paths or self._farther(candidate, found, paths):
                paths[found] = candidate
        chosen = {id(candidate) for paths in kept.values() for candidate in paths.values()}
        return [candidate for candidate in candidates if id(candidate) in chosen]

    def _farther(self, newcomer: Candidate, found: tuple[str, ...], paths: dict[tuple[str, ...], Candidate]) -> bool:
        others = [candidate for key, candidate in paths.items() if key != found]
        return self._distance(newcomer, others) > self._distance(paths[found], others)

    def _distance(self, candidate: Candidate, others: Sequence[Candidate]) -> int:
        text = candidate.rollout.text[: self.characters]
        return sum(edit_distance(text, other.rollout.text[: self.characters]) for other in others)


def equations(text: str) -> tuple[str, ...]:
    """Return the annotations of a rationale, without spaces, in order.

    Example:
        >>> equations("It has 3 + 4 = <<3 + 4=7>>7 legs.")
        ('3+4=7',)
    """
    return tuple("".join(found.split()) for found in _ANNOTATION.findall(text))


def holds(equation: str) -> bool:
    """Tell whether an equation can be read and both of its sides are equal to within 0.001.

    Example:
        >>> [holds(e) for e in ("0.5*$1,000=500", "20%*50=10", "1/3=0.333", "3+4=8", "3+4", "x=x")]
        [True, True, True, False, False, False]
    """
    sides = equation.split("=")
    if len(sides) != 2:
        return False
    try:
        left, right = (evaluate(_fractions(side))[0] for side in sides)
    except Unreadable:
        return False
    return abs(left - right) <= TOLERANCE


def edit_distance(a: str, b: str) -> int:
    """Return Levenshtein's distance, computed row by row; insertions within a row are a running minimum.

    Example:
        >>> edit_distance("kitten", "sitting")
        3
    """
    target = np.array([ord(letter) for letter in b], np.int64)
    places = np.arange(len(b) + 1)
    row = places.copy()
    for k, letter in enumerate(a, start=1):
        changed = np.minimum(row[1:] + 1, row[:-1] + (target != ord(letter)))
        row = np.minimum.accumulate(np.concatenate([[k], changed]) - places) + places
    return int(row[-1])


def _fractions(side: str) -> str:
    """Without currency signs and thousands separators; decimals and percentages as quotients."""
    plain = side.replace("$", "").replace(",", "")
    plain = _DECIMAL.sub(lambda m: f"({int(m[1] + m[2])}/1{'0' * len(m[2])})", plain)
    return _PERCENT.sub(r"\1/100", plain)

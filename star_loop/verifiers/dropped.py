"""What Math-Verify drops from mathematics although it counts: primes, transposes, moduli, the sign of a relation."""

import re
from collections import Counter

_MARKS = {
    "prime": re.compile(r"'|\\prime(?![A-Za-z])"),
    "transpose": re.compile(r"\^\{?(?:T|\\top|\\intercal|\*|\\dagger)(?![A-Za-z])\}?"),
    "mod": re.compile(r"\\[pb]?mod(?![A-Za-z])"),
    "about": re.compile(r"\\approx(?![A-Za-z])|\\sim(?![A-Za-z])|≈"),
    "congruent": re.compile(r"\\(?:equiv|cong)(?![A-Za-z])"),
    "question": re.compile(r"\?"),
    "per mille": re.compile("‰"),
    "ratio": re.compile(r"(?<=\d)(?: *:|\\colon) *(?=\d)"),
}
_RELATION = re.compile(r"[<>]|\\(?:[lg]e|[lg]eq|[lg]t|neq?)(?![A-Za-z])")
_NAMED = re.compile(r"\A[^=<>]*(?<![<>!:])=")
_LETTER = re.compile(r"[A-Za-z]")
_CAPITALS = re.compile(r"(?<![A-Za-z\\])[A-Z](?: ?[A-Z])+(?![A-Za-z])")
_DEGREES = re.compile(r"(?P<number>\d+(?:\.\d+)?)\^\{? ?\\circ ?\}?")
_CIRCULAR = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")


def marks(mathematics: str) -> Counter[str]:
    """Count the marks that Math-Verify drops.

    Example:
        >>> marks("f''"), marks("5 \\\\mod 7"), marks("x+1")
        (Counter({'prime': 2}), Counter({'mod': 1}), Counter())
    """
    return Counter({name: found for name, mark in _MARKS.items() if (found := len(mark.findall(mathematics)))})


def same_marks(gold: str, answer: str) -> bool:
    """Tell whether two answers have the same marks, a name before `=` on one side aside; letters alone must be equal.

    Capitals in a row are a name, or a product that may not commute: their order counts.

    Example:
        >>> same_marks("f'(x)=2x", "2x"), same_marks("f'", "f"), same_marks("A", "a"), same_marks("AB", "BA")
        (True, False, False, False)
    """
    if ("=" in gold) != ("=" in answer):
        gold, answer = (_NAMED.sub("", each) for each in (gold, answer))
    letters = all(_LETTER.fullmatch(each) for each in (gold, answer))
    one, other = ([name.replace(" ", "") for name in _CAPITALS.findall(each)] for each in (gold, answer))
    shuffled = sorted(one) != sorted(other) and sorted(map(sorted, one)) == sorted(map(sorted, other))
    return marks(gold) == marks(answer) and not (letters and gold != answer) and not shuffled


def relates(mathematics: str) -> bool:
    """Tell whether an answer holds an inequality.

    Example:
        >>> relates("2<x<3"), relates("2,3")
        (True, False)
    """
    return _RELATION.search(mathematics) is not None


def in_radians(mathematics: str) -> str:
    """Write degrees behind a circular function as a number.

    Example:
        >>> in_radians("\\\\sin 30^\\\\circ"), in_radians("30^\\\\circ")
        ('\\\\sin (\\\\frac{30\\\\pi}{180})', '30^\\\\circ')
    """
    if not _CIRCULAR.search(mathematics):
        return mathematics
    return _DEGREES.sub(r"(\\frac{\g<number>\\pi}{180})", mathematics)

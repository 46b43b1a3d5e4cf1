"""What kind of thing a mathematical answer is, and how two things are compared element by element."""

import re
from collections.abc import Callable, Iterable
from typing import Literal

Kind = Literal["set", "tuple", "interval", "list", "base", "value"]
_INSIDE = re.compile(r"(?:\\\{|[(\[])(?P<inside>.*?)(?:\\\}|[)\]])", re.DOTALL)


def kind(mathematics: str) -> Kind:
    """Tell what brackets and commas make of an answer.

    Example:
        >>> [kind(m) for m in ("\\\\{3,4\\\\}", "(3,4)", "[3,4)", "3,4", "x+1", "(1,2),(3,4)", "(0,1)\\\\cup(2,3)")]
        ['set', 'tuple', 'interval', 'list', 'value', 'list', 'value']
    """
    if len(split(mathematics)) > 1:
        return "list"
    inside = _INSIDE.fullmatch(mathematics)
    if inside is None or not balanced(inside["inside"]):
        return "value"
    if mathematics.startswith("\\{"):
        return "set"
    if mathematics[0] not in "([" or len(split(inside["inside"])) == 1:
        return "value"
    return "tuple" if mathematics[0] == "(" and mathematics[-1] == ")" else "interval"


def elements(mathematics: str) -> list[str]:
    """Return what stands between the commas of a set, tuple, interval or list; of anything else, itself.

    Example:
        >>> elements("\\\\{(1,2),3\\\\}")
        ['(1,2)', '3']
    """
    inside = _INSIDE.fullmatch(mathematics) if kind(mathematics) in ("set", "tuple", "interval") else None
    return split(inside["inside"] if inside else mathematics)


def split(mathematics: str) -> list[str]:
    """Split at the commas and semicolons that no bracket holds."""
    found, depth = [""], 0
    for character in mathematics:
        depth += (character in "([{") - (character in ")]}")
        if character in ",;" and not depth:
            found.append("")
        else:
            found[-1] += character
    return [each.strip() for each in found]


def balanced(mathematics: str) -> bool:
    """Tell whether brackets close as they open."""
    depth = 0
    for character in mathematics:
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return False
    return depth == 0


def same_kind(one: Kind, other: Kind) -> bool:
    """Tell whether things of these kinds can be equal: a list may be a set; of a mere expression it cannot be told."""
    return one == other or "value" in (one, other) or {one, other} == {"set", "list"}


def same_things(gold: str, answer: str, equal: Callable[[str, str], bool | None]) -> bool | None:
    """Compare element by element: tuples and intervals in their order, lists in any, sets each in the other.

    `equal` tells whether two elements are; None from it, and from here: it cannot be told.

    Example:
        >>> [same_things("\\\\{1,2\\\\}", x, str.__eq__) for x in ("2,1", "(1,2)", "1")]
        [True, False, False]
    """
    kinds = kind(gold), kind(answer)
    if "value" in kinds or not same_kind(*kinds):
        return True if gold == answer else equal(gold, answer) if "value" in kinds else False
    one, other = elements(gold), elements(answer)
    if "set" in kinds:
        return _all(
            _any(same_things(a, b, equal) for b in there) for here, there in ((one, other), (other, one)) for a in here
        )
    if len(one) != len(other) or (kinds[0] == "interval" and (gold[0], gold[-1]) != (answer[0], answer[-1])):
        return False
    if kinds[0] != "list":
        return _all(same_things(a, b, equal) for a, b in zip(one, other, strict=True))
    left = list(other)
    for element in one:
        found = [same_things(element, each, equal) for each in left]
        if True not in found:
            return None if None in found else False
        del left[found.index(True)]
    return True


def _all(told: Iterable[bool | None]) -> bool | None:
    unclear = False
    for each in told:
        if each is False:
            return False
        unclear = unclear or each is None
    return None if unclear else True


def _any(told: Iterable[bool | None]) -> bool | None:
    found = _all(None if each is None else not each for each in told)
    return None if found is None else not found

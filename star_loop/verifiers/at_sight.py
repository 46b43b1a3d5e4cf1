"""What can be told of two mathematical answers without an algebra system: most of them are numbers and polynomials."""

import re

from star_loop.verifiers.kinds import kind, same_things, split
from star_loop.verifiers.latex import equal_at_sight
from star_loop.verifiers.points import same_value

_INFINITE = re.compile(r"(?P<sign>[-+]?)\\infty")
_MATRIX = re.compile(
    r"\\begin\{(?:[pb]?matrix|array)\}(?:\{[lcr|]*\})?(?P<cells>.*)\\end\{(?:[pb]?matrix|array)\}", re.DOTALL
)
_ROW = re.compile(r"\\\\(?: *\[[^\[\]]*\])?")
_UNION = re.compile(r" *\\cup *")
_NAMED = re.compile(r"(?:(?P<name>[A-Za-z]) *(?:_\{?\w\}?)? *= *)?(?P<value>[^=<>]+)")
_MEMBER = re.compile(r"[A-Za-z] *\\in *(?P<values>(?:\\\{.*\\\}|[(\[].*[)\]]))", re.DOTALL)
_RELATION = re.compile(r" *(?:[<>=]|\\(?:[lg]eq?|[lg]t|neq?|in|pm)(?![A-Za-z])) *")


def told_at_sight(gold: str, answer: str) -> bool | None:
    """Tell whether two answers in the spelling of `latex.spelt` are equal; None: Math-Verify has to be asked.

    Example:
        >>> unions = "(0,1)\\\\cup(2,3)", "(2,3)\\\\cup(0,1)"
        >>> pairs = ("(1,2)", "(1,\\\\frac{4}{2})"), ("x>5", "x>6"), unions, ("x=5", "5")
        >>> [told_at_sight(*pair) for pair in pairs]
        [True, None, True, True]
    """
    named = _NAMED.fullmatch(gold)
    if named and named["name"] and not _RELATION.search(answer):
        return same_things(named["value"], answer, _told) or None
    return same_things(_spread(gold), _spread(answer), _told)


def _spread(words: str) -> str:
    """Write out a value with one `\\pm` as both values, and values that share a name before `=` without it."""
    if words.count(r"\pm") == 1 and not _RELATION.search(words.replace(r"\pm", "")) and kind(words) == "value":
        before, after = words.split(r"\pm")
        return f"{before}+{after},{before}-{after}"
    if "=" in words and len(parts := split(words)) > 1:
        named = [_NAMED.fullmatch(part) for part in parts]
        names = {part["name"] for part in named if part and part["name"]}
        if len(names) == 1 and all(named) and named[0] and named[0]["name"]:
            return ",".join(part["value"] for part in named if part)
    member = _MEMBER.fullmatch(words)
    return member["values"] if member else words


def _told(gold: str, answer: str) -> bool | None:
    found = equal_at_sight(gold, answer)
    if found is None and ("\\" in gold + answer or "=" in gold + answer or "<" in gold or ">" in gold):
        for compare in (_infinite, _matrices, _unions, _relations):
            if (found := compare(gold, answer)) is not None:
                return found
    return same_value(gold, answer) if found is None else found


def _infinite(gold: str, answer: str) -> bool | None:
    one, other = _INFINITE.fullmatch(gold), _INFINITE.fullmatch(answer)
    if one and other:
        return (one["sign"] == "-") == (other["sign"] == "-")
    finite = same_value("0", answer if one else gold) is not None
    return False if (one or other) and finite else None


def _matrices(gold: str, answer: str) -> bool | None:
    """Cell by cell; of other shapes it is not told."""
    one, other = _MATRIX.fullmatch(gold), _MATRIX.fullmatch(answer)
    if not (one and other):
        return None
    rows = [[row.split("&") for row in _ROW.split(each["cells"].strip()) if row.strip()] for each in (one, other)]
    if [len(row) for row in rows[0]] != [len(row) for row in rows[1]]:
        return None
    cells = [[cell.strip() for row in each for cell in row] for each in rows]
    found = [told_at_sight(a, b) for a, b in zip(*cells, strict=True)]
    return False if False in found else None if None in found else True


def _unions(gold: str, answer: str) -> bool | None:
    """Equal where each part of one is a part of the other."""
    one, other = _UNION.split(gold), _UNION.split(answer)
    if len(one) == 1 or len(one) != len(other):
        return None
    equal = all(any(told_at_sight(a, b) for b in other) for a in one) and all(
        any(told_at_sight(a, b) for a in one) for b in other
    )
    return True if equal else None


def _relations(gold: str, answer: str) -> bool | None:
    """Equal where all sides are, with the same signs between them; different values of one name are different."""
    one, other = _RELATION.split(gold), _RELATION.split(answer)
    signs = [[sign.strip() for sign in _RELATION.findall(each)] for each in (gold, answer)]
    if signs[0] != signs[1] or not signs[0]:
        return None
    told = [told_at_sight(a, b) for a, b in zip(one, other, strict=True)]
    apart = signs[0] == ["="] and one[0] == other[0] and one[0].isalpha() and len(one[0]) == 1
    return True if all(told) else False if apart and told[1] is False and one[0] not in one[1] + other[1] else None

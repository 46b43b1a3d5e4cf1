"""A mathematical answer taken apart: its mathematics, the words in it, and whether it can equal another one at all."""

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from star_loop.verifiers.dropped import in_radians, relates
from star_loop.verifiers.kinds import Kind, balanced, kind, same_kind, split
from star_loop.verifiers.latex import plain, spelt
from star_loop.verifiers.sentences import listed
from star_loop.verifiers.units import is_known, names, same_unit

_POWER = r"(?:\^\{?[23]\}?)?"
_TEXT = re.compile(
    r"\\(?:text|textrm|textbf|textit|mathrm|mbox|operatorname|rm)\*? *\{(?P<words>[^{}]*)\}" rf"(?P<power>{_POWER})"
)
_QUOTIENT_OF_UNITS = re.compile(r"\\frac\{\\(?:text|mathrm)\{([^{}]*)\}\}\{\\(?:text|mathrm)\{([^{}]*)\}\}")
_FUNCTIONS = listed(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp sqrt max min inf sup gcd lcm mod det "
    "dim ker deg arg cis re im sgn pi e i d tr rank lim"
)
"""Names in letters that are mathematics."""
_CONSTANTS = {"i": " i ", "e": " e ", "pi": r" \pi "}
_BARE_FUNCTION = re.compile(
    r".*\S *\\(?:text|mathrm|operatorname)\*? *\{ *(?!max|min|[a-zA-Z] *\})[a-z]+ *\} *", re.DOTALL
)
"""A function of nothing: `5\\text{ log}`."""
_TRAILING = re.compile(
    r"(?P<before>.*[\d)}\]%!]|.*\\(?:pi|circ|infty)|)(?P<space> *)"
    rf"(?P<words>(?:(?<![A-Za-z\\])[A-Za-z]{{2,}}[.]?{_POWER}[ /-]?)+)",
    re.DOTALL,
)
_DEGREE = re.compile(r"\^\{? ?\\circ ?\}?")
_PERCENT = re.compile(r" ?\\?% *\Z")
_PERCENTS = re.compile(r"(?<![\w.}])(?P<sign>-?)(?P<number>\d+(?:\.\d+)?) ?\\?%")
_PERCENT_WORD = re.compile(r"\bper ?cent\b|\bpct\b\.?", re.IGNORECASE)
_LETTERS = re.compile(r"(?<![A-Za-z\\])(?:[A-Za-z]{3,}|or|is|no|to|in|of|by|we|it)(?![A-Za-z])", re.IGNORECASE)
_FIGURE = re.compile(
    r"\\(?:angle|triangle|overline|square|widehat|vec) *\{?[A-Z ]{2,8}\}?|(?<![A-Za-z\\])[A-Z]{3,4}(?= *=)"
)
"""The name of a figure by its corners."""
_ABOUT = ("~", "\\approx", "\\sim", "\\neq", "\\ne ")
"""Before a number, they make it none."""
_COORDINATE = re.compile(r"(?P<name>[a-z]) ?= ?(?P<value>[^=<>]+)")
_OPEN_END = re.compile(r"(?:\\[lc]?dots|\.\.\.) *\Z")
_AND = re.compile(r"[\s,;]*\b(?:and|or)\Z|\A(?:and|or)\b[\s,;]*|[\s:=,;]+\Z")
"""Between a value's words and the next value."""
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[a-z]+\*?\}")
_BASES = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "twelve": "12", "sixteen": "16", "binary": "2", "octal": "8", "hexadecimal": "16",
}  # fmt: skip
_BASE = re.compile(
    r"(?P<digits>[0-9][0-9A-Fa-f]*)_\{?(?:\\text\{)?[ (]?" rf"(?P<base>[0-9]+|{'|'.join(_BASES)})" r"[ )]?\}?\}?"
)
_ASKED_BASE = re.compile(r"\bbase[- ]\$?(\w+)|\b(binary|octal|hexadecimal)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parts:
    """An answer taken apart."""

    mathematics: str
    """Without words and percent signs, in one spelling."""
    words: str
    """Words in it, such as a unit; or all of it."""
    percent: bool
    kind: Kind


@lru_cache(maxsize=1 << 14)
def parts(words: str) -> Parts | None:
    """Take an answer apart; None: there are words where no words can be, so it is no mathematics.

    Example:
        >>> parts("12\\\\text{ cm}^2").words, parts("5 million").words, parts("(1,2)").kind, parts("so 5 it is")
        ('cm^2', 'million', 'tuple', None)
    """
    mathematics, said = spelt(words), list[str]()
    if _BASE.fullmatch(mathematics):
        return Parts(mathematics, "", False, "base")
    mathematics = in_radians(mathematics)
    if degree := _DEGREE.search(mathematics):
        said.append("°")
        mathematics = mathematics[: degree.start()] + mathematics[degree.end() :]

    def taken(text: re.Match[str]) -> str:
        inside = text["words"].strip()
        if inside in _CONSTANTS:
            return _CONSTANTS[inside]
        if inside.casefold() in _FUNCTIONS or not inside:
            return text[0]
        said.append(inside + (text["power"] or ""))
        return " "

    mathematics = _QUOTIENT_OF_UNITS.sub(r"\\text{\1/\2}", mathematics)
    if paired := _paired(mathematics):
        mathematics, told_apart = paired
        said.extend(told_apart)
    mathematics = _TEXT.sub(taken, mathematics).strip(" ,;")
    trailing = _TRAILING.fullmatch(mathematics)
    glued = trailing is not None and trailing["before"] != "" and trailing["space"] == ""
    if trailing and _are_words(trailing["words"], glued=glued):
        mathematics = trailing["before"].strip()
        said.append(trailing["words"].strip())
    if _is_no_mathematics(mathematics):
        return None
    mathematics = (
        _PERCENTS.sub(_share, mathematics) if len(split(mathematics)) > 1 or mathematics[:1] == "(" else mathematics
    )
    percent = _PERCENT.search(mathematics)
    said = [_PERCENT_WORD.sub("percent", each) for each in said]
    told = names(" ".join(said))
    if "percent" in told:
        said = [_PERCENT_WORD.sub("", each) for each in said]
    mathematics = (_PERCENT.sub("", mathematics) if percent else mathematics).strip()
    mathematics = _as_point(plain(mathematics) or mathematics)
    return Parts(mathematics, " ".join(" ".join(said).split()), bool(percent) or "percent" in told, kind(mathematics))


def _is_no_mathematics(mathematics: str) -> bool:
    prose = _LETTERS.search(_without_functions(_FIGURE.sub("", _ENVIRONMENT.sub("", mathematics))))
    ends = _OPEN_END.search(mathematics) or _BARE_FUNCTION.fullmatch(mathematics)
    return bool(prose or ends) or mathematics.startswith(_ABOUT)


def _share(percentage: re.Match[str]) -> str:
    """Write one percentage of several as the number it is."""
    return percentage["sign"] + (plain(f"{Decimal(percentage['number']).scaleb(-2):f}") or "")


def _paired(mathematics: str) -> tuple[str, list[str]] | None:
    """Read values with different words, `2\\text{ ft }3\\text{ in}`, as a tuple in the words' order, and the words.

    None: it is something else.
    """
    texts = [list(_TEXT.finditer(each)) for each in split(mathematics)]
    if len(texts) > 1:
        if any(len(found) != 1 for found in texts):
            return None
        values = [_TEXT.sub(" ", each) for each in split(mathematics)]
    else:
        values = _TEXT.sub("\0", mathematics).split("\0")
        values = values[:-1] if not values[-1].strip() else values[1:] if not values[0].strip() else []
    words = [_AND.sub("", found["words"].strip()) + (found["power"] or "") for each in texts for found in each]
    values = [value.strip(" ,;:=&") for value in values]
    told = [tuple(names(word)) for word in words]
    if len(values) != len(words) or len(set(told)) < 2 or () in told or not {*words}.isdisjoint(_FUNCTIONS):
        return None
    if not all(value and balanced(value) and "\\begin" not in value for value in values):
        return None
    order = sorted(range(len(words)), key=lambda k: (told[k], k))
    return f"({','.join(values[k] for k in order)})", [words[k] for k in order]


def _as_point(mathematics: str) -> str:
    """Coordinates by name, `x=2,y=-1`, as a tuple; anything else as it is."""
    found = [_COORDINATE.fullmatch(each) for each in split(mathematics)]
    letters = [each["name"] for each in found if each]
    if len(letters) < max(2, len(found)) or letters != sorted(set(letters)):
        return mathematics
    return f"({','.join(each['value'] for each in found if each)})"


def _are_words(words: str, *, glued: bool) -> bool:
    """Tell whether trailing letters are words, not functions or a product; right behind a number only units are."""
    found = re.findall(r"[A-Za-z]+", words.casefold())
    short = glued or max(map(len, found)) < 3
    return not any(word in _FUNCTIONS for word in found) and (not short or all(is_known(word) for word in found))


def _without_functions(mathematics: str) -> str:
    return re.sub(
        r"[A-Za-z]+", lambda name: " " if name[0] in _FUNCTIONS else name[0], re.sub(r"\\[A-Za-z]+", " ", mathematics)
    )


def comparable(gold: Parts, answer: Parts, question: str) -> bool:
    """Tell whether two answers can be equal: one kind of thing, with the same words or a unit that one lacks."""
    if gold.percent == answer.percent and not same_unit(gold.words, answer.words, question):
        return False
    if gold.percent != answer.percent and (names(gold.words) != names(answer.words)):
        return False
    if "list" in (gold.kind, answer.kind) and relates(gold.mathematics) != relates(answer.mathematics):
        return False
    if "list" in (gold.kind, answer.kind) and (plain(gold.mathematics) or plain(answer.mathematics)):
        return False
    return same_kind(gold.kind, answer.kind)


def same_base(gold: str, answer: str, question: str) -> bool:
    """Tell whether two numbers of which one at least has a base are the same digits in the same base.

    A base that one of them lacks is the one that the question asks for, or ten.

    Example:
        >>> [same_base("13_5", a, "In base 5?") for a in ("13_{5}", "13_7", "13", "8")]
        [True, False, True, False]
    """
    asked = next((one or other for one, other in _ASKED_BASE.findall(question)), "10").casefold()
    default = _BASES.get(asked, asked)
    one, other = (_digits(number, default) for number in (gold, answer))
    return one is not None and one == other


def _digits(number: str, default: str) -> tuple[str, str] | None:
    match = _BASE.fullmatch(number)
    if match is None:
        found = plain(number)
        return None if found is None else (found, default)
    return match["digits"].casefold().lstrip("0") or "0", _BASES.get(match["base"], match["base"])

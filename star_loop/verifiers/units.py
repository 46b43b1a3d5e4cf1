"""Words behind a number: a unit, which may be left out, or words that change the value, which count."""

import re
from collections.abc import Iterable
from functools import lru_cache

from star_loop.verifiers.numbers import currencies, in_digits, plain_number
from star_loop.verifiers.sentences import listed

_SPELLINGS = {
    "second": "s sec", "minute": "min mins", "hour": "h hr hrs", "day": "", "week": "wk", "month": "mo",
    "year": "yr yrs",
    "dollar": "$ usd cad aud buck", "cent": "¢", "percent": "% pct percentage",
    "millimeter": "mm millimetre", "centimeter": "cm centimetre", "meter": "m metre", "kilometer": "km kilometre",
    "inch": "in inches", "foot": "ft feet", "yard": "yd yds", "mile": "mi",
    "milligram": "mg milligramme", "gram": "g gramme", "kilogram": "kg kilo kilogramme", "ounce": "oz",
    "pound": "lb lbs gbp £",
    "milliliter": "ml millilitre", "liter": "l litre", "degree": "° deg", "square": "sq", "cubic": "cu", "mph": "",
    "thousand": "k", "million": "mn mio", "billion": "bn", "am": "a.m", "pm": "p.m",
    "rupee": "rs inr ₹", "euro": "eur €", "yen": "jpy ¥", "ruble": "rub ₽", "franc": "chf",
    "newton": "n", "joule": "j", "watt": "w", "volt": "v", "ampere": "amp", "hertz": "hz", "pascal": "pa", "kelvin": "",
    "ohm": "ω", "kiloohm": "kω", "megaohm": "mω", "micrometer": "μm micron",
    "kilojoule": "kj", "kilowatt": "kw", "radian": "rad",
    "nanometer": "nm nanometre", "microgram": "μg mcg", "microsecond": "μs", "millisecond": "ms", "mole": "mol",
}  # fmt: skip
_NAMES = {short: name for name, shorts in _SPELLINGS.items() for short in shorts.split()}
_CURRENCIES = listed("dollar cent euro pound rupee yen won ruble franc real")
_FAMILIES = (
    listed("second minute hour day week month year decade century"),
    _CURRENCIES,
    listed("nanometer micrometer millimeter centimeter meter kilometer inch foot yard mile"),
    listed("microgram milligram gram kilogram ton ounce pound"),
    listed("newton joule kilojoule watt kilowatt volt ampere hertz pascal kelvin ohm kiloohm mole"),
    listed("milliliter liter gallon quart pint cup"),
)
"""Units of which one cannot stand for another."""
_POWERS = {"square": "2", "cubic": "3"}
_RAISED = str.maketrans({"²": "^2", "³": "^3"})
_PREFIXES = listed("kilo mega giga milli micro nano")
"""They name a unit only beside one, or where the gold answer or the question has it in full."""
_CHANGING = listed(
    "ten hundred thousand lakh million crore billion trillion dozen gross score half halve third quarter "
    "fourth fifth sixth seventh eighth ninth tenth eleventh twelfth fifteenth sixteenth twentieth hundredth thousandth "
    "millionth pair percent basis am pm noon midnight bc ad north south east west mod modulo base remainder"
)
"""Words that change the value, unless it is what the question asks for: "how many thousand", "in thousands"."""
_SPEAKING = listed(
    "too below above under over large small big high low negative positive zero valid works doesn isn don wouldn "
    "couldn not no never nor neither none or and but if unless except wrong incorrect false untrue impossible invalid "
    "unknown correct is are was were be been would might could may can cannot should maybe perhaps probably possibly "
    "times plus minus than least less fewer short most about which that what who whether "
    "because since although though i we you he she it they "
    "squared cubed factorial infinity"
)
"""Words that say something about the number: no unit has them."""
_CALENDAR = listed("month year decade century")
"""Units that the question must name, unless the gold answer has them and the other has none."""
_PLURALS = listed("people men women children fish sheep deer mice geese teeth oxen cacti dice")
_LETTERS = listed("m g h s l n j w v c f ω")
"""Single letters that are units; others (`42x`, `3i`) are mathematics."""
_LETTERS_LARGE = {"K": "thousand", "M": "million", "B": "billion"}
_LARGE = re.compile(r"(?<![A-Za-z])[KMB](?![A-Za-z])")
_NEWTON_METERS = re.compile(r"(?<![A-Za-z])([kM]?N)m(?![A-Za-z])")
_QUANTITY = re.compile(
    r"(?P<number>[-+]? ?[$€£¥₹]?[0-9][0-9., ]*%?|[-+]?\.[0-9]+) ?(?P<words>[^\W\d_°].*|°.*)", re.DOTALL
)
_SECOND = re.compile(r"(?<![^\W\d_])(?<![\^{])[0-9]")
"""A digit that is no power: of `3 inches` behind `5 feet`."""
_ASKED = re.compile(
    r"\b(?:how (?:many|much)|what|which|in|as an?|(?:what|which) (?:is|was) the|the(?= perc?)) +"
    r"(?:(?:more|full|whole|other) +)?([^\W\d_]+|%)"
)
"""What a question asks for."""
_WORD = re.compile(r"[^\W\d_]+(?:\.[^\W\d_]+)*|[°$€£¥₹%¢]|(?<=\^)[23]")
_UNIT = re.compile(r"[^\W\d_°](?:[^\W\d_]|[ .'/°·⋅-]|\^?[23])*|° ?[a-z]?|%")
_MOST = 6
"""Words of a unit."""


@lru_cache(maxsize=1 << 12)
def quantity(answer: str) -> tuple[str, str] | None:
    """Split an answer into its number and the words behind it; None: it is no number with words behind it.

    Example:
        >>> quantity("1,200 km per hour")
        ('1200', 'km per hour')
    """
    answer = with_digits(answer.translate(_RAISED))
    match = _QUANTITY.fullmatch(answer)
    if match is None:
        number, currency = plain_number(answer), sorted(currencies(answer))
        if number and number.endswith("%"):
            return number[:-1], "%"
        return (number, currency[0]) if number and currency else None
    number = plain_number(match["number"].rstrip(" ,."))
    return (number, match["words"]) if number is not None and not _SECOND.search(match["words"]) else None


def with_digits(answer: str) -> str:
    """Write the number that some words begin with in digits.

    Example:
        >>> with_digits("five apples"), with_digits("apples")
        ('5 apples', 'apples')
    """
    words = answer.split(" ", _MOST) if answer[:1].isalpha() else []
    for k in range(len(words), 0, -1):
        if (number := in_digits(first := " ".join(words[:k]))) != first:
            return " ".join([number, *words[k:]])
    return answer


def same_quantity(gold: str, answer: str, question: str) -> bool:
    """Tell whether two answers are the same number, of which one or both have the same unit behind it.

    Example:
        >>> [same_quantity("5", answer, "?") for answer in ("5 clips", "5 cm", "5 million", "5 is wrong", "6 clips")]
        [True, True, False, False, False]
    """
    one, other = (quantity(each) or (plain_number(each), "") for each in (gold, answer))
    return one[0] is not None and one[0] == other[0] and same_unit(one[1], other[1], question)


def same_currency(gold: str, answer: str, question: str) -> bool:
    """Tell whether an answer is in the currency of the gold one, or of the question where that has none; or in none.

    Example:
        >>> asked = "How many dollars is it?"
        >>> [same_currency("5", "€5", question) for question in ("?", asked)], same_currency("$5", "5", asked)
        ([True, False], True)
    """
    found = currencies(answer)
    if not found:
        return True
    wanted = currencies(gold) or currencies(question) | {*names(question)} & _CURRENCIES
    return not wanted or bool(found & wanted) or ("cent" in wanted and bool(found & {"dollar", "euro"}))


def same_unit(gold: str, answer: str, question: str) -> bool:
    """Tell whether the words behind two equal numbers leave them equal: the same, or a unit that one of them lacks.

    Months and years may be missing where the gold answer has them: nobody asks in others.
    """
    one, other = names(gold), names(answer)
    if one == other or (one and other):
        return one == other
    asked = set(names(question))
    units = names(gold or answer)
    return _is_unit(gold or answer, asked) and _asked_in(units, question) and not (_CALENDAR & {*other}) - asked


@lru_cache(maxsize=1 << 12)
def names(words: str) -> tuple[str, ...]:
    """Give the words of a unit their long names, in the singular.

    Example:
        >>> names("cm^{2}"), names("square centimetres")
        (('centimeter', '2'), ('centimeter', '2'))
    """
    words = _NEWTON_METERS.sub(r"\1 m", words)
    words = _LARGE.sub(lambda letter: f" {_LETTERS_LARGE[letter[0]]} ", words.translate(_RAISED))
    found = [_name(word) for word in _WORD.findall(words.casefold().replace("{", "").replace("}", ""))]
    if len(found) == 2 and found[0] in _POWERS:
        found = [found[1], _POWERS[found[0]]]
    return tuple(found)


def is_known(word: str) -> bool:
    """Tell whether a word is in the list of units and of words that change a value."""
    return _name(word) in _SPELLINGS or _name(word) in _CHANGING


def speaks(word: str) -> bool:
    """Tell whether a word says something about a value that no name and no unit says: "not", "than", "maybe"."""
    return bool({word, word.removesuffix("s")} & _SPEAKING)


def changes_value(word: str) -> bool:
    """Tell whether a word behind a number makes another number of it, such as "million"."""
    return _name(word.casefold()) in _CHANGING


def _name(word: str) -> str:
    for form in (word, word.removesuffix("."), word.removesuffix("es"), word.removesuffix("s")):
        if form in _NAMES or form in _SPELLINGS or form in _CHANGING:
            return _NAMES.get(form, form)
    return word.removesuffix("s") if len(word) > 3 else word


def _is_unit(words: str, asked: set[str]) -> bool:
    """Tell whether these words can be left out: a unit, or plural things."""
    units, written = names(words), _WORD.findall(words.casefold())
    if not units or len(units) > _MOST or not _UNIT.fullmatch(words.casefold().replace("{", "").replace("}", "")):
        return False
    if any(map(speaks, written)):
        return False
    if {*written} & _PREFIXES and not asked & {*units}:
        return False
    if len(written[0]) == 1 and written[0].isalpha() and written[0] not in _LETTERS:
        return False
    return any(map(_is_thing, written)) or bool(asked & {*units})


def _is_thing(word: str) -> bool:
    return is_known(word) or word in _PLURALS or (len(word) > 3 and word.endswith("s"))


def _asked_in(units: Iterable[str], question: str) -> bool:
    """Tell whether the question asks for the ones that change the value, and for no rival of the others."""
    question = question.casefold().replace("per cent", "percent")
    asked, named = set(names(" ".join(_ASKED.findall(question)))), set(names(question))
    for unit in units:
        if unit in _CHANGING and unit not in asked:
            return False
        rivals = next((family for family in _FAMILIES if unit in family), frozenset())
        if rivals & named and unit not in (rivals & asked or named):
            return False
    return True

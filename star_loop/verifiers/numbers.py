"""A number in its one spelling, compared as it is written: no rounding, and no limit to its length."""

import re
import unicodedata
from fractions import Fraction
from functools import lru_cache

_SIGNS = {
    "dollar": r"(?:US|CA|AU|NZ|HK|S|C|A)? ?\\?\$|USD|CAD|AUD|dollars?(?= ?\d)", "real": r"R ?\\?\$|BRL",
    "euro": r"\\?€|\\euro(?![a-z])|EUR", "pound": r"\\?£|\\pounds?(?![a-z])|GBP",
    "yen": r"\\?¥|\\yen(?![a-z])|JPY|CNY|RMB", "rupee": r"\\?₹|INR|Rs\.?(?= ?\d)", "won": r"\\?₩|KRW",
    "ruble": r"\\?₽|RUB", "franc": r"CHF",
}  # fmt: skip
_CURRENCIES = {name: re.compile(rf"(?<![A-Za-z\\])(?:{sign})(?![A-Za-z])", re.I) for name, sign in _SIGNS.items()}
_CURRENCY = rf"(?i:{'|'.join(_SIGNS.values())})"
_DIGITS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}|[0-9]{1,3}(?:[ '][0-9]{3})+|[0-9]+")
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?) ?(?P<currency>{_CURRENCY} ?)?(?P<inner>[-+]?) ?"
    rf"(?P<whole>{_DIGITS.pattern})?(?:\.(?P<fraction>[0-9]*))?(?P<behind> ?(?:%|{_CURRENCY}))?"
)
_SPACES = re.compile(r"\\[,;:! ]|(?<=[0-9])~|(?<=[0-9])\{,\}(?=[0-9])")
_PERCENT = re.compile(r" ?(?:\\%|%|\bper ?cent\b\.?)", re.IGNORECASE)
_WORDS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17,
    "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
    "eighty": 80, "ninety": 90,
}  # fmt: skip
_LARGE = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_IN_WORDS = re.compile(
    rf"(?:(?P<sign>minus|negative) )?(?P<words>(?:an? (?={'|'.join(_LARGE)}))?"
    rf"(?:(?:{'|'.join((*_WORDS, *_LARGE))})(?:[ -](?:and )?(?=[a-z])|\Z))+)"
)
_MINUS = re.compile(r"(?:minus|negative) (?=[0-9.$])", re.IGNORECASE)
_QUOTIENT = re.compile(
    r"(?P<sign>-?) ?(?:(?P<whole>[0-9]{1,30})(?: +|(?=\\))(?:and +)?)?"
    r"(?:(?P<above>[0-9]{1,30}) ?/ ?(?P<below>[0-9]{1,30})"
    r"|\\[dt]?frac *(?:\{ *(?P<over>[0-9]{1,30}) *\}|(?P<digit>[0-9])) *"
    r"(?:\{ *(?P<under>[0-9]{1,30}) *\}|(?P<other>[0-9])))"
)
_VULGAR = re.compile("[¼-¾⅐-⅞↉]")


@lru_cache(maxsize=1 << 12)
def plain_number(text: str) -> str | None:
    """Write a number in plain decimal, a percentage with its `%`; None: it is something else.

    Thousands separators (`1,000`, `12,34,567`, `1 000`, `1{,}000`), leading and trailing zeros, `+`, `-0`, a currency
    sign and words for digits are spelling.

    Example:
        >>> [plain_number(t) for t in ("1,000.", "+08.50", "-$5", "13.20 percent", "12,34,567", "1,00", "minus five")]
        ['1000', '8.5', '-5', '13.2%', '1234567', None, '-5']
    """
    if not text[-1:].isdigit() or not text.isdigit():
        text = _PERCENT.sub("%", _SPACES.sub(_grouped, in_digits(text))).strip()
    match = _NUMBER.fullmatch(text)
    if match is None or not (match["whole"] or match["fraction"]) or (match["sign"] and match["inner"]):
        return None
    whole = re.sub("[^0-9]", "", match["whole"] or "").lstrip("0")
    fraction = (match["fraction"] or "").rstrip("0")
    percent = "%" if (match["behind"] or "").endswith("%") else ""
    if not whole and not fraction:
        return f"0{percent}"
    if percent and match["currency"]:
        return None
    minus = "-" if "-" in (match["sign"], match["inner"]) else ""
    return f"{minus}{whole or '0'}{f'.{fraction}' if fraction else ''}{percent}"


def in_digits(text: str) -> str:
    """Write a number in words in digits; anything else as it is.

    Example:
        >>> [in_digits(said) for said in ("Minus five", "a hundred and twenty-one", "minus 5", "two three", "one way")]
        ['-5', '121', '-5', 'two three', 'one way']
    """
    if not text[:1].isalpha():
        return text
    match = _IN_WORDS.fullmatch(text.casefold())
    value = None if match is None else _value(re.findall("[a-z]+", match["words"]))
    return (
        _MINUS.sub("-", text, count=1) if match is None or value is None else f"{'-' if match['sign'] else ''}{value}"
    )


def _value(words: list[str]) -> int | None:
    """Return what the words count; None: they are no one number."""
    total, group, room = 0, 0, 1000
    if words[0] in _LARGE:
        return None
    for word in words:
        if word in _WORDS:
            value = _WORDS[word]
            if not value < room or (value == 0 and len(words) > 1):
                return None
            group, room = group + value, 10 if value >= 20 else 1
        elif word in _LARGE:
            if word == "hundred":
                group, room = 100 * (group or 1), 100
            else:
                total, group, room = total + _LARGE[word] * (group or 1), 0, 1000
    return total + group


def value_of(text: str) -> Fraction | None:
    """Return the value of a number, percentage, fraction or mixed number; None: it is none of these.

    Example:
        >>> [str(value_of(text)) for text in ("13.2%", "1 1/2", "1½", "\\\\frac{3}{2}", "-0.25", "1/0")]
        ['33/250', '3/2', '3/2', '3/2', '-1/4', 'None']
    """
    if _VULGAR.search(text):
        text = _VULGAR.sub(
            lambda sign: " " + unicodedata.normalize("NFKC", sign[0]).replace("\u2044", "/"), text
        ).strip()
        text = text.replace("- ", "-")
    number = plain_number(text)
    if number is not None:
        share = number.endswith("%")
        return Fraction(number.rstrip("%")) / (100 if share else 1) if len(number) < 1000 else None
    match = _QUOTIENT.fullmatch(text)
    if match is None:
        return None
    above = int(match["above"] or match["over"] or match["digit"])
    below = int(match["below"] or match["under"] or match["other"])
    if not below or (match["whole"] and above >= below):
        return None
    value = Fraction(above, below) + int(match["whole"] or 0)
    return -value if match["sign"] else value


@lru_cache(maxsize=1 << 12)
def currencies(text: str) -> frozenset[str]:
    """Return the currencies whose signs or codes stand in a text.

    Example:
        >>> [sorted(currencies(text)) for text in ("US$5", "5 EUR", "R$5", "five")]
        [['dollar'], ['euro'], ['real'], []]
    """
    found = frozenset(name for name, sign in _CURRENCIES.items() if sign.search(text))
    return found - {"dollar"} if "real" in found else found


def _grouped(space: re.Match[str]) -> str:
    return "," if space[0] == "{,}" else "" if space[0] == "\\!" else " "

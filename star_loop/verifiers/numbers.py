"""A number in its one spelling, compared as it is written: no rounding, and no limit to its length."""

import re

_CURRENCY = r"(?i:US|CA|AU)?\\?[$€£¥₹₩₽]"
_DIGITS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}|[0-9]{1,3}(?:[ '][0-9]{3})+|[0-9]+")
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?) ?(?P<currency>{_CURRENCY} ?)?(?P<inner>[-+]?) ?"
    rf"(?P<whole>{_DIGITS.pattern})?(?:\.(?P<fraction>[0-9]*))?(?P<behind> ?(?:%|{_CURRENCY}))?"
)
_SPACES = re.compile(r"\\[,;:! ]|(?<=[0-9])~|(?<=[0-9])\{,\}(?=[0-9])")
_PERCENT = re.compile(r" ?(?:\\%|%|\bper ?cent\b\.?)", re.IGNORECASE)


def plain_number(text: str) -> str | None:
    """Write a number in plain decimal, a percentage with its `%`; None: it is something else.

    Thousands separators (`1,000`, `12,34,567`, `1 000`, `1{,}000`), leading and trailing zeros, `+`, `-0` and a
    currency sign are spelling.

    Example:
        >>> [plain_number(t) for t in ("1,000.", "+08.50", "-$5", "13.20 percent", "12,34,567", "1,00", "5 m")]
        ['1000', '8.5', '-5', '13.2%', '1234567', None, None]
    """
    if not text[-1:].isdigit() or not text.isdigit():
        text = _PERCENT.sub("%", _SPACES.sub(_grouped, text)).strip()
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


def _grouped(space: re.Match[str]) -> str:
    return "," if space[0] == "{,}" else "" if space[0] == "\\!" else " "

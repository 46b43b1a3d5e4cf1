"""Characters that mean the same: one script of digits, one minus sign, one kind of quotation marks, no width.

NFKC is applied where it changes no value: superscripts, subscripts and fractions stay what they are (`5²` is not 52).
"""

import unicodedata
from functools import lru_cache

_SAME = {
    "-": "‐‑‒–−﹣－", "'": "‘’‚‛′", '"': "“”„‟″«»「」『』", ".": "。।۔٫", ",": "،٬、", "?": "؟", "%": "٪", "°": "º˚",
    "/": "⁄∕", "": "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff",
}  # fmt: skip
_ONE = {other: character for character, others in _SAME.items() for other in others}
_KEPT = "ℂℍℕℙℚℝℤ"
"""Double-struck capitals are sets of numbers, not letters."""
_VALUED = ("<super>", "<sub>", "<fraction>")
"""Decompositions of characters whose position is part of their value."""


def plain_characters(text: str) -> str:
    """Write a text with one character for each meaning; ASCII stays as it is.

    Example:
        >>> [plain_characters(t) for t in ("１２．５", "−5", "it’s", "（Ｃ）", "5²", "٣٤")]
        ['12.5', '-5', "it's", '(C)', '5²', '34']
    """
    return text if text.isascii() else unicodedata.normalize("NFC", "".join(map(_plain, text)))


@lru_cache(maxsize=1 << 14)
def _plain(character: str) -> str:
    if character in _ONE:
        return _ONE[character]
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if character in _KEPT or unicodedata.decomposition(character).startswith(_VALUED):
        return character
    wide = unicodedata.normalize("NFKC", character)
    return "".join(_ONE.get(part, part) for part in wide)

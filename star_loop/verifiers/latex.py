"""One spelling for mathematics in LaTeX: what only changes how it looks is taken out, without an algebra system."""

import re
from fractions import Fraction
from functools import lru_cache

from star_loop.verifiers.numbers import plain_number

_PLAIN = re.compile(r"-?[0-9]+(?:\.[0-9]+)?%?")
_SIZES = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|[bB]ig{1,2}[lr]?|limits|nolimits)(?![A-Za-z])|(?<!\\)\\[!/]|(?<!\\)\$|\\\$|\\\\\s*\Z"
)
_FRACTION = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_TOKEN = r"\d|[A-Za-z]|\\[A-Za-z]+"
_ARGUMENTS = re.compile(
    rf"\\frac *(?:(?P<one>{_TOKEN})|(?P<above>\{{[^{{}}]*\}})) *(?:(?P<two>{_TOKEN})|(?P<below>\{{[^{{}}]*\}}))"
)
_LOOSE = re.compile(r" *([-+=*/^_(){}\[\]|]) *")
_QUOTIENT = re.compile(r"(-?)(?:\\frac\{(-?[0-9]{1,99})\}\{(-?[0-9]{1,99})\}|([0-9]{1,99})(?:/([0-9]{1,99}))?)")
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:(?:\\[,;: ]|~|\{,\})\d{3})+(?!\d)")
_BRACED = re.compile(r"(?<!\\)\{(\d{1,3}(?:,\d{3})+)\}")
_UPRIGHT = re.compile(r"\\(?:text|mathrm|mbox|textrm|mathbf|textbf|mathit|rm) *\{((?:[-+\d., ]|\\?%)+)\}")
_ITALIC = re.compile(r"\\(?:mathbf|boldsymbol|bm|mathit|mathsf|textit|mathnormal) *\{([^{}]*)\}")
_SPACES = re.compile(r"(?:(?<!\\)\\[,;: ]|(?<=\S)~|\\q?quad(?![A-Za-z])|\s)+")
_MIXED = re.compile(r"(?<![\d.}^_])(-?)(\d+) ?(?:\\frac\{(\d+)\}\{(\d+)\}|(?<= )(\d+)/(\d+)(?![\d.^]))")
_SCIENTIFIC = re.compile(r"(?<![A-Za-z\d.])(-?\d+(?:\.\d+)?)[eE]([-+]?\d{1,6})(?![A-Za-z\d.])")
_JOINED = re.compile(r" *,? *(?:\\(?:text|mathrm|mbox) *\{ *(?:and|or) *\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])) *")
_REPEATING = re.compile(
    r"(?<![\d.,])(?P<whole>\d*)\.(?P<once>\d*)\\(?:overline|bar) *\{?(?P<again>(?<=\{)\d+(?=\})|\d)\}?"
)
_BASED = re.compile(r"\((?P<digits>[0-9][0-9A-Fa-f]*)\)(?=_)")
_SIGNS = {
    "×": "times", "·": "cdot", "⋅": "cdot", "÷": "div", "π": "pi", "∞": "infty", "≤": "le", "≥": "ge", "≠": "neq",
    "±": "pm", "∪": "cup", "∩": "cap", "∅": "emptyset", "∈": "in", "θ": "theta", "α": "alpha", "β": "beta",
    "γ": "gamma", "λ": "lambda", "μ": "mu", "φ": "phi", "ω": "omega",
}  # fmt: skip
_FRACTIONS = ("½12", "⅓13", "⅔23", "¼14", "¾34", "⅕15", "⅖25", "⅗35", "⅘45", "⅙16", "⅚56", "⅛18", "⅜38", "⅝58", "⅞78")
_TRANSLATED = str.maketrans(
    {sign: rf"\{name} " for sign, name in _SIGNS.items()}
    | {sign: rf"\frac{{{above}}}{{{below}}}" for sign, above, below in map(tuple, _FRACTIONS)}
    | {"°": r"^\circ ", "ℝ": r"\mathbb{R}"}
)
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
_LOWERED = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_UPPER, _LOWER = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+"), str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_TEXT_DEGREE = re.compile(r"\\(?:text|mathrm) *\{ *° *\}")
_ROOT = re.compile(r"√ *(?:\(([^()]*)\)|(\d+(?:\.\d+)?|[A-Za-z]))")


@lru_cache(maxsize=1 << 14)
def spelt(words: str) -> str:
    """Write mathematics in one way: LaTeX for Unicode, no spaces for looks, no thousands separators, plain fractions.

    Lists are joined by commas, mixed numbers and `1.5e3` become sums and products.

    Example:
        >>> [spelt(w) for w in ("1½", "12\\\\,345", "x² ≤ 4", "1 \\\\text{ or } -2", "\\\\dfrac12")]
        ['(1+\\\\frac{1}{2})', '12345', 'x^{2}\\\\le 4', '1,-2', '\\\\frac{1}{2}']
    """
    words = words if words.isascii() else _from_unicode(words)
    words = _FRACTION.sub(r"\\frac", _SIZES.sub("", words))
    words = _GROUPED.sub(lambda number: re.sub(r"\D", "", number[0]), _UPRIGHT.sub(r"\1", _ITALIC.sub(r"\1", words)))
    words = _BRACED.sub(lambda number: number[0].replace(",", ""), words)
    words = _JOINED.sub(",", _SPACES.sub(" ", words)).strip(" ,;")
    words = _ARGUMENTS.sub(_with_braces, words)
    words = _MIXED.sub(_sum, words)
    words = _REPEATING.sub(_repeating, _LOOSE.sub(r"\1", _SCIENTIFIC.sub(r"\1\\times 10^{\2}", words)))
    return _BASED.sub(r"\g<digits>", words).strip()


def _from_unicode(words: str) -> str:
    words = _ROOT.sub(lambda root: rf"\sqrt{{{root[1] or root[2]}}}", _TEXT_DEGREE.sub("°", words))
    words = _RAISED.sub(lambda raised: f"^{{{raised[0].translate(_UPPER)}}}", words)
    return _LOWERED.sub(lambda low: f"_{{{low[0].translate(_LOWER)}}}", words).translate(_TRANSLATED)


def _with_braces(fraction: re.Match[str]) -> str:
    above, below = fraction["above"] or f"{{{fraction['one']}}}", fraction["below"] or f"{{{fraction['two']}}}"
    return rf"\frac{above}{below}"


def _sum(mixed: re.Match[str]) -> str:
    sign, whole, above, below = mixed[1], mixed[2], mixed[3] or mixed[5], mixed[4] or mixed[6]
    return f"{sign}({whole}+\\frac{{{above}}}{{{below}}})" if int(above) < int(below) else mixed[0]


def _repeating(number: re.Match[str]) -> str:
    """Write a repeating decimal as a quotient: 0.1666… is 15/90."""
    once, again = number["once"], number["again"]
    before = int((number["whole"] + once) or 0)
    below = 10 ** len(once) * (10 ** len(again) - 1)
    return rf"\frac{{{before * (10 ** len(again) - 1) + int(again)}}}{{{below}}}"


def plain(words: str) -> str | None:
    """Write a plain number in its one spelling; None: it is something else."""
    number = plain_number(words)
    return number if number is not None and _PLAIN.fullmatch(number) else None


def equal_at_sight(one: str, other: str) -> bool | None:
    """Tell whether two answers are the same in other typesetting, or equal quotients of integers; None: cannot be told.

    Example:
        >>> [equal_at_sight("\\\\frac{1}{2}", x) for x in ("\\\\dfrac{1}{2}", "2/4", "\\\\frac{1}{3}", "0.5")]
        [True, True, False, None]
    """
    first, second = _typeset(one), _typeset(other)
    if first == second:
        return True
    values = _quotient(first), _quotient(second)
    return None if None in values else values[0] == values[1]


def _typeset(words: str) -> str:
    """Without what changes only how it looks: sizes of brackets and fractions, spaces around signs."""
    return _LOOSE.sub(r"\1", _FRACTION.sub(r"\\frac", _SIZES.sub("", words))).strip()


def _quotient(words: str) -> Fraction | None:
    match = _QUOTIENT.fullmatch(words)
    if match is None:
        return None
    above, below = int(match[2] or match[4]), int(match[3] or match[5] or 1)
    if not below:
        return None
    return Fraction(-above if match[1] else above, below)

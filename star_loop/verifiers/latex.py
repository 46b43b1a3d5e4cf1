"""One spelling for mathematics in LaTeX: what only changes how it looks is taken out, without an algebra system."""

import re
import unicodedata
from fractions import Fraction
from functools import lru_cache

from star_loop.verifiers.numbers import plain_number
from star_loop.verifiers.wrapping import without_looks

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
_BRACED = re.compile(r"(?<!\\)\{(\d{1,3}(?:,\d{3})+|:)\}")
_UPRIGHT = re.compile(r"\\(?:text|mathrm|mbox|textrm|mathbf|textbf|mathit|rm) *\{((?:[-+\d., ]|\\?%)+)\}")
_ITALIC = re.compile(r"\\(?:mathbf|boldsymbol|bm|mathit|mathsf|textit|mathnormal) *\{([^{}]*)\}")
_SPACES = re.compile(r"(?:(?<!\\)\\[,;: ]|(?<=\S)~|\\q?quad(?![A-Za-z])|\s)+")
_MIXED = re.compile(r"(?<![\d.}^_])(-?)(\d+) ?(?:\\frac\{(\d+)\}\{(\d+)\}|(?<= )(\d+)/(\d+)(?![\d.^]))")
_SCIENTIFIC = re.compile(r"(?<![A-Za-z\d.])(-?\d+(?:\.\d+)?)[eE]([-+]?\d{1,6})(?![A-Za-z\d.])")
_JOINED = re.compile(
    r" *,? *(?:\\(?:lor|vee)(?![A-Za-z])|\\(?:text|mathrm|mbox) *\{ *(?:and|or) *\}"
    r"|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])) *"
)
_REPEATING = re.compile(
    r"(?<![\d.,])(?P<whole>\d*)\.(?P<once>\d*)\\(?:overline|bar) *\{?(?P<again>(?<=\{)\d+(?=\})|\d)\}?"
)
_BASED = re.compile(r"\((?P<digits>[0-9][0-9A-Fa-f]*)\)(?=_)")
_SIGNS = {
    "×": "times", "·": "cdot", "⋅": "cdot", "÷": "div", "π": "pi", "∞": "infty", "≤": "le", "≥": "ge", "≠": "neq",
    "±": "pm", "∪": "cup", "∩": "cap", "∅": "emptyset", "∈": "in", "θ": "theta", "α": "alpha", "β": "beta",
    "γ": "gamma", "λ": "lambda", "μ": "mu", "φ": "phi", "ω": "omega",
}  # fmt: skip
_FRACTIONS = {sign: unicodedata.normalize("NFKC", sign).split("\u2044") for sign in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"}
_TRANSLATED = str.maketrans(
    {sign: rf"\{name} " for sign, name in _SIGNS.items()}
    | {sign: rf"\frac{{{above}}}{{{below}}}" for sign, (above, below) in _FRACTIONS.items()}
    | {sign: rf"\mathbb{{{unicodedata.normalize('NFKC', sign)}}}" for sign in "ℂℍℕℙℚℝℤ"}
    | {"°": r"^\circ ", "Ω": r"\Omega ", "⟨": r"\langle ", "⟩": r"\rangle ", "∨": r"\lor ", "∧": r"\land "}
)
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
_LOWERED = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_UPPER, _LOWER = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+"), str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_TEXT_DEGREE = re.compile(r"\\(?:text|mathrm) *\{ *° *\}")
_ROOT = re.compile(r"([√∛∜]) *(?:\(([^()]*)\)|(\d+(?:\.\d+)?|[A-Za-z]))")
_DEGREES = {"√": "", "∛": "[3]", "∜": "[4]"}
_SETS = re.compile(r"\\mathbb +([A-Z])(?![A-Za-z])")
_ANGLED = re.compile(r"\\([lr])angle(?![A-Za-z])")
_CURRENCY = re.compile(
    r"\\(?:text *\{ *\\)?(?:pounds|euro)(?![A-Za-z]) *\}?"
    r"|(?<![A-Za-z\\])(?:USD|EUR|GBP|[A-Z]{1,2}(?=\\?\$)) ?(?=\\?\$?\d)|(?<=\d) ?(?:USD|EUR|GBP)(?![A-Za-z])"
)
_TEXT = r"(?: |~|\\[,;: ])*(?:\\(?:text|mathrm) *\{ *)?"
_TIMES = re.compile(
    r"(?P<one>\\(?:text|mathrm) *\{[A-Za-z ]*) *(?:\} *\\cdot *\\(?:text|mathrm) *\{|\\cdot) *(?P<two>[A-Za-z ]*\})"
    r"|(?<=\d) +(?P<first>[kM]?N|kg|[kM]?W|A|V) *\\cdot *(?P<second>[msh])\Z"
)
"""Between two units."""
_OHM = re.compile(rf"(?<=\d){_TEXT}(?P<prefix>[kM]?) *\}}?{_TEXT}\\Omega(?![A-Za-z]) *\}}?\Z")
_MICRO = re.compile(rf"(?<=\d){_TEXT}\\mu(?![A-Za-z]) *\}}?{_TEXT}(?P<unit>[msg])\}}?\Z")
_SQUARED = re.compile(r"(?<=\d) +(?P<unit>[mcdk]?m)\^\{?(?P<power>[23])\}?\Z")
_OHMS = {"": "ohm", "k": "kiloohm", "M": "megaohm"}
_MICROS = {"m": "micrometer", "s": "microsecond", "g": "microgram"}
"""Units that LaTeX writes as mathematics."""


@lru_cache(maxsize=1 << 14)
def spelt(words: str) -> str:
    """Write mathematics in one way: LaTeX for Unicode, no spaces for looks, no thousands separators, plain fractions.

    Lists are joined by commas, mixed numbers and `1.5e3` become sums and products.

    Example:
        >>> [spelt(w) for w in ("1½", "12\\\\,345", "x² ≤ 4", "1 \\\\text{ or } -2", "\\\\dfrac12")]
        ['(1+\\\\frac{1}{2})', '12345', 'x^{2}\\\\le 4', '1,-2', '\\\\frac{1}{2}']
    """
    words = without_looks(words if words.isascii() else _from_unicode(words))
    words = _with_units(_CURRENCY.sub("", words))
    words = _FRACTION.sub(r"\\frac", _SIZES.sub("", words))
    words = _GROUPED.sub(lambda number: re.sub(r"\D", "", number[0]), _UPRIGHT.sub(r"\1", _ITALIC.sub(r"\1", words)))
    words = _BRACED.sub(lambda number: number[0].replace(",", ""), words)
    words = _JOINED.sub(",", _SPACES.sub(" ", words)).strip(" ,;")
    words = _ARGUMENTS.sub(_with_braces, words)
    words = _MIXED.sub(_sum, words)
    words = _REPEATING.sub(_repeating, _LOOSE.sub(r"\1", _SCIENTIFIC.sub(r"\1\\times 10^{\2}", words)))
    return _BASED.sub(r"\g<digits>", words).strip()


def _with_units(words: str) -> str:
    if "\\" in words:
        words = _TIMES.sub(_product, words)
        words = _SETS.sub(r"\\mathbb{\1}", words)
        words = _ANGLED.sub(lambda angle: "(" if angle[1] == "l" else ")", words)
        words = _OHM.sub(lambda ohm: rf"\text{{ {_OHMS[ohm['prefix']]}}}", words)
        words = _MICRO.sub(lambda micro: rf"\text{{ {_MICROS[micro['unit']]}}}", words)
    return _SQUARED.sub(r"\\text{ \g<unit>}^\g<power>", words)


def _product(units: re.Match[str]) -> str:
    first, second = units["first"], units["second"]
    return rf"\text{{{first} {second}}}" if first else f"{units['one']} {units['two']}"


def _from_unicode(words: str) -> str:
    words = _ROOT.sub(lambda root: rf"\sqrt{_DEGREES[root[1]]}{{{root[2] or root[3]}}}", _TEXT_DEGREE.sub("°", words))
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

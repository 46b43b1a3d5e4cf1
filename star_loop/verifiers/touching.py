"""What touches a box or a tag belongs to what it states: a unit, a sign, a script, another answer, a denial."""

import re

from star_loop.verifiers.sentences import claim
from star_loop.verifiers.statement import Statement
from star_loop.verifiers.units import changes_value, is_known

_SPACES = r"(?:\s|\\[,;:! ]|~|\\q?quad(?![A-Za-z]))*"
_OUT = re.compile(rf"(?:{_SPACES}(?:\$\$?|\\[)\]]|\*\*|</\w+>))+")
"""The end of a formula, or of emphasis."""
_TEXT = re.compile(r"\\(?:text|mathrm|mbox|textrm|textbf) *\{(?P<words>[^{}]*)\}(?:\^\{?[23]\}?)?")
_PERCENT = re.compile(r"\\?%|per ?cent\b|pct\b", re.IGNORECASE)
_DEGREES = re.compile(r"\^ *\{? *\\circ *\}?|°")
_ORDINAL = re.compile(r"\^ *\{? *(?:\\(?:text|mathrm) *\{ *)?(?:st|nd|rd|th)\b")
_BASE = re.compile(r"_(?:\{[^{}]*\}|\w)")
_EQUATION = re.compile(r"= *(?P<side>[^=<>$&\n]*?)" rf"(?={_SPACES}(?:\$|\\[)\]]|\\text|[.,;] *\Z|\Z))")
_WORD = re.compile(r"[A-Za-z]+(?:\.[A-Za-z]+)*")
_HARMLESS = re.compile(r"\\(?:approx|quad|qquad|tag|end|blacksquare|square|implies|pmod|quad|checkmark|label|hfill)")
_OPERATOR = re.compile(
    r"[-+*/^_=<>!|±×÷·≠²³‰]|[:.](?=\d)|\\?& *(?=\d)|to(?= \$?\d)"
    r"|\\(?:cdot|times|div|pm|mp|neq?|leq?|geq?|equiv|in|to|pi|sqrt|d?frac|left|sin|cos|log|ln)(?![A-Za-z])"
)
_MARK = re.compile(r"!+(?=\s|\Z|[*)<])|\||[*_`]+(?=\s|\Z|[.,;:!?)<])")
"""Outside of a formula, an exclamation mark, the end of a table's cell, or of emphasis."""
_DASH = re.compile(r"\s+(?:--?|–|—)\s+(?=[A-Za-z(])|--|\*\*")
_ANOTHER = re.compile(
    r"[\s,;*]*(?:[,;]|\b(?:or|and)\b)[\s*]*(?:(?:also|possibly|maybe|perhaps|even|an?|the|it is)\s+)*(?:\\[(\[]|\$)?"
    r"(?:[a-z] *= *)?[-+]?(?:\d|\\[dt]?frac|\\sqrt|\\boxed|\\infty)(?![^.]*\bcases?\b)"
    r"(?!\S*\$? (?:(?:is|are|was|does|do|would|can|must)(?: be| an?)? "
    r"(?:not\b|no\b"
    r"|too (?:large|small|big|high|low)\b|extraneous|invalid|reject|impossible|discard|excluded)"
    r"|\w+n['’]t\b|cannot\b|fails?\b))"
)
_DENIED = re.compile(
    r"[\s,;:*(\[]*(?:(?:is|was|were|would|could|can|does|did|cannot|must|seems?|are|has)\b|\w+n['’]t\b)[^,;.]*"
    r"\b(?:not|\w+n['’]t|wrong|incorrect|false|impossible|invalid|mistaken|never|guess|mistake|tempting|cannot)\b"
    r"|[\s,;:*(\[–—-]*(?:(?:which|this|that) (?:is|was) )?"
    r"(?:wrong|incorrect|false|no\b(?! other)|not (?:right|correct|true|the answer)|actually|wait|oops|hmm"
    r"|sorry|isn['’]t|cannot be|or not|n['’]t)\b|\s*\?",
    re.IGNORECASE,
)
_EMPHASIZING = "*_`\"'"
_STYLED = re.compile(r"\\(?:text\w*|math(?:rm|bf|it|sf|tt)|[mf]box|emph|underline|bm) *\{\Z")
_BEFORE_DENIED = re.compile(
    r"(?:\b(?:not|never|neither|nor|cannot(?: be)?|twice|double|thrice|half(?: of)?|anything but|everything but)"
    r"|n['’]t(?: be)?|\b(?:more|less|greater|fewer|larger|smaller|other|rather) than|\d[$)\s]*\bor"
    r"|[√±×÷≠]|\\neg|\\lnot)"
    r"(?: (?:equal to|the number))?[\s*}]*(?:\\[(\[]|\$\$?)?\s*\Z",
    re.IGNORECASE,
)
_BEFORE_OPERATOR = re.compile(
    r"(?:[+*/^_<|]|\d|\\(?:cdot|times|div|pm|mp|neq?|not *=|sqrt|sin|cos|tan|log|ln)|\\[dt]?frac *(?:\{[^{}]*\} *)?\{?"
    r"|\\(?:overline|bar|widehat|hat|vec) *\{|(?<![A-Za-z])[a-zA-Z]\("
    r"|\\sqrt *\{|[\^_] *\{)\s*\Z"
)
_ELEMENT_BEFORE = re.compile(
    r"[\d}],\Z|(?:\A|\$|\\[(\[])\s*-?\d+\.\Z|[(\[{][^()\[\]\n]*[\d}]\$?\s*[,;]\s*(?:\$|\\[(\[])?\s*\Z"
)
"""It makes the box an element of a list, or the digits behind a point."""
_COMMA_BEFORE = re.compile(r"[\d})][,;]\s*\Z")
_OPENED = re.compile(r"(?P<opening>(?<!\\)[(\[]|\\\{)\s*(?:\$\$?|\\[(\[])?\s*\Z")
_CLOSED = re.compile(r"(?<!\\)[)\]]|\\\}")
_CLOSINGS = {"(": ")", "[": "]", r"\{": r"\}"}
_MINUS = re.compile(r"(?P<lead>.*?)(?P<sign>[-−]) *\Z", re.DOTALL)
_BEGINS = re.compile(r"(?:\A|[=$(\[:,]|\\[(\[]|[A-Za-z]{2})\s*\Z")
_EMPHASIS = re.compile(
    r"(?:\\(?:text\w*|math\w+|underline|displaystyle|bm|color\w*|therefore|large|Large) *\{?|\*\*|[\s{])+\Z"
)


def read_with(stated: Statement) -> str | None:
    """Return what is stated, with what touches its box or tag; None: that takes it back, or makes it a part.

    Example:
        >>> afters = " million", " apples.", "^2", " or 6", " is wrong"
        >>> [read_with(Statement("5", "marker", "", "", "", after)) for after in afters]
        ['5\\\\text{ million}', '5', None, None, None]
    """
    if not (stated.before or stated.after):
        return stated.line
    before, after = _inside_emphasis(stated.before, stated.after)
    if _is_element(before.rpartition("\n")[2], after, formula=_formula(before)):
        return None
    line = _behind(_formula(before), stated.line, after)
    return None if line is None else _before(before, line)


def _inside_emphasis(before: str, after: str) -> tuple[str, str]:
    """Take off the emphasis that a box or tag stands in, layer by layer."""
    while True:
        if before and before[-1] in _EMPHASIZING and after.startswith(before[-1]):
            before, after = before[:-1], after[1:]
        elif after.startswith("}") and (command := _STYLED.search(before)):
            before, after = before[: command.start()], after[1:]
        else:
            return before, after


def _formula(before: str) -> bool:
    """Tell whether a formula is open here."""
    return bool(before.replace(r"\$", "").count("$") % 2) or any(
        before.rfind(opening) > before.rfind(closing) for opening, closing in ((r"\(", r"\)"), (r"\[", r"\]"))
    )


def _is_element(before: str, after: str, *, formula: bool) -> bool:
    """Tell whether a box is one of several elements, or stands in a bracket that never closes."""
    if _ELEMENT_BEFORE.search(before) or (formula and _COMMA_BEFORE.search(before)):
        return True
    opened, closed = _OPENED.search(before), _CLOSED.search(after)
    return opened is not None and (closed is None or closed[0] != _CLOSINGS[opened["opening"]])


def _before(before: str, line: str) -> str | None:
    line_before = before.rpartition("\n")[2]
    if _BEFORE_DENIED.search(line_before):
        return None
    bare = (
        _EMPHASIS.sub("", line_before)
        if not line_before.endswith("{") or "\\text" in line_before[-12:]
        else line_before
    )
    formula = _formula(before)
    minus = _MINUS.fullmatch(line_before)
    if minus and (formula or line_before[-1:] in "-−"):
        return f"-{line}" if _BEGINS.search(minus["lead"]) and not re.search(r"[-+]", line[1:]) else None
    touching = formula or (line_before == line_before.rstrip() and bare[-1:] not in "|>") or "\\" in line_before[-8:]
    return None if touching and _BEFORE_OPERATOR.search(bare) else line


def _behind(formula: bool, line: str, after: str) -> str | None:
    """Read on behind a box, in its formula first and then in its sentence."""
    rest = re.match(_SPACES, after)
    glued = rest is None or not rest[0]
    tail = (after[rest.end() :] if rest else after).removeprefix("{}")
    for pattern, spelling in ((_PERCENT, r"\%"), (_DEGREES, r"^\circ")):
        if found := pattern.match(tail):
            return _behind_words(line + spelling, tail[found.end() :])
    if text := _TEXT.match(tail):
        words = _WORD.findall(text["words"])
        unit = bool(words) and all(is_known(word.casefold()) for word in words)
        said = tail[text.end() :]
        return _behind_words(line + text[0], said) if unit else _behind_words(line, f" {text['words']} {said}")
    if (formula or glued) and (ordinal := _ORDINAL.match(tail)):
        return _behind_words(line, tail[ordinal.end() :])
    if glued and (base := _BASE.match(tail)):
        return _behind_words(line + base[0], tail[base.end() :])
    if out := _OUT.match(tail):
        return _behind_words(line, tail[out.end() :])
    if (equation := _EQUATION.match(tail)) and "=" not in line:
        return f"{line}={equation['side']}" if equation["side"] else line
    if _operates(formula, glued, tail, after):
        return None
    return _behind_words(line, after)


def _operates(formula: bool, glued: bool, tail: str, after: str) -> bool:
    """Tell whether a box is an operand of what follows."""
    if _HARMLESS.match(tail) or _DASH.match(after):
        return False
    if not formula and _MARK.match(tail):
        return False
    if _OPERATOR.match(tail) or (formula and tail.startswith("'")):
        return True
    word = _WORD.match(tail)
    return (formula or glued) and (tail[:1].isdigit() or (word is not None and len(word[0]) == 1))


def _behind_words(line: str, after: str) -> str | None:
    """Read on in the sentence: a word that changes the value, another answer, a denial."""
    if found := _PERCENT.match(after.lstrip(" ~")):
        line, after = line + r"\%", after.lstrip(" ~")[found.end() :]
    if text := _TEXT.match(after.lstrip()):
        after = f" {text['words']} {after.lstrip()[text.end() :]}"
    word = _WORD.match(after.lstrip(" -~$"))
    if word and changes_value(word[0]):
        line = rf"{line}\text{{ {word[0]}}}"
    if _ANOTHER.match(after) or _DENIED.match(claim(after)):
        return None
    return line

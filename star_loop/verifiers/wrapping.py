"""What stands around an answer without being part of it: Markdown, quotation marks, dollar signs, LaTeX and tags."""

import re

_BARE = " \t\r\n*_`"
"""Markdown, which also stands on one side only, where the other one is before the marker."""
_PAIRS = (
    ('"', '"'),
    ("'", "'"),
    ("$$", "$$"),
    ("$", "$"),
    ("\\(", "\\)"),
    ("\\[", "\\]"),
    ("{", "}"),
    ("~~", "~~"),
    ("==", "=="),
)
_OPENINGS = (*(opening for opening, _ in _PAIRS), "<", "\\")
_COMMAND = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf|tt)|[mf]box|boxed|framebox|emph|underline|bm) *\{"
)
_TAG = re.compile(r"<(?P<name>b|i|u|em|strong|code|span|p|answer|final_answer)>(.*)</(?P=name)>", re.DOTALL)
_STYLED = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf|tt|cal|bb|scr|frak)|emph|underline|bm) *\{([^{}]*)\}"
)
_TWICE = re.compile(r"([(\[])\1([^()\[\]\n]{1,40})([)\]])\3")
_SPACED = re.compile(r"\\q?quad(?![A-Za-z]) *|\\[,;:! ]|(?<=[\w)])~(?=[\w(\\])")
_EMPHASIS = re.compile(r"\*\*|__|`|(?<![\w*])[*_](?=[A-Za-z(])|(?<=[A-Za-z).])[*_](?!\w)")
_STYLE = re.compile(
    r"\\(?:(?:display|text|script)style|tiny|small|normalsize|large|Large|LARGE|huge|Huge|bf|rm|it)(?![A-Za-z]) *"
    r"|\\color *(?:\{\w*\}|(?!\{)(?=\w)) *|(?:\\left|\\right|\\[bB]ig{1,2}[lrm]?)(?=[()\[\]|.]|\\[{}|]) *"
    r"|\\(?:textcolor|colorbox) *\{\w*\} *(?=\{)"
)
_BLOCKS = (("$$", "$$"), ("\\[", "\\]"), ("```", "```"))
_LONGEST = 2000
"""Characters of an answer that may have a wrapper; the digits of a longer one are compared as they are."""


def unwrap(words: str) -> str:
    """Take off what is wrapped around an answer, layer by layer, and the period that ends its sentence.

    Example:
        >>> [unwrap(w) for w in ("**72**.", "\\\\boxed{\\\\text{B}}", "$5", "\\\\( x \\\\)", "`a`", "\\\\{1\\\\}")]
        ['72', 'B', '$5', 'x', 'a', '\\\\{1\\\\}']
    """
    if len(words) > _LONGEST:
        return _without_period(words.strip(_BARE))
    before = ""
    while words != before:
        before, words = words, _without_layer(_without_period(words.strip(_BARE)))
    return words


def _without_period(words: str) -> str:
    """An ellipsis behind a digit is none: `0.333...` goes on."""
    bare = words.rstrip(".")
    return words if len(words) - len(bare) > 2 and bare[-1:].isdigit() else bare.rstrip(_BARE)


def _without_layer(words: str) -> str:
    if not words.startswith(_OPENINGS):
        return words
    for opening, closing in _PAIRS:
        if len(words) >= len(opening + closing) and words.startswith(opening) and words.endswith(closing):
            inside = words[len(opening) : len(words) - len(closing)]
            alone = inside.count('"') % 2 == 0 if opening == '"' else not (opening in inside or closing in inside)
            if alone and not inside.endswith("\\"):
                return "" if opening == "~~" else inside
            if opening == "{" and argument(words, 0) == (inside, len(words)):
                return inside
    if (command := _COMMAND.match(words)) and words.endswith("}"):
        found = argument(words, command.end() - 1)
        return found[0] if found and found[1] == len(words) else words
    if tag := _TAG.fullmatch(words):
        return tag[2]
    return without_looks(words) if words.startswith("\\") else words


def without_looks(words: str) -> str:
    """Take out what sets the size or the colour of mathematics.

    Example:
        >>> [without_looks(words) for words in ("\\\\large 5", "\\\\color{red}5", "\\\\bigl(5\\\\bigr)")]
        ['5', '5', '(5)']
    """
    return _STYLE.sub("", words) if "\\" in words else words


def without_emphasis(words: str) -> str:
    """Take out Markdown's and LaTeX's emphasis between words.

    Example:
        >>> without_emphasis("B** (the *iron*), not_x")
        'B (the iron), not_x'
    """
    plain = _STYLED.sub(r"\1", _SPACED.sub(" ", without_looks(words)))
    return _EMPHASIS.sub("", _TWICE.sub(r"(\2)", plain))


def block(tail: str) -> tuple[str, str]:
    """Split what begins with an answer: the first line, or a formula or fence of several lines; and the rest."""
    for opening, closing in _BLOCKS:
        if tail.startswith(opening):
            inside, closed, rest = tail[len(opening) :].partition(closing)
            if closed and "\n" in inside:
                return inside, rest
    line, end, rest = tail.partition("\n")
    return line, end + rest


def argument(text: str, start: int) -> tuple[str, int] | None:
    """Read a LaTeX argument in braces, which may hold others, and where it ends; None: it never does.

    Example:
        >>> argument("{a{b}\\\\}}c", 0)
        ('a{b}\\\\}', 8)
    """
    depth, at = 0, start
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        depth += (text[at] == "{") - (text[at] == "}")
        at += 1
        if not depth:
            return text[start + 1 : at - 1], at
    return None

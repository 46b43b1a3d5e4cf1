"""Where a rationale states its answer: after the last answer phrase, or in a last line that is nothing but the answer.

A phrase under a condition ("if the answer is …"), under a denial ("I do not think the answer is …"), in somebody else's
mouth ("some say the answer is …") or in a question states nothing; nor does one that the next sentences take back.
"""

import re
from dataclasses import dataclass
from typing import Literal

_MARKER = re.compile(
    r"(?P<phrase>\b(?:answer(?: choice| option)?|correct (?:option|choice))[ *_]{0,3}"
    r"(?:is|:|=|must be|should be)[ *_:]{0,4})"
    r"|(?P<boxed>\\boxed *\{)|(?P<tag><answer>)|####",
    re.IGNORECASE,
)
_SAYS = r"(?:think|believe|say|claim|mean|conclude|suggest|argue)(?:s|ed|ing)?"
_THE = r"(?:that\s+)?(?:\w+\s+){0,2}\Z"
_DOUBT = re.compile(
    r"\b(?:if|whether|suppose|supposing|assume|assuming|unless|had|were|pretend|imagine)\b[^.,;:!?\n]*\Z"
    rf"|(?:\b(?:not|cannot|nobody|never|no one|hardly)|n't)\s+(?:\w+\s+){{0,2}}(?:{_SAYS}\s+{_THE}|that\s+{_THE})"
    rf"|\b(?:wrong|false|untrue|incorrect|unlikely|impossible|doubtful)\s+that\s+{_THE}"
    rf"|\b(?:doubt|no\s+reason\s+to\s+\w+)\s+{_THE}"
    rf"|\b(?:you|one|they|people|some|others|many|everybody)\s+(?:\w+\s+){{0,4}}{_SAYS}\s+{_THE}",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(
    r"[.!?\n][ \n*]*(?:(?:but|oh|well|hmm)[ ,]+)?(?:"
    r"(?:wait|actually|hmm|oops|sorry|scratch that|correction|on second thoughts?|just kidding|no)\b[,.:!\n …]"
    r"|i (?:was|am) (?:wrong|mistaken)|i made a mistake"
    r"|(?:that|this|it)(?: is|'s| was) (?:wrong|incorrect|false|mistaken|impossible|not (?:right|correct|true))"
    r"|(?:that|this|it) (?:cannot|can't|can not|isn't|wasn't) (?:be )?(?:right|correct|true))",
    re.IGNORECASE,
)
_BEFORE = 60
"""Characters before a phrase in which a condition is looked for."""
_LONGEST = 1000
"""An answer is shorter than this; what a model writes is not limited."""
_SENTENCE_END = re.compile(r"[.;?](?=\s|\Z)")
"""Not `!`, which may be a factorial."""
_WRAPPING = " \t*_`$\"'“”‘’"
_DENIAL = re.compile(r"\b(?:not|wrong|incorrect|false|never|impossible|neither|nor|or|and)\b|n't\b|/", re.IGNORECASE)
_REASON = re.compile(r"\b(?:because|since|as|given|for)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """The words that should hold the answer."""

    words: str
    """One sentence, without Markdown or quotation marks around it and without its closing mark."""
    how: Literal["marker", "fallback"]
    """After an answer phrase, or the last line."""


def statement(text: str) -> Statement | None:
    """What the text states as its answer; None: nothing is stated.

    Example:
        >>> statement("Iron is magnetic. So the answer is **(B) iron**. The others are not.").words
        '(B) iron'
    """
    marks = reversed(list(_MARKER.finditer(text)))
    last = next((m for m in marks if not (m["phrase"] and _doubted(text, m.start()))), None)
    if last is None:
        lines = text[-_LONGEST:].strip().splitlines()
        return Statement(_sentence(lines[-1]), "fallback") if lines else None
    tail = text[last.end() : last.end() + _LONGEST]
    if taken_back(tail.lstrip()):
        return None
    if last["boxed"]:
        words = _inside_braces(tail)
    elif last["tag"]:
        words, closed, _ = tail.partition("</")
        words = words if closed else ""
    else:
        words = next((line for line in tail.strip().splitlines() if line), "")
    return Statement(words.strip() if last["boxed"] else _sentence(words), "marker")


def taken_back(rest: str) -> bool:
    """Whether what follows a statement begins a sentence that takes it back: "Wait, …", "That is wrong.".

    Example:
        >>> [taken_back(rest) for rest in ("B. Actually, it is C.", "B. The others are wrong.")]
        [True, False]
    """
    return _TAKEN_BACK.search(rest) is not None


def claim(rest: str) -> str:
    """What follows an answer, up to the reason that is given for it."""
    return _REASON.split(rest, maxsplit=1)[0]


def denied(rest: str) -> bool:
    """Whether what follows an answer takes it back or adds another one: "… is wrong", "… or B"."""
    return _DENIAL.search(claim(rest)) is not None


def _doubted(text: str, start: int) -> bool:
    return _DOUBT.search(text, max(0, start - _BEFORE), start) is not None


def _sentence(line: str) -> str:
    """The first sentence of a line; a question states nothing."""
    line = line.strip(_WRAPPING)
    end = _SENTENCE_END.search(line)
    if end is None:
        return line
    return "" if end[0] == "?" else line[: end.start()].strip(_WRAPPING)


def _inside_braces(text: str) -> str:
    """What stands before the brace that closes; nothing, if none does."""
    depth = 1
    for index, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if not depth:
            return text[:index]
    return ""

"""Where a text states its answer: behind the last mark of one, or in a last line that is nothing but the answer.

Marks are answer phrases ("The answer is"), `\\boxed{…}`, `<answer>…</answer>` and `####`. A phrase under a condition
("if the answer is …"), under a denial ("I do not think the answer is …"), in somebody else's mouth ("some say the
answer is …") or in a question states nothing; nor does one that the next sentences take back.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from star_loop.verifiers.characters import plain_characters
from star_loop.verifiers.languages import doubt, keywords, marker, verb
from star_loop.verifiers.reply import reply
from star_loop.verifiers.sentences import answered, sentences, taken_back
from star_loop.verifiers.wrapping import argument, block, unwrap

ENGLISH = ("en",)
_OPENINGS = ("####", "\\boxed", "\\fbox", "\\framebox", "<answer>", "<Answer>", "<ANSWER>", "<final_answer>")
_BOX = re.compile(r"\\(?:boxed|fbox|framebox)(?![A-Za-z])\s*")
_UNBRACED = re.compile(
    r"\\[dtc]?frac *(?:\{[^{}]*\}|\d) *(?:\{[^{}]*\}|\d)|\\sqrt *(?:\[\w+\])? *(?:\{[^{}]*\}|\w)"
    r"|\\[A-Za-z]+(?:\{[^{}]*\})?"
    r"|[-+]?[0-9]+(?:[.,][0-9]+)*|[A-Za-z]"
)
_CLOSING = re.compile(r"</(?:final_)?answer>", re.IGNORECASE)
_BULLETS = re.compile(r"[\s*_:]*(?:\n[-*] +[^\d\s].*)+")
_BULLET = re.compile(r"\n[-*] +")
_BETWEEN_BOXES = re.compile(r"(?:[\s$,;]|\\[()\[\],;]|\\text *\{ *(?:and|or) *\}|\\quad|and\b|or\b){0,20}")
_NAMED_BETWEEN = re.compile(
    r"[\s$,;\\()\[\]]*(?:,|;|\\text *\{ *(?:and|or) *\}|\\quad|and\b|or\b)[\s$,;\\()\[\]]*(?:(?:and|or)\b[\s$]*)?"
    r"(?P<name>[A-Za-z])(?:_\{?\w\}?)? *= *"
)
_NAME_BEFORE = re.compile(r"(?<![A-Za-z])(?P<name>[A-Za-z])(?:_\{?\w\}?)? *= *\Z")
"""`x=\\boxed{3}$ or $x=\\boxed{4}$` are two values of one unknown."""
_SAYS = r"(?:think|believe|say|claim|mean|conclude|suggest|argue)(?:s|ed|ing)?"
_THE = r"(?:that\s+)?(?:\w+\s+){0,2}\Z"
_DENIED_BEFORE = re.compile(
    rf"(?:\b(?:not|cannot|nobody|never|no one|hardly)|n't)\s+(?:\w+\s+){{0,2}}(?:{_SAYS}\s+{_THE}|that\s+{_THE})"
    rf"|\b(?:wrong|false|untrue|incorrect|unlikely|impossible|doubtful)\s+that\s+{_THE}"
    rf"|\b(?:doubt|no\s+reason\s+to\s+\w+)\s+{_THE}"
    rf"|\b(?:you|one|they|people|some|others|many|everybody)\s+(?:\w+\s+){{0,4}}{_SAYS}\s+{_THE}",
    re.IGNORECASE,
)
_HEADING = re.compile(r"(?:\A|\n)[#>*_\-\s]*(?:the |your |my )?(?:final |correct |right )?\Z", re.IGNORECASE)
_SHORT = re.compile(
    r"[ *_]+(?:[(\[]?[A-Za-z0-9][)\]]?|[-+$]*[0-9][0-9.,]*[%$]?|yes|no|true|false)[ .!*_]*", re.IGNORECASE
)
"""An answer behind a noun at the beginning of a line, with nothing between them: `Answer B`."""
_NAME = 12
"""Characters of a name and a sign before a box."""
_BEFORE = 60
"""Characters before a phrase in which a condition is looked for."""
_LONGEST = 1000
"""An answer is shorter than this; what a model writes is not limited."""


@dataclass(frozen=True, slots=True)
class Statement:
    """Words that should hold the answer, and where they stand."""

    line: str
    """All that is stated: a line, or what stands in a box or a tag; without wrappers and closing period."""
    how: Literal["marker", "fallback"]
    """Behind a mark, or the last line."""
    reply: str
    """The part of the text that counts."""
    mark: str
    """What marks the answer: `The answer is`, `####`, `\\boxed`, `<answer>`, or nothing."""
    before: str = ""
    """What stands before a box or tag in its paragraph."""
    after: str = ""
    """What stands behind a box or tag in its line."""
    rest: str = ""
    """All that stands behind the statement."""

    @property
    def sentences(self) -> list[str]:
        """Return its sentences and clauses; a question states nothing, and is empty."""
        return sentences(self.line)

    @property
    def later(self) -> list[str]:
        """Return what may state a second answer: the line's other sentences, and the lines behind it."""
        return [answered(clause) for clause in (*self.sentences[1:], *self.rest.splitlines())]

    @property
    def reading(self) -> Mapping[str, str]:
        """Return what each stage left of the text."""
        return {"reply": self.reply, "mark": self.mark or "(the last line)", "statement": self.line}


def statement(text: str, phrases: tuple[str, ...] = ENGLISH, *, thinking: bool = False) -> Statement | None:
    """Find what the text states as its answer; None: nothing is stated.

    Example:
        >>> statement("Iron is magnetic. So the answer is **(B) iron**. The others are not.").sentences
        ['(B) iron', 'The others are not']
    """
    counted = reply(text, thinking=thinking)
    found = next(_marks(counted, phrases), None)
    if found is None:
        lines = counted[-_LONGEST:].strip().splitlines()
        return Statement(unwrap(plain_characters(lines[-1])), "fallback", counted, "") if lines else None
    mark, start, end = found
    if mark == "box":
        words, start, end = _boxes(counted, start)
        mark, tail = "\\boxed", counted[end : end + _LONGEST]
        rest = tail
    else:
        tail = counted[end : end + _LONGEST]
        words = _tagged(tail) if mark.startswith("<") else _phrased(tail, phrases)
        rest = _CLOSING.sub("", tail[max(0, tail.find(words)) + len(words) :], count=1)
    line = unwrap(plain_characters(words))
    if taken_back(tail.lstrip()):
        return None
    touchable = mark in _OPENINGS and mark != "####"
    before = counted[max(0, start - _LONGEST) : start].rpartition("\n\n")[2] if touchable else ""
    after = rest.partition("\n")[0] if touchable else ""
    return Statement(line, "marker", counted, mark, before, after, rest)


def _marks(text: str, phrases: tuple[str, ...]) -> Iterator[tuple[str, int, int]]:
    """(mark, start, end) of every mark that states something, the last one first."""
    pattern, places = marker(phrases), {}
    for keyword in (*_OPENINGS, *keywords(phrases)):
        if (at := text.rfind(keyword)) >= 0:
            places[keyword] = at
    while places:
        keyword = max(places, key=places.__getitem__)
        at = places[keyword]
        if keyword in _OPENINGS:
            yield "box" if keyword[0] == "\\" else keyword, at, at + len(keyword)
        elif (match := pattern.match(text, at)) and _states(text, match, phrases):
            yield match[0].strip(" *_"), at, match.end()
        before = text.rfind(keyword, 0, at)
        places = places | {keyword: before} if before >= 0 else {k: v for k, v in places.items() if k != keyword}


def _states(text: str, match: re.Match[str], phrases: tuple[str, ...]) -> bool:
    start, lead = match.start(), max(0, match.start() - _BEFORE)
    lead = max(lead, *(text.rfind(mark, lead, start) + 1 for mark in ".?!"))
    if not (match["own"] or match["join"]):
        rest = text[match.end() : match.end() + _BEFORE].partition("\n")
        last = verb(phrases)
        if not (last and last.search(rest[0])):  # a heading, alone in its line
            begins = _HEADING.search(text, lead, start) is not None
            return begins and ((bool(rest[1]) and not rest[0].strip(" *_#")) or _SHORT.fullmatch(rest[0]) is not None)
    return not (doubt(phrases).search(text, lead, start) or _DENIED_BEFORE.search(text, lead, start))


def _boxes(text: str, start: int) -> tuple[str, int, int]:
    """(the content of the box that begins here, and of those right before it; where they begin; where it ends)"""
    content, end = _box(text, start)
    boxes = [content]
    for match in reversed(list(_BOX.finditer(text, max(0, start - _LONGEST), start))):
        earlier, its_end = _box(text, match.start())
        if not _joined(text, match.start(), its_end, start):
            break
        boxes, start = [earlier, *boxes], match.start()
    return ", ".join(boxes) if len(set(boxes)) > 1 else content, start, end


def _joined(text: str, earlier: int, its_end: int, start: int) -> bool:
    """Tell whether two boxes state one answer together."""
    if _BETWEEN_BOXES.fullmatch(text, its_end, start):
        return True
    between, before = (
        _NAMED_BETWEEN.fullmatch(text, its_end, start),
        _NAME_BEFORE.search(text, earlier - _NAME, earlier),
    )
    return between is not None and before is not None and between["name"] == before["name"]


def _box(text: str, start: int) -> tuple[str, int]:
    match = _BOX.match(text, start)
    at = match.end() if match else start
    if text.startswith("{", at):
        found = argument(text[at : at + _LONGEST], 0)
        return (found[0], at + found[1]) if found else ("", at)
    bare = _UNBRACED.match(text, at)
    return (bare[0], bare.end()) if match and bare else ("", at)


def _tagged(tail: str) -> str:
    closing = _CLOSING.search(tail)
    return tail[: closing.start()] if closing else ""


def _phrased(tail: str, phrases: tuple[str, ...]) -> str:
    """Return what stands behind a phrase, without a verb that comes last."""
    bullets = _BULLETS.match(tail)
    found = _BULLET.sub("\n", bullets[0]) if bullets else block(tail.lstrip(" \t\r\n:*_>"))[0]
    line = _CLOSING.split(found, maxsplit=1)[0]
    if line.count("}") > line.count("{"):  # `\\textbf{Answer: C}`
        line = line.rstrip("}$ ")
    last = verb(phrases)
    return last.sub("", line) if last else line

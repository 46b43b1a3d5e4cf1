"""The normalised text or number after an answer marker, as in GSM8K's `#### 72`."""

import re
from functools import lru_cache

from pydantic import Field

from star_loop.protocols import Verifier
from star_loop.records import How, Observation, Verdict
from star_loop.verifiers.characters import plain_characters
from star_loop.verifiers.numbers import plain_number, value_of
from star_loop.verifiers.reply import reply
from star_loop.verifiers.sentences import another_number, taken_back
from star_loop.verifiers.units import same_currency, same_quantity
from star_loop.verifiers.wrapping import block, unwrap

_VALUED = re.compile(r"[%/\\¼-¾⅐-⅞]|cent")
"""In what may be a percentage or a fraction."""
_INITIALS = re.compile(r"(?<![^\W_])([^\W\d_]\.) (?=[^\W\d_]\.)")
"""Two initials, which are written with a space between them or without."""
_AFTER_INITIALS = re.compile(r"((?:(?<![^\W_])|(?<=\.))[^\W\d_]\.)(?=[^\W\d_]{2})")


@lru_cache(maxsize=1 << 12)
def normalise(answer: str) -> str:
    """Write an answer in its one spelling: numbers in plain decimal, text in lower case with single spaces.

    Numbers are compared as written, digit by digit: no rounding, and no limit to their length.

    Example:
        >>> [normalise(a) for a in ("1,000.", "+08.50", "-0", "$5", "  New\\tYork. ", "**13.20%**", "J. R. R. Tolkien")]
        ['1000', '8.5', '0', '5', 'new york', '13.2%', 'j.r.r. tolkien']
    """
    before, text = None, answer
    while text != before:
        before, text = text, _once(text)
    return text


def _once(answer: str) -> str:
    text = _bare(answer).casefold().replace(" °", "°")
    return plain_number(text) or _AFTER_INITIALS.sub(r"\1 ", _INITIALS.sub(r"\1", text)).rstrip(". ")


@lru_cache(maxsize=1 << 12)
def _bare(answer: str) -> str:
    return " ".join(unwrap(plain_characters(answer)).split())


_FAR = 1000
"""Characters behind an answer in which it may be taken back."""


class Exact(Verifier):
    """Correct: what follows the last marker, up to the end of its line, is the gold answer in another spelling at most.

    Spelling is case, spaces, trailing periods, thousands separators, leading and trailing zeros, `+`, `-0`, a currency
    sign, the script of the digits, words for digits, quotation marks, and Markdown or LaTeX around the answer. A
    percentage is its value (`13.2%` is 0.132), not the number before its `%`, and a fraction is its value (`1 1/2` is
    1.5) unless that is a whole number. The currency must be one that the gold answer or the question names, if any is
    named.

    Example:
        >>> gold = Observation(id="1", question="How many metres are a kilometre?", answer="1000")
        >>> Exact().judge(gold, "A kilometre is 1,000 metres.\\n#### 1,000.").correct
        True
    """

    marker: str | None = Field(default="####", min_length=1)
    """What the answer stands behind; None: the whole text is the answer."""
    units: bool = False
    """Whether words behind a number (`72 clips`, `29 dollars`) are its unit, which may be missing on either side: the
    scoring of GSM8K. Words that change the value (`5 million`, `5 pm`, `5 or 6`, `5 is wrong`) always count."""
    thinking: bool = False
    """Whether a marker inside finished thinking (`<think>…</think>`) counts too."""

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Compare what follows the last marker with the gold answer."""
        counted = reply(text, thinking=self.thinking)
        found, rest = self._extract(counted)
        if found is None:
            return Verdict(answer=None, correct=False, how=How.NO_MARKER, reading={"reply": counted})
        answer = normalise(found)
        reading = {
            "reply": counted,
            "mark": self.marker or "(the whole text)",
            "statement": found,
            "normalised": answer,
        }
        if not answer or taken_back(rest[:_FAR]) or another_number(answer, rest[:_FAR]):
            how = "taken back" if answer else "empty answer"
            return Verdict(answer=None, correct=False, how=how, reading=reading)
        words, stated = _bare(observation.answer), _bare(found)
        equal = answer == normalise(observation.answer) or _same_value(words, stated)
        equal = equal or (self.units and same_quantity(words, stated, observation.question))
        correct = equal and same_currency(words, stated, observation.question)
        return Verdict.compared(answer, correct, "marker" if self.marker else "whole text", reading=reading)

    def statement(self, observation: Observation) -> str:
        """Return the answer behind the marker."""
        return observation.answer if self.marker is None else f"{self.marker} {observation.answer}"

    def instruction(self, observation: Observation) -> str:
        """Ask for the marker; where there is none, for nothing."""
        return "" if self.marker is None else f'Think step by step. End with "{self.marker} " and the answer.'

    def _extract(self, text: str) -> tuple[str | None, str]:
        """(the line behind the marker, the lines after it)"""
        if self.marker is None:
            return text, ""
        _, marker, tail = text.rpartition(self.marker)
        found, rest = block(tail.strip())
        return (found if marker else None), rest


def _same_value(gold: str, answer: str) -> bool:
    """Tell whether a percentage or a fraction is written in another way; `10/5` for 2 may be something else."""
    if not _VALUED.search(gold + answer):
        return False
    one, other = value_of(gold), value_of(answer)
    return one is not None and one == other and (one.denominator > 1 or "/" not in gold + answer)

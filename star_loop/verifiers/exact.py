"""The normalised text or number after an answer marker, as in GSM8K's `#### 72`."""

import re
import unicodedata

from pydantic import Field

from star_loop.protocols import Verifier
from star_loop.records import Observation, Verdict
from star_loop.verifiers.statement import taken_back

_NUMBER = re.compile(r"([+-]?)([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:\.([0-9]*))?")
_SIGNS = str.maketrans({"−": "-", "﹣": "-", "－": "-", "＋": "+"})
_CURRENCIES = "$€£¥"


def normalise(answer: str) -> str:
    """The one spelling of an answer: numbers in plain decimal, text in lower case with single spaces.

    Numbers are compared as written, digit by digit: no rounding, and no limit to their length.

    Example:
        >>> [normalise(a) for a in ("1,000.", "+08.50", "-0", "$5", "  New\\tYork. ")]
        ['1000', '8.5', '0', '5', 'new york']
    """
    text = " ".join("".join(map(_ascii_digit, answer.translate(_SIGNS))).casefold().split())
    return _number(text.rstrip(".").lstrip(_CURRENCIES).strip()) or text.rstrip(". ")


def _ascii_digit(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)


def _number(text: str) -> str | None:
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        return None
    sign, whole, fraction = match[1], (match[2] or "").replace(",", "").lstrip("0"), (match[3] or "").rstrip("0")
    if not whole and not fraction:
        return "0"
    return ("-" if sign == "-" else "") + (whole or "0") + (f".{fraction}" if fraction else "")


class Exact(Verifier):
    """Correct: what follows the last marker, up to the end of its line, is the gold answer in another spelling at most.

    Spelling is case, spaces, trailing periods, thousands separators, leading and trailing zeros, `+`, `-0`, a currency
    sign and the script of the digits.

    Example:
        >>> gold = Observation(id="1", question="How many metres are a kilometre?", answer="1000")
        >>> Exact().judge(gold, "A kilometre is 1,000 metres.\\n#### 1,000.").correct
        True
    """

    marker: str | None = Field(default="####", min_length=1)
    """What the answer stands behind; None: the whole text is the answer."""

    def statement(self, observation: Observation) -> str:
        """Return the answer behind the marker."""
        return observation.answer if self.marker is None else f"{self.marker} {observation.answer}"

    def instruction(self, observation: Observation) -> str:
        """Ask for the marker; where there is none, for nothing."""
        return "" if self.marker is None else f'Think step by step. End with "{self.marker} " and the answer.'

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Compare what follows the last marker with the gold answer."""
        found, rest = self._extract(text)
        if found is None:
            return Verdict(answer=None, correct=False, how="no answer marker")
        if taken_back(rest):
            return Verdict(answer=None, correct=False, how="taken back")
        answer = normalise(found)
        if not answer:
            return Verdict(answer=None, correct=False, how="empty answer")
        correct = answer == normalise(observation.answer)
        how = "whole text" if self.marker is None else "marker"
        return Verdict.compared(answer, correct, how)

    def _extract(self, text: str) -> tuple[str | None, str]:
        """(the line behind the marker, the lines after it)"""
        if self.marker is None:
            return text, ""
        _, marker, tail = text.rpartition(self.marker)
        found, end, rest = tail.strip().partition("\n")
        return (found if marker else None), end + rest

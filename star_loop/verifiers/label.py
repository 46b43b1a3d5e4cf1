"""The verifiers of questions whose answer is one of a few words."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from star_loop.protocols import Verifier
from star_loop.records import Observation, Verdict
from star_loop.verifiers.statement import claim, denied, statement

_ENCLOSED = re.compile(r"\A\(([^()]*)\)(.*)\Z")
_REASON = re.compile(r"\s*(?:[,:!)\]–—-]|\((?!or\b)|(?:because|since|as|given|for)\b|\Z)")


class Label(Verifier):
    """Correct: the label that the text states is the gold one. Other words than the labels state nothing.

    Example:
        >>> mood = Label(labels={"positive": ("good",), "negative": ("bad",)})
        >>> asked = Observation(id="1", question="Lovely!", answer="positive")
        >>> [mood.judge(asked, f"The answer is {a}.").correct for a in ("Good", "positive or negative", "not bad")]
        [True, False, False]
    """

    labels: Annotated[Mapping[str, tuple[str, ...]], Field(min_length=2)]
    """Each label with the other spellings that mean it; case does not matter."""

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Compare the stated label with the gold one; `answer` is the label as configured."""
        stated = statement(text)
        found = self.read(stated.words, alone=stated.how == "fallback") if stated else None
        if stated is None or found is None:
            return Verdict(answer=None, correct=False, how="no answer")
        correct = found == self.read(observation.answer)
        return Verdict.compared(found, correct, stated.how)

    def statement(self, observation: Observation) -> str:
        """Return a sentence with the gold label."""
        return f"The answer is {self.read(observation.answer) or observation.answer}."

    def instruction(self, observation: Observation) -> str:
        """Ask for one of the labels."""
        return f'Think step by step. End with "The answer is X.", where X is {" or ".join(self.labels)}.'

    def read(self, words: str, *, alone: bool = False) -> str | None:
        """The label that these words begin with, followed by nothing or by a reason; None: no label, or two.

        `alone`: nothing may follow.
        """
        words = _ENCLOSED.sub(r"\1\2", " ".join(words.casefold().split())).rstrip(".!")
        spelt = {s.casefold(): label for label, others in self.labels.items() for s in (label, *others)}
        for spelling in sorted(spelt, key=len, reverse=True):
            if words.startswith(spelling) and (reason := _REASON.match(words, len(spelling))):
                if alone and reason.end() < len(words):
                    return None
                rest = claim(words[reason.start() :])
                others = [s for s, label in spelt.items() if label != spelt[spelling]]
                doubtful = any(re.search(rf"(?<!\w){re.escape(s)}(?!\w)", rest) for s in others)
                return None if doubtful or denied(rest) else spelt[spelling]
        return None


class YesNo(Label):
    """`Label` for yes/no questions; `true` and `false` count as yes and no."""

    labels: Mapping[str, tuple[str, ...]] = {"yes": ("true",), "no": ("false",)}
    """Label -> other words for it."""

"""The verifiers of questions whose answer is one of a few words."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from star_loop.records import Observation
from star_loop.verifiers.characters import plain_characters
from star_loop.verifiers.languages import any_of, follows
from star_loop.verifiers.sentences import claim, denied, reason
from star_loop.verifiers.stated import Stated
from star_loop.verifiers.statement import Statement
from star_loop.verifiers.wrapping import unwrap, without_emphasis

_ENCLOSED = re.compile(r"\A[(\[]([^()\[\]]*)[)\]](.*)\Z", re.DOTALL)
_NOT_SO = re.compile(
    r"\A[,:–—-]? *(?:it|they|he|she|there|we|you) (?:(?:is|are|was|were|do|does|did|can|could|will|has|have) not|cannot"
    r"|\w+n['’]t)\b(?: (?:true|so)\b)?"
)
"""It says once more what `no` says."""
_SENTENCE_END = re.compile(r"([.;!?])(?=\s|\Z)")


class Label(Stated):
    """Correct: the label that the text states is the gold one. Other words than the labels state nothing.

    Example:
        >>> mood = Label(labels={"positive": ("good",), "negative": ("bad",)})
        >>> asked = Observation(id="1", question="Lovely!", answer="positive")
        >>> [mood.judge(asked, f"The answer is {a}.").correct for a in ("Good", "positive or negative", "not bad")]
        [True, False, False]
    """

    labels: Annotated[Mapping[str, tuple[str, ...]], Field(min_length=2)]
    """Each label with the other spellings that mean it; case does not matter."""

    def read(self, stated: Statement, observation: Observation) -> str | None:
        """Return the label as configured; a second, different one behind it leaves none."""
        found = self.label(stated.line, alone=stated.how == "fallback")
        others = {self.label(clause, alone=True) for clause in stated.later}
        return found if others <= {None, found} else None

    def compare(self, answer: str, observation: Observation) -> str:
        """Compare with the gold label."""
        return "equal" if answer == self.label(observation.answer) else "different"

    def statement(self, observation: Observation) -> str:
        """Return a sentence with the gold label."""
        return f"The answer is {self.label(observation.answer) or observation.answer}."

    def instruction(self, observation: Observation) -> str:
        """Ask for one of the labels."""
        return f'Think step by step. End with "The answer is X.", where X is {" or ".join(self.labels)}.'

    def label(self, words: str, *, alone: bool = False) -> str | None:
        """Read the label that some words begin with, followed by nothing or by a reason; None: no label, or two.

        `alone`: nothing may follow.
        """
        words = " ".join(without_emphasis(unwrap(plain_characters(words))).casefold().split())
        words = unwrap(_ENCLOSED.sub(r"\1\2", words)).rstrip("!")
        spelt = {s.casefold(): label for label, others in self.labels.items() for s in (label, *others)}
        if alone or words in spelt:
            return spelt.get(words)
        first, mark, rest = _SENTENCE_END.split(words, maxsplit=1) if _SENTENCE_END.search(words) else (words, "", "")
        found = None if mark == "?" else self._begins(first, spelt)
        later = {spelt.get(unwrap(sentence)) for sentence in _SENTENCE_END.split(rest)[::2]}
        return found if later <= {None, found} else None

    def _begins(self, sentence: str, spelt: Mapping[str, str]) -> str | None:
        """Return the label that a sentence begins with, unless it goes on with another one or takes it back."""
        for spelling in sorted(spelt, key=len, reverse=True):
            if sentence.startswith(spelling) and (behind := follows(self.phrases).match(sentence, len(spelling))):
                rest = self._without_echo(spelt[spelling], claim(sentence[behind.start() :]))
                others = any_of(other for other, label in spelt.items() if label != spelt[spelling])
                doubtful = re.search(rf"(?<!\w)(?:{others})(?!\w)", rest) or re.match(
                    rf"(?:{others})\W*(?:[,.;!]|\Z)", reason(sentence[behind.start() :])
                )
                return None if doubtful or denied(rest) else spelt[spelling]
        return None

    def _without_echo(self, label: str, rest: str) -> str:
        """Take out of what follows a label what only says it again."""
        return rest


class YesNo(Label):
    """`Label` for yes/no questions; `true` and `false` count as yes and no."""

    labels: Mapping[str, tuple[str, ...]] = {"yes": ("true",), "no": ("false",)}
    """Label -> other words for it."""

    def _without_echo(self, label: str, rest: str) -> str:
        return _NOT_SO.sub("", rest) if label == "no" else rest

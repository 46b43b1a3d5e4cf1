"""The verifier of lettered options: anchored on where the answer is stated."""

import re
from collections.abc import Sequence

from star_loop.protocols import Verifier
from star_loop.records import Observation, Verdict
from star_loop.verifiers.exact import normalise
from star_loop.verifiers.statement import claim, denied, statement

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SIGN = r"(?P<sign>[A-Za-z]|[1-9][0-9]?)"
_ENCLOSED = re.compile(rf"(?:(?:option|choice) *)?\({_SIGN}\)(?P<rest>.*)", re.DOTALL | re.IGNORECASE)
_BARE = re.compile(
    rf"(?:(?:option|choice) *)?{_SIGN}(?:(?:[).:]| +[-–—](?= )) *(?P<rest>.*))?", re.DOTALL | re.IGNORECASE
)
_BEHIND = re.compile(rf"(?P<text>.+?) *\({_SIGN}\)", re.DOTALL)
_ANOTHER = re.compile(r"\((?:[A-Za-z]|[1-9][0-9]?)\)")


class MultipleChoice(Verifier):
    """Correct: the option that the text states is the gold one, be it by letter, by number or by its own words.

    Letter and words that name two options state none; nor does "(A) or (B)", "not (A)", "(A) is wrong", or the article
    "a". The gold answer may be a letter, a number from 1, or an option's words. Where two options have the same words,
    only the letter tells them apart.

    Example:
        >>> asked = Observation(id="1", question="Magnetic?", answer="B", choices=("wood", "iron"))
        >>> [MultipleChoice().judge(asked, f"The answer is {a}.").correct for a in ("(B)", "iron (b)", "a metal")]
        [True, True, False]
    """

    def judge(self, observation: Observation, text: str) -> Verdict:
        """Compare the stated option with the gold one; `answer` is a letter."""
        stated = statement(text)
        found = read_choice(stated.words, observation.choices, alone=stated.how == "fallback") if stated else None
        if stated is None or found is None:
            return Verdict(answer=None, correct=False, how="no answer")
        correct = found == read_choice(observation.answer, observation.choices)
        return Verdict.compared(LETTERS[found], correct, stated.how)

    def statement(self, observation: Observation) -> str:
        """Return a sentence with the gold option's letter."""
        index = read_choice(observation.answer, observation.choices)
        return f"The answer is {observation.answer if index is None else f'({LETTERS[index]})'}."

    def instruction(self, observation: Observation) -> str:
        """Ask for the letter."""
        return 'Think step by step. End with "The answer is (X)." and the letter of the right option for X.'


def read_choice(words: str, choices: Sequence[str], *, alone: bool = False) -> int | None:
    """The option, counted from 0, that these words name; None: none, or more than one.

    `alone`: nothing but letter and option may stand there, no "(A), because …".

    Example:
        >>> [read_choice(w, ("2", "4")) for w in ("A", "(2)", "4", "2 (B)", "(A) or (B)")]
        [0, 0, 1, None, None]
    """
    words, texts = words.replace("**", "").strip(), [normalise(choice) for choice in choices]
    if match := _ENCLOSED.fullmatch(words) or _BARE.fullmatch(words):
        index = _index(match["sign"], texts)
        return index if index is not None and _fits(match["rest"] or "", index, texts, alone) else None
    if match := _BEHIND.fullmatch(words):
        index = _index(match["sign"], texts)
        return index if index is not None and texts[index] == normalise(match["text"]) else None
    letter, _, rest = words.partition(" ")
    index = _index(letter, texts) if letter.isalpha() else None
    if index is not None and texts[index] == normalise(rest):
        return index
    return _by_text(words, texts)


def _index(sign: str, texts: Sequence[str]) -> int | None:
    """A letter is a place; a number is an option's own words if it is any, else a place."""
    if sign.isdigit():
        by_text = _by_text(sign, texts)
        index = by_text if by_text is not None or sign in texts else int(sign) - 1
    else:
        index = LETTERS.find(sign.upper()) if len(sign) == 1 else -1
    return index if index is not None and 0 <= index < len(texts) else None


def _by_text(words: str, texts: Sequence[str]) -> int | None:
    wanted = normalise(words)
    same = [index for index, text in enumerate(texts) if text == wanted and text]
    return same[0] if len(same) == 1 else None


def _fits(rest: str, index: int, texts: Sequence[str], alone: bool) -> bool:
    """Whether what follows the letter leaves it the stated answer."""
    text = normalise(rest.strip(" :.,)-–—"))
    if not text or text == texts[index]:
        return True
    return not alone and text not in texts and not _ANOTHER.search(claim(rest)) and not denied(rest)

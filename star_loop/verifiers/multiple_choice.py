"""The verifier of lettered options: anchored on where the answer is stated."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from star_loop.records import Observation
from star_loop.verifiers.characters import plain_characters
from star_loop.verifiers.exact import normalise
from star_loop.verifiers.languages import any_of, follows
from star_loop.verifiers.numbers import plain_number
from star_loop.verifiers.sentences import answered, claim, denied, reason
from star_loop.verifiers.stated import Stated
from star_loop.verifiers.statement import ENGLISH, Statement, statement
from star_loop.verifiers.wrapping import unwrap, without_emphasis

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SIGN = r"(?P<sign>[A-Za-z]|[1-9][0-9]?)"
_OPTION = r"(?:(?:the +)?(?:option|choice|letter) *)?"
_ENCLOSED = re.compile(rf"{_OPTION}[(\[{{]{_SIGN}[)\]}}](?P<rest>.*)", re.DOTALL | re.IGNORECASE)
_BARE = re.compile(
    rf"{_OPTION}{_SIGN}(?:(?:[).:,]| +[-–—](?= )) *(?P<rest>.*)|(?P<reason>\W.*))?", re.DOTALL | re.IGNORECASE
)
_BEHIND = re.compile(rf"(?P<text>.+?) *\({_SIGN}\)", re.DOTALL)
_LETTER = re.compile(r"(?<![\w'])\(?([A-Z])\)?(?![\w'])|\(([a-z1-9])\)")
_WHICH = re.compile(r"\A\s*(?:which is|which|that is|i\.e\.)(?!\w)", re.IGNORECASE)
_SURE = re.compile(r"\A(?:(?:clearly|definitely|certainly|surely|obviously|i think|i believe)\b[ ,]*)+", re.IGNORECASE)
_HEDGED = re.compile(
    r"\b(?:or|and|but|maybe|perhaps|possibly|also|even|alternatively|rather|instead|later|would|could|may|might|seems|too"
    r"|as well|plausible|possible|acceptable)\b",
    re.IGNORECASE,
)
"""It leaves open, in a last line without a mark, whether that is the answer."""
_BEFORE_WORDS = re.compile(
    r"\A[\W_]*(?:(?:which|that|(?:because|since|as) (?:it|this|that))(?: is|'s)\b[\W_]*|i\.e\.[\W_]*)?"
    r"(?:(?:as well as|the|an|a)\b[\W_]*)*",
    re.IGNORECASE,
)
"""What may stand between a letter and the words of its option."""
_LEADING_NUMBER = re.compile(r"[-+]?[$€£]?[0-9][0-9.,/]*")
_LONGEST = 1000
"""Characters of a statement that are read."""
_NOT_ANOTHER = re.compile(
    r"(?:and |but )?\b(?:not|rather than|instead of|unlike) +(?:option |choice )?\(?([A-Z])\)?(?!\w)"
)
_CONTRAST = re.compile(
    r"\b(?:not|no|never|cannot|wrong|incorrect|false|fails?|neither|nor|only|too|less|unlike|impossible|without|lacks?"
    r"|hardly|rather|ruled|eliminated?|excluded?|bad|poor|would|if)\b|n['’]t\b",
    re.IGNORECASE,
)
"""A reason that begins with another option says with one of these words why it is none."""
_SUBJECT = re.compile(r"\(?(?P<letter>[A-Z])\)?(?= *(?:[.,;]|\Z|and\b|is\b|are\b|was\b|also\b|too\b|works?\b|fits?\b))")
_ARTICLE = re.compile(r"\A(?:the|an?) +(?=\w)")
_IS_SO = re.compile(r"\W*(?:\Z|(?:is|are|was|were|has|have|can|fits?|works?|does|do)\b)")
_IS = re.compile(r"\A *(?:is|are|was) +(?:(?:the|an|a) +)?")
_ALSO_RIGHT = re.compile(
    r"\(?\b([B-Z])\)? (?:is|are|was|works|seems)(?: also| too| equally| just as)? *"
    r"(?:right|correct|possible|valid|true|too|also)\b"
)
_INITIALS = re.compile(r"[A-Z]\. ?(?:[A-Z]\. ?)*[A-Z][a-z]")
_SHIELDED = {".": "\ue000", ";": "\ue001", "?": "\ue002", "!": "\ue003"}
_SHIELD, _UNSHIELD = str.maketrans(_SHIELDED), str.maketrans({shield: mark for mark, shield in _SHIELDED.items()})
_INNER = re.compile(r"[.;?!](?=\s|\Z)|(?<![^\W_])[^\W\d_]\.")
"""What could end a sentence or be a letter by itself, inside an option's words."""


class MultipleChoice(Stated):
    """Correct: the option that the text states is the gold one, be it by letter, by number or by its own words.

    Letter and words that name two options state none; nor does "(A) or (B)", "A; B", "not (A)", "(A) is wrong", or the
    article "a". The gold answer may be a letter, a number from 1, or an option's words. Where two options have the same
    words, only the letter tells them apart.

    Example:
        >>> asked = Observation(id="1", question="Magnetic?", answer="B", choices=("wood", "iron"))
        >>> [MultipleChoice().judge(asked, f"The answer is {a}.").correct for a in ("(B)", "iron (b)", "a metal")]
        [True, True, False]
    """

    def read(self, stated: Statement, observation: Observation) -> str | None:
        """Return the letter of the option; a second, different one behind it leaves none."""
        choices = observation.choices
        first = _SURE.sub("", stated.sentences[0].translate(_UNSHIELD), count=1)
        if stated.how == "fallback" and not _HEDGED.search(first):
            first = answered(first)
        found = read_choice(first, choices, alone=stated.how == "fallback", phrases=self.phrases)
        others = {read_choice(clause.translate(_UNSHIELD), choices, alone=True) for clause in stated.later}
        if found is None or _is_another_number(first, choices):
            return None
        return LETTERS[found] if others <= {None, found} else None

    def find(self, text: str, observation: Observation) -> Statement | None:
        """Return where the text states its answer, whatever marks the options have in them."""
        options = _marked(observation.choices)
        if options is None:
            return super().find(text, observation)
        stated = statement(
            options.sub(lambda option: option[0].translate(_SHIELD), text), self.phrases, thinking=self.thinking
        )
        return replace(stated, reply=stated.reply.translate(_UNSHIELD)) if stated else None

    def compare(self, answer: str, observation: Observation) -> str:
        """Compare with the gold option."""
        gold = read_choice(observation.answer, observation.choices)
        return "equal" if gold is not None and LETTERS[gold] == answer else "different"

    def statement(self, observation: Observation) -> str:
        """Return a sentence with the gold option's letter."""
        index = read_choice(observation.answer, observation.choices)
        return f"The answer is {observation.answer if index is None else f'({LETTERS[index]})'}."

    def instruction(self, observation: Observation) -> str:
        """Ask for the letter."""
        return 'Think step by step. End with "The answer is (X)." and the letter of the right option for X.'


@lru_cache(maxsize=4096)
def _marked(choices: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return the options with a mark inside that could end a sentence, as in `St. Louis` or `J.R.R. Tolkien`."""
    plain = [choice.strip().rstrip(".") for choice in choices]
    marked = [choice for choice in plain if len(choice) > 1 and _INNER.search(choice)]
    if not marked:
        return None
    options = any_of(marked).replace(r"\.\ ", r"\.").replace(r"\.", r"\.?\s?")
    return re.compile(rf"(?<![^\W_])(?:{options})(?![^\W_])", re.IGNORECASE)


@lru_cache(maxsize=4096)
def _texts(choices: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(normalise(choice) for choice in choices)


def read_choice(
    words: str, choices: Sequence[str], *, alone: bool = False, phrases: tuple[str, ...] = ENGLISH
) -> int | None:
    """Return the option, counted from 0, that these words name; None: none, or more than one.

    `alone`: nothing but letter and option may stand there, no "(A), because …".

    Example:
        >>> [read_choice(w, ("2", "4")) for w in ("A", "(2)", "4", "2 (B)", "(A) or (B)", "B because")]
        [0, 0, 1, None, None, 1]
    """
    return _read_choice(words[:_LONGEST], tuple(choices), alone, phrases)


@lru_cache(maxsize=1 << 14)
def _read_choice(words: str, choices: tuple[str, ...], alone: bool, phrases: tuple[str, ...]) -> int | None:
    words, texts = without_emphasis(unwrap(plain_characters(words))), _texts(choices)
    match, whole = _ENCLOSED.fullmatch(words) or _BARE.fullmatch(words), _by_text(words, texts)
    if whole is not None and not (match and words in (match["sign"], f"({match['sign']})")):
        return whole
    if match and _INITIALS.match(words):
        match = None
    if match:
        index, reason = _index(match["sign"], texts), match.groupdict().get("reason")
        if index is not None and not reason:
            return index if _fits(match["rest"] or "", index, texts, alone) else None
        if index is not None and reason and match["sign"] != "a" and _explains(reason, phrases):
            return index if _fits(reason, index, texts, alone) else None
    if match := _BEHIND.fullmatch(words):
        index = _index(match["sign"], texts)
        return index if index is not None and texts[index] == normalise(match["text"]) else None
    letter, _, rest = words.partition(" ")
    index = _index(letter, texts) if letter.isalpha() else None
    if index is not None and texts[index] == normalise(rest):
        return index
    return None if alone else _by_beginning(words.casefold(), texts, phrases)


def _is_another_number(words: str, choices: Sequence[str]) -> bool:
    """Tell whether the words are a number but no option, where all options are numbers: then it is no place either."""
    number, numbers = plain_number(words.strip("() ")), [plain_number(choice) for choice in choices]
    return number is not None and None not in numbers and number not in numbers


def _by_beginning(words: str, texts: Sequence[str], phrases: tuple[str, ...]) -> int | None:
    """Return the longest option that these words begin with, if a reason for it follows."""
    found = [index for index, text in enumerate(texts) if text and words.startswith(text)]
    index = max(found, key=lambda index: len(texts[index]), default=None)
    if index is None or texts.count(texts[index]) > 1:
        return None
    rest = words[len(texts[index]) :]
    return index if _explains(rest, phrases) and _fits(rest, index, texts, alone=False) else None


def _explains(rest: str, phrases: tuple[str, ...]) -> bool:
    return bool(follows(phrases).match(rest) or _WHICH.match(rest) or _NOT_ANOTHER.match(rest.lstrip()))


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
    """Tell whether what follows the letter leaves it the stated answer."""
    text = normalise(_WHICH.sub("", rest.strip(" :.,)-–—")))
    if not text or text == texts[index]:
        return True
    rest = _NOT_ANOTHER.sub(lambda no: "" if no[1] != LETTERS[index] else no[0], rest)
    if alone or denied(rest) or _has_words_of_another(rest, index, texts) or _reasons_for_another(rest, index, texts):
        return False
    letters = {LETTERS.find((one or other).upper()) for one, other in _LETTER.findall(claim(rest))}
    return not letters & set(range(len(texts))) - {index, LETTERS.index("A"), LETTERS.index("I")}


def _has_words_of_another(rest: str, index: int, texts: Sequence[str]) -> bool:
    """Tell whether what follows a letter begins with another option's words, or with a number that is no option's."""
    words = _BEFORE_WORDS.sub("", rest, count=1).casefold()
    begun = max((text for text in texts if text and words.startswith(text)), key=len, default="")
    if begun and not words[len(begun) :][:1].isalnum():
        return begun != texts[index]
    number = _LEADING_NUMBER.match(words)
    value = plain_number(number[0].rstrip(".,")) if number else None
    return value not in (None, texts[index]) and all(map(plain_number, texts))


def _reasons_for_another(rest: str, index: int, texts: Sequence[str]) -> bool:
    """Tell whether the reason that follows a letter is one for another option: "because glass is magnetic"."""
    if any(index != LETTERS.find(letter) < len(texts) for letter in _ALSO_RIGHT.findall(rest)):
        return True
    given = reason(rest)
    if not given or _CONTRAST.search(given.partition(".")[0]):
        return False
    subject, others = _SUBJECT.match(given), {*range(len(texts))} - {index}
    if subject and LETTERS.find(subject["letter"]) in others:
        said = _IS.sub("", given[subject.end() :])
        return not said.casefold().startswith(texts[LETTERS.find(subject["letter"])] or " ")
    words = _BEFORE_WORDS.sub("", given, count=1).casefold()
    bare = {_ARTICLE.sub("", text): text for text in texts if text}
    begun = max((each for each in bare if words.startswith(each)), key=len, default="")
    return bool(begun) and bare[begun] != texts[index] and _IS_SO.match(words, len(begun)) is not None

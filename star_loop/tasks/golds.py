"""Gold answers and levels in the many ways that data sets write them."""

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Literal

from star_loop.tasks.cells import RowError, kind, plain, text
from star_loop.verifiers.characters import plain_characters
from star_loop.verifiers.exact import normalise
from star_loop.verifiers.multiple_choice import LETTERS
from star_loop.verifiers.numbers import plain_number
from star_loop.verifiers.reply import reply
from star_loop.verifiers.sentences import sentences
from star_loop.verifiers.statement import ENGLISH, Statement, statement
from star_loop.verifiers.units import quantity
from star_loop.verifiers.wrapping import argument, unwrap

Counted = Literal["words", "from 0", "from 1"]
"""What a number means where there are options: an option's words, or its place."""
_NUMBER = re.compile(r"[-+0-9.,]+")
_SCIENTIFIC = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?[eE][-+]?[0-9]{1,3}")
_BEFORE = r"(?:(?:the +)?(?:option|choice|answer|number|no\.?)[ :#]*|#)?[(\[{]?"
_PLACE = re.compile(rf"{_BEFORE}([-+]?[0-9]{{1,3}})(?:\.0+)?[)\]}}]?[.:,)]?", re.IGNORECASE)
_PLACE_AND_WORDS = re.compile(
    rf"{_BEFORE}[0-9]{{1,3}}(?:(?:[)\]}}.:,]+\s*| +-+ +)(?=[^\s0-9])|[)\]}}.:]+\s+)(?P<words>.+)",
    re.IGNORECASE | re.DOTALL,
)
_IN_WORDS = re.compile(r"(?<![^\W_])(?<!\.)-?[0-9]+(?:\.[0-9]+)?|(?<=[A-Za-z])[0-9]+(?:\.[0-9]+)?")
_FRACTION = re.compile(r"[0-9] *[/\u2044] *[0-9]|(?<![\w.])\.[0-9]|[¼-¾⅐-⅟↉]")
_NUMBERED = re.compile(rf"{_BEFORE}[0-9]", re.IGNORECASE)
_QUOTED = re.compile(r"\[\s*'[^'\\]*'(?:[\s,]*'[^'\\]*')*\s*\]")
_END = re.compile(r"[.!?;\n]")
_NEXT_SENTENCE = re.compile(r"\. +[A-Z](?P<surely>[a-z]* [a-z])?")
_WHOLE_WORD = re.compile(r"(?<![^\s(])(?:[^\s.]{3,}|[Nn]o)\Z")
_BOX = re.compile(r"\\(?:boxed|fbox|framebox) *(?:(?=\{)|[-+]?[0-9]+(?:[.,][0-9]+)*)")
_CHANGING = re.compile(
    r"(?:\s|\$|\\[)\] ,;:!])*(?:(?P<percent>\\?%|per ?cent\b)"
    r"|(?:\\text *\{)?\s*(?P<large>hundred|thousand|million|billion|trillion)s?\b)",
    re.IGNORECASE,
)
"""What changes the number in the box before it."""
_FAR = 3000
"""Characters behind a mark in which its answer ends and seems to be taken back."""
_DIGITS = 9
"""Of a level."""


def gold_text(value: Any, column: str, place: str) -> str:
    """Return a gold answer as text: a number in plain decimal as it was written, the element of a list of one.

    Raises:
        RowError: it is missing, empty, an object, or a list of several.

    Example:
        >>> [gold_text(v, "answer", "here") for v in (51.0, 1e22, ["5"], '["5"]', "1e-3", True)]
        ['51', '10000000000000000000000', '5', '5', '0.001', 'yes']
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _listed(value.strip())
    if isinstance(value, list) and len(value) == 1:
        return gold_text(value[0], column, place)
    if isinstance(value, list | dict) and value:
        names = [f"{column}.{name}" for name in (range(len(value)) if isinstance(value, list) else value)]
        raise RowError(
            f"{place}, column {column!r}: expected one answer, found {kind(value)}: say which it is, "
            f"task.answer={' or '.join(names[:4])}"
        )
    found = text(value, column, place)
    if isinstance(value, str):
        return plain(Decimal(found), column, place) if _SCIENTIFIC.fullmatch(found) else found
    return found if isinstance(value, bool) else normalise(found)


def marked_gold(solution: str, column: str, place: str) -> str | None:
    """The answer behind the last `####`, `\\boxed` or `<answer>` of a whole solution; None: there is no such mark.

    A solution of several lines may also announce it in words, as MetaMath's "The answer is: 7". Behind thinking
    without a mark, it is all that follows.

    Raises:
        RowError: nothing stands behind the mark, or behind the thinking.

    Example:
        >>> [marked_gold(s, "answer", "here") for s in ("He did.\\n#### Dr. Seuss", "So $\\\\boxed 2$.", "12")]
        ['Dr. Seuss', '2', None]
    """
    counted = reply(solution)
    if not counted.strip():
        raise RowError(f"{place}, column {column!r}: nothing behind the thinking of {solution[-40:]!r}")
    stated = _stated(counted, ())
    if stated.how != "marker" and "\n" in counted.strip():
        stated = _stated(counted, ENGLISH)
    if stated.how != "marker":
        return counted.strip() if solution.endswith(counted) and counted != solution else None
    if not stated.line:
        raise RowError(f"{place}, column {column!r}: no answer behind the marker of {solution[-40:]!r}")
    line = _boxed(stated) if stated.mark == "\\boxed" else _first_sentence(stated)
    return normalise(line) if _NUMBER.fullmatch(line) else line


def _stated(counted: str, phrases: tuple[str, ...]) -> Statement:
    """Return what a solution states.

    A gold is never taken back, so a sentence behind it that seems to do this is left out.
    """
    stated = statement(counted, phrases)
    if stated is None:
        mark = (
            bisect_left(range(len(counted.rstrip())), True, key=lambda start: _unmarked(counted[start:], phrases)) - 1
        )
        ends = [end.start() for end in _END.finditer(counted, max(0, mark), mark + _FAR)]
        found = (statement(counted[:end], phrases) for end in reversed(ends))
        stated = next((each for each in found if each), None)
    return stated or Statement(counted.strip(), "fallback", counted, "")


def _unmarked(rest: str, phrases: tuple[str, ...]) -> bool:
    stated = statement(rest, phrases)
    return stated is not None and stated.how == "fallback"


def _first_sentence(stated: Statement) -> str:
    """Return a line without the sentences behind a number, or behind an answer that is announced in words."""
    first = sentences(stated.line)[0]
    goes_on = stated.line.startswith(first) and _NEXT_SENTENCE.match(stated.line, len(first))
    if not first or not goes_on:
        return stated.line
    announced = stated.mark[:1].isalpha() and goes_on["surely"] and _WHOLE_WORD.search(first)
    return first if announced or plain_number(first) or quantity(first) else stated.line


def _boxed(stated: Statement) -> str:
    """Return what stands in a box, with a percent sign or a large number's name behind it."""
    *_, box = [None, *_BOX.finditer(stated.reply)]
    found = argument(stated.reply, box.end()) if box and stated.reply.startswith("{", box.end()) else None
    changing = _CHANGING.match(stated.reply, found[1] if found else box.end()) if box else None
    if changing is None or stated.line.endswith("%"):
        return stated.line
    percent = "%" if plain_number(stated.line) else "\\%"
    return stated.line + (percent if changing["percent"] else f" {changing['large']}")


def option_number(value: Any) -> int | None:
    """The whole number that a gold answer is, be it a number or a text (`2.0`, `(2)`, `option 2`); None: it is none.

    Example:
        >>> [option_number(v) for v in (2, 2.0, "2", "2.0", "(2)", "2.", "Option 2:", "B", 0.5, True)]
        [2, 2, 2, 2, 2, 2, 2, None, None, None]
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    match = _PLACE.fullmatch(unwrap(plain_characters(str(value))))
    return int(match[1]) if match else None


def without_number(answer: str, choices: Sequence[str]) -> str:
    """Leave out the number before an option's words, which may count from 0 or from 1, unless it is one of the words.

    Nothing is left of what names no option but by a number that is not alone: `1, 2`, `1.5`, `1!`.

    Example:
        >>> [without_number(a, ("iron", "2. wood")) for a in ("0: iron", "2. wood", "1, 2", "iron")]
        ['iron', '2. wood', '', 'iron']
    """
    plain_answer, texts = unwrap(plain_characters(answer)), [text for choice in choices if (text := normalise(choice))]
    beginnings = tuple(text for text in texts if not plain_number(text))
    if not _NUMBERED.match(plain_answer) or normalise(answer) in texts or normalise(answer).startswith(beginnings):
        return answer
    match = _PLACE_AND_WORDS.fullmatch(plain_answer)
    words = match["words"] if match else ""
    return "" if _NUMBERED.match(words) and normalise(words) not in texts else words


def labelled(answer: str, labels: Sequence[str]) -> str | None:
    """Return the letter of the option that has the gold answer as its label; None: none has, or two have.

    Example:
        >>> [labelled(answer, ("0", "1", "2")) for answer in ("1", "(2)", "3")]
        ['B', 'C', None]
    """
    number = option_number(answer)
    wanted = _label(answer) if number is None else number
    found = [_label(label) if number is None else option_number(label) for label in labels]
    return LETTERS[found.index(wanted)] if found.count(wanted) == 1 else None


def _label(words: str) -> str:
    return normalise(words).strip("()[]{}.: ")


def option_letter(number: int, choices: Sequence[str], counted: Counted) -> str | None:
    """Return the letter of the option that a number means; None: none, or two of the same words."""
    if counted == "words":
        numbers = ({normalise(choice), str(option_number(choice))} for choice in choices)
        same = [index for index, written in enumerate(numbers) if str(number) in written]
        return LETTERS[same[0]] if len(same) == 1 else None
    index = number - int(counted[-1])
    return LETTERS[index] if 0 <= index < len(choices) else None


def how_counted(rows: Iterable[tuple[int, Sequence[str], str]], column: str, place: str) -> Counted:
    """Tell what numbers among the golds mean, proved by the rows: the one meaning that all of them can have.

    Numbers that are an option's words in every row are these words.

    Args:
        rows: the number, the options and the place of each row whose gold is a number.
        column: for messages, as `place`.

    Raises:
        RowError: no meaning fits, or nothing tells whether they count from 0 or from 1.
    """
    left: list[Counted] = ["words", "from 0", "from 1"]
    for number, choices, row in rows:
        left = [meaning for meaning in left if option_letter(number, choices, meaning) is not None]
        if not left:
            raise RowError(
                f"{row}, column {column!r}: {number} is neither the words nor the place of one of {len(choices)} "
                "options, counted as in the rows before it: correct it, or write letters"
            )
        if len(left) == 1:
            break
    if "words" not in left and len(left) > 1:
        raise RowError(
            f"{place}, column {column!r}: numbers of options, and nothing tells whether they count from 0 or from 1: "
            "write task.first_choice=0 or task.first_choice=1"
        )
    return left[0]


def level_of(value: Any, column: str, place: str) -> int | None:
    """Return a level as a whole number: of a number, or of a text with one in it (`Level 5`); None: there is none.

    Raises:
        RowError: it is a fraction, negative or too large, so that different levels would become one.

    Example:
        >>> [level_of(v, "level", "here") for v in (3, 3.0, "Level 5", "Level ?", None, "hard", "grade 3-4")]
        [3, 3, 5, None, None, None, None]
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    written = plain_characters(text(value, column, place))
    found = _IN_WORDS.findall(written)
    fractional = _FRACTION.search(written) is not None
    if len(found) != 1 and not fractional:
        return None
    whole, _, fraction = found[0].partition(".") if found else ("", "", "")
    if fractional or fraction.strip("0") or whole.startswith("-"):
        raise RowError(
            f"{place}, column {column!r}: a level is a whole number from 0, found {value!r}: give whole numbers, or "
            f"name the column with task.skill={column}, which keeps any text apart"
        )
    if len(whole) > _DIGITS:
        raise RowError(f"{place}, column {column!r}: a level has at most {_DIGITS} digits, found {whole[:40]!r}")
    return int(whole)


def _listed(value: str) -> Any:
    """Return the list that a text is, where it is none of mathematics: empty, of one element, or with text in it."""
    if _QUOTED.fullmatch(value):
        return re.findall(r"'([^']*)'", value)
    try:
        found = json.loads(value, parse_float=Decimal)
    except (ValueError, RecursionError):
        return value
    single = len(found) == 1 and not isinstance(found[0], list | dict)
    return found if not found or single or any(isinstance(each, str) for each in found) else value

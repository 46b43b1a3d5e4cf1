"""Where an answer ends: not every period ends a sentence, and what follows may deny it or take it back."""

import re

from star_loop.verifiers.numbers import plain_number
from star_loop.verifiers.wrapping import unwrap


def listed(words: str) -> frozenset[str]:
    """Return the words of a text, as a set."""
    return frozenset(words.split())


_TITLES = listed("dr mr mrs ms prof st mt rev gen col capt lt gov sen rep hon vs approx ca cf e.g i.e")
"""Abbreviations that no sentence ends with."""
_SHORT = listed(
    "ft jr sr etc est dept inc ltd co corp eq fig vol pp p ch jan feb apr jun jul aug sep sept oct nov dec ave blvd rd "
    "u.s u.k u.n d.c a.m p.m ph.d b.c a.d lb lbs oz yd hr sec min sq in mi mo cm mm km kg"
)
"""They may end one, unless it goes on with a small letter or a number."""
_WORDS = listed("no nos art mar")
"""Words of their own as well: abbreviations only before a number."""
_END = re.compile(r"[.;?](?=\s|\Z)|\n")
_TOKEN = re.compile(r"\S+\Z")
_TAKEN_BACK = re.compile(
    r"[.!?;\n][ \n*]*(?:(?:but|oh|well|hmm)[ ,]+)?(?:"
    r"(?:wait|hmm|oops|sorry|scratch that|strike that|correction|edit|on second thoughts?|on reflection|just kidding"
    r"|my mistake|hold on)\b[,.:!\n …]"
    r"|no(?:[,.:!\n…]| (?:it|that|this|wait|sorry|i)\b)"
    r"|actually[,:]?(?:[.!\n]| (?:no|not|wait|yes|i|my|let)\b"
    r"| (?:it|that|the \w+(?: \w+)?)(?: is|['’]s| was| should be)\b"
    r"| \(?(?:[a-z]|[-+$]*[0-9][0-9.,]*)\)?(?:[.!,\n]|\Z| is\b| fits\b))"
    r"|actually[,:] (?![^.!?\n]*\b(?:is|are|was|were|has|have|had|holds?|works?|follows|can|we|you)\b)"
    r"|or\b[^.!?\n]*\?"
    r"|it (?:(?:really|all) )?depends(?=[,.!;\n]| though| on\b|\Z)"
    r"|i (?:was|am) (?:wrong|mistaken)|i made a mistake|i retract|i take (?:that|this|it) back"
    r"|let me (?:reconsider|rethink|think again)|reconsidering"
    r"|(?:that|this|it)(?: is|['’]s| was) (?:wrong|incorrect|false|mistaken|impossible|not (?:right|correct|true))"
    r"(?! (?:for|to|of|that|when|if)\b)"
    r"|(?:that|this|it) (?:cannot|can't|can’t|can not|isn't|isn’t|wasn't|wasn’t) (?:be )?(?:right|correct|true)"
    r"|(?:that|this|it) (?:does not|doesn['’]t) (?:seem|look|sound) (?:right|correct|true))",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"(?:(?:or|and|but|no|actually|so|then|maybe|perhaps|possibly|also|even|alternatively|therefore|thus|hence|finally|final|instead"
    r"|rather|later|edit|correction|update|strike that|my mistake|on reflection"
    r"|i (?:now )?(?:choose|pick|select|meant?)"
    r"|(?:the|my) (?:(?:final|correct|right|true|real|other) )?(?:answer|choice|option|pick)|it)\b"
    r"(?: (?:is|would be|should be|must be|could be|may be|might be)\b)?[ ,:]*)+",
    re.IGNORECASE,
)
"""What announces another answer."""
_ALSO = re.compile(
    r" +(?:is|are|would be|could be|may be|might be|seems|works) *(?:also|equally|just as)? *"
    r"(?:right|correct|possible|true|valid|plausible|acceptable|the (?:right |correct )?(?:answer|option|choice))?"
    r"(?: too| as well| instead)?\Z",
    re.IGNORECASE,
)
"""What says of another answer that it is right."""
_HEDGE = re.compile(
    r"(?:, (?:perhaps|maybe|possibly|probably|i think|i guess)|,? (?:too|as well|also))\Z", re.IGNORECASE
)
_DENIAL = re.compile(
    r"\b(?:not|wrong|incorrect|false|never|impossible|neither|nor|or|and|if|unless|except|as well as|it depends)\b"
    r"|n['’]t\b|/",
    re.IGNORECASE,
)
_REASON = re.compile(r"\b(?:because|since|(?<!well )as(?! well\b| is\b)|given|for(?! now\b))\b", re.IGNORECASE)


def sentences(line: str) -> list[str]:
    """Split a statement into sentences and clauses; at least one, and a question is an empty one.

    Example:
        >>> sentences("St. Louis, Mo. It has 3 ft. 4 in. of rain; really?")
        ['St. Louis, Mo', 'It has 3 ft. 4 in. of rain', '']
    """
    found, start = [], 0
    for end in _END.finditer(line):
        if end[0] != "." or not _abbreviated(line, start, end.start()):
            found.append("" if end[0] == "?" else unwrap(line[start : end.start()]))
            start = end.end()
    last = unwrap(line[start:])
    return [*found, last] if last or not found else found


def _abbreviated(line: str, start: int, at: int) -> bool:
    """Tell whether the period here belongs to an abbreviation that does not end its sentence."""
    token, follows = _TOKEN.search(line, start, at), line[at + 1 :].lstrip()[:1]
    word = token[0].strip("(\"'*_").casefold() if token else ""
    if word in _WORDS:
        return follows.isdigit()
    return bool(follows) and (word in _TITLES or (word in _SHORT and (follows.islower() or follows.isdigit())))


def taken_back(rest: str) -> bool:
    """Tell whether what follows a statement begins a sentence that takes it back: "Wait, …", "That is wrong.".

    Example:
        >>> [taken_back(rest) for rest in ("B. Actually, it is C.", "B. The others are wrong.")]
        [True, False]
    """
    return _TAKEN_BACK.search(rest) is not None


def answered(clause: str) -> str:
    """Return the answer that a clause may hold, without the words that announce it or call it right.

    Example:
        >>> [answered(clause) for clause in ("Or maybe C", "C is also right", "On reflection, it is **C**", "I see C")]
        ['C', 'C', 'C', 'I see C']
    """
    clause = unwrap(clause)
    clause = _HEDGE.sub("", clause)
    lead = _LEAD.match(clause)
    if lead and lead.end() == len(clause):  # "perhaps no": a word that may announce an answer is the answer
        return clause.rpartition(" ")[2]
    return unwrap(_ALSO.sub("", clause[lead.end() :] if lead else clause))


def another_number(line: str, rest: str) -> bool:
    """Tell whether a number is followed by another one that is announced or is a line of its own.

    Example:
        >>> [another_number(line, rest) for line, rest in (("5. Or 6", ""), ("5", "Edit: 6"), ("5; 6", "1. We add"))]
        [True, True, False]
    """
    first, *others = sentences(line)
    number = plain_number(first)
    later = [*(clause for clause in others if answered(clause) != clause), *rest.splitlines()]
    return number is not None and any(plain_number(answered(clause)) not in (None, number) for clause in later)


def claim(rest: str) -> str:
    """Return what follows an answer, up to the reason that is given for it."""
    return _REASON.split(rest, maxsplit=1)[0]


def reason(rest: str) -> str:
    """Return the reason that is given behind an answer; nothing, where none is given."""
    return "".join(_REASON.split(rest, maxsplit=1)[1:]).strip(" ,:")


def denied(rest: str) -> bool:
    """Tell whether what follows an answer takes it back or adds another one: "… is wrong", "… or B"."""
    return _DENIAL.search(claim(rest)) is not None

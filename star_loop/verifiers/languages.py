"""How an answer is announced in the languages that are used most: the words before it, after it, and against it."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """The words of one language."""

    nouns: tuple[str, ...] = ()
    """What the answer is called, in lower case; also found with a capital, or in capitals."""
    alone: tuple[str, ...] = ()
    """Phrases that need nothing between them and the answer."""
    more: tuple[str, ...] = ()
    """What may stand between the noun and what joins it with the answer."""
    joins: tuple[str, ...] = ()
    """Besides `:` and `=`: `is`."""
    behind: tuple[str, ...] = ()
    """What may stand behind the answer where the verb comes last."""
    doubts: tuple[str, ...] = ()
    """Before the noun, in the same clause, they leave the answer open: `if`."""
    spaced: bool = True
    """Whether words stand apart."""
    reasons: tuple[str, ...] = ()
    """They begin a reason for the answer: `because`."""


LANGUAGES: Mapping[str, Language] = {
    "en": Language(
        nouns=("answer", "correct option", "correct choice", "right option", "right choice"),
        more=("choice", "option"),
        joins=("is", "must be", "should be", "is therefore", "is thus", "is then", "is simply", "is indeed"),
        doubts=("if", "whether", "suppose", "supposing", "assume", "assuming", "unless", "had", "were", "imagine",
            "pretend"),
        reasons=("because", "since", "as", "given", "for", "so"),
    ),
    "zh": Language(
        nouns=("答案", "正确选项"),
        alone=("故选", "应选", "因此选"),
        more=("选项",),
        joins=("是", "为", "為", "应为", "应该是", "选"),
        doubts=("如果", "假如", "假设", "若", "是否", "除非", "不认为", "不相信", "并非"),
        reasons=("因为", "因為", "由于"),
        spaced=False,
    ),
    "hi": Language(
        nouns=("उत्तर", "जवाब"),
        more=("विकल्प",),
        joins=("है",),
        behind=("है", "हैं"),
        doubts=("यदि", "अगर", "मान लीजिए", "क्या"),
        reasons=("क्योंकि",),
    ),
    "es": Language(
        nouns=("respuesta", "opción correcta"),
        more=("final", "correcta"),
        joins=("es", "es la", "es la opción", "es entonces", "debe ser"),
        doubts=("si", "supongamos que", "suponiendo que", "a menos que", "no creo que", "no es cierto que", "dudo que"),
        reasons=("porque", "ya que", "pues", "puesto que", "dado que"),
    ),
    "fr": Language(
        nouns=("réponse", "bonne option"),
        more=("finale", "correcte", "exacte"),
        joins=("est", "est la", "est donc", "doit être"),
        doubts=("si", "supposons que", "à moins que", "je ne pense pas que", "il est faux que", "je doute que"),
        reasons=("parce que", "parce qu'", "car", "puisque", "puisqu'"),
    ),
    "ar": Language(
        nouns=("الإجابة", "الجواب", "إجابة"),
        more=("النهائية", "الصحيحة", "النهائي", "الصحيح"),
        joins=("هي", "هو"),
        doubts=("إذا", "لو", "هل", "لنفترض أن"),
        reasons=("لأن",),
    ),
    "bn": Language(
        nouns=("উত্তর",),
        more=("হলো", "হল", "হচ্ছে"),
        joins=("হলো", "হল", "হচ্ছে"),
        doubts=("যদি", "ধরা যাক"),
        reasons=("কারণ",),
    ),
    "pt": Language(
        nouns=("resposta", "opção correta"),
        more=("final", "correta", "certa"),
        joins=("é", "é a", "é a opção", "é então", "é portanto", "deve ser"),
        doubts=("se", "suponha que", "a menos que", "não acho que", "não é verdade que", "duvido que"),
        reasons=("porque", "pois", "já que", "visto que"),
    ),
    "ru": Language(
        nouns=("ответ", "правильный вариант"),
        joins=("это", "равен", "—", "-"),
        doubts=("если", "предположим", "разве", "не думаю", "неверно"),
        reasons=("потому что", "так как", "поскольку"),
    ),
    "ur": Language(
        nouns=("جواب",),
        joins=("ہے",),
        behind=("ہے", "ہیں"),
        doubts=("اگر", "فرض کریں", "کیا"),
        reasons=("کیونکہ",),
    ),
    "id": Language(
        nouns=("jawaban", "jawabannya"),
        more=("akhir", "akhirnya", "yang benar", "yang tepat"),
        joins=("adalah", "ialah"),
        doubts=("jika", "kalau", "apakah", "misalkan", "andaikan"),
        reasons=("karena", "sebab"),
    ),
    "de": Language(
        nouns=("antwort", "lösung"),
        alone=("ist die Antwort", "lautet die Antwort", "ist die Lösung", "lautet die Lösung"),
        joins=("ist", "lautet", "ist also", "lautet also", "muss sein"),
        doubts=("wenn", "falls", "ob", "angenommen", "glaube nicht, dass", "bezweifle, dass"),
        reasons=("weil", "da", "denn"),
    ),
    "ja": Language(
        nouns=("答え", "正解", "解答", "回答"),
        joins=("は",),
        behind=("です", "である", "だ", "となります", "になります"),
        doubts=("もし", "仮に"),
        reasons=("なぜなら",),
        spaced=False,
    ),
}  # fmt: skip


def chosen(phrases: Iterable[str]) -> tuple[Language, ...]:
    """Look up the languages of some codes; any other text is an answer phrase of its own, as written.

    Raises:
        ValueError: two letters that are no known language, or an empty phrase.
    """
    found = []
    for phrase in phrases:
        if phrase in LANGUAGES:
            found.append(LANGUAGES[phrase])
        elif len(phrase.strip()) < 3:
            known = ", ".join(LANGUAGES)
            raise ValueError(
                f"{phrase!r} is no language with a list of answer phrases: known are {known}; or give a phrase"
            )
        else:
            found.append(Language(alone=(phrase.strip().casefold(),)))
    return tuple(found)


def any_of(words: Iterable[str]) -> str:
    """Return a regular expression for any of some words, the longest first; it matches nothing where there are none."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) or r"(?!)"


@lru_cache(maxsize=64)
def keywords(phrases: tuple[str, ...]) -> tuple[str, ...]:
    """Return the nouns of some languages in the cases in which they are written: what to look for first."""
    nouns = {noun for language in chosen(phrases) for noun in (*language.nouns, *language.alone)}
    return tuple(sorted({case for noun in nouns for case in (noun, noun.capitalize(), noun.title(), noun.upper())}))


@lru_cache(maxsize=64)
def marker(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Return what an answer phrase is: a noun and what joins it with the answer, or a phrase of one's own (`own`)."""
    languages = chosen(phrases)
    own = _any(languages, lambda language: language.alone)
    nouns = _any(languages, lambda language: language.nouns, after=r"[^\W_]")
    joins = _any(languages, lambda language: language.joins)
    more = _any(languages, lambda language: language.more)
    join = rf"{_GAP}(?:[:=：—–]|{joins})[ *_:：]{{0,4}}"
    return re.compile(
        rf"(?:(?P<own>{own})[ *_:=：]{{0,4}}|(?:{nouns})(?:{_GAP}(?:{more}))?(?P<join>{join})?)",
        re.IGNORECASE,
    )


@lru_cache(maxsize=64)
def doubt(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Return what, before an answer phrase and in the same clause, leaves open whether it states anything."""
    words = _any(chosen(phrases), lambda language: language.doubts)
    return re.compile(rf"(?:{words})[^.,;:!?\n。，；？]*\Z", re.IGNORECASE)


@lru_cache(maxsize=64)
def follows(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Return what may follow a short answer in its sentence: a pause, a reason, a verb that comes last, or nothing."""
    reasons, behind = (_any(chosen(phrases), words) for words in (lambda each: each.reasons, lambda each: each.behind))
    return re.compile(rf"\s*(?:[,:!)\]–—]|-(?!\w)|\((?!or\b)|(?:{reasons})|(?:{behind})\W*\Z|\Z)", re.IGNORECASE)


@lru_cache(maxsize=64)
def verb(phrases: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return a verb that comes last in its line; None: none of the languages has any."""
    languages = chosen(phrases)
    behind = _any(languages, lambda language: language.behind)
    return re.compile(rf"\s*(?:{behind})[\s.。।*_]*\Z") if any(each.behind for each in languages) else None


_GAP = r"[ *_]{0,3}"
"""Between two words of a phrase: Markdown may begin or end."""


def _any(
    languages: Iterable[Language], words: Callable[[Language], tuple[str, ...]], after: str = r"[^\W_]|_[^\s*]"
) -> str:
    """Any of the languages' words, not followed by `after` where the language has spaces between words."""
    return "|".join(
        rf"(?<![^\W_])(?:{any_of(words(language))})(?!{after})" if language.spaced else any_of(words(language))
        for language in languages
    )

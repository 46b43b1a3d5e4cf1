"""Whether a benchmark's questions are among those that are learned from."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

RUN, FEWEST = 13, 4
"""Words in a row that long texts must share (as in GPT-3's appendix C, arXiv 2005.14165); words of a question that is
long enough to be known again."""
_WORD = re.compile(r"\w+")


def occurring(pool: Iterable[tuple[str, str]], texts: Sequence[str]) -> Iterator[str]:
    """Find the questions of a pool that occur in the texts.

    A question of fewer than 13 words occurs where a text has all of them in a row; a longer one where a text has any 13
    of its words in a row. Case and punctuation do not count, and questions of fewer than 4 words are not looked for.

    Args:
        pool: (id, question).
        texts: what the benchmark asks.

    Returns:
        The ids.

    Example:
        >>> list(occurring([("a", "How many legs have 3 cats?")], ["Question: How many legs have 3 cats?\\nAnswer:"]))
        ['a']
    """
    words = [_words(text) for text in texts]
    runs = {tuple(own[k : k + RUN]) for own in words for k in range(len(own) - RUN + 1)}
    starts: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
    for number, own in enumerate(words):
        for k in range(len(own) - FEWEST + 1):
            starts[tuple(own[k : k + FEWEST])].append((number, k))
    for name, question in pool:
        own = _words(question)
        if len(own) >= RUN:
            found = any(tuple(own[k : k + RUN]) in runs for k in range(len(own) - RUN + 1))
        else:
            places = starts.get(tuple(own[:FEWEST]), []) if len(own) >= FEWEST else []
            found = any(words[number][k : k + len(own)] == own for number, k in places)
        if found:
            yield name


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())

"""What was sampled, as text and as token ids, so that what is trained is what the model wrote.

Encoding the text again would often give other ids: `12` may have been sampled digit by digit, and a special token is
spelt out in the text. An id that the tokenizer does not know, where the model has more rows than that, is kept too, and
shown as �: the text never hides what is trained.
"""

from collections.abc import Sequence
from typing import Any

from star_loop.generators.serving import cut_at_stop

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""What shows a token that has no text."""


def read_sampled(
    tokenizer: Any, ids: Sequence[int], *, ended: bool, stop: Sequence[str], end: int
) -> tuple[str, list[int]]:
    """Return the text, with special tokens spelt out, and the ids that are trained on.

    Args:
        tokenizer: the model's.
        ids: all that was sampled.
        ended: whether the last of them ended the completion; it is trained on and not shown.
        stop: strings before which the text ends.
        end: what is trained to end a completion that a stop string ended.
    """
    body = list(ids[:-1] if ended else ids)
    text = _decode(tokenizer, body)
    cut = cut_at_stop(text, stop)
    return (text, list(ids)) if cut == text else (cut, [*_spelling(tokenizer, body, cut), end])


def _spelling(tokenizer: Any, ids: Sequence[int], text: str) -> list[int]:
    """Return the sampled ids as far as they spell the beginning `text`; a token that it cuts through is spelt anew."""
    for length in range(len(ids), -1, -1):
        written = _decode(tokenizer, ids[:length])
        if text.startswith(written):
            rest = tokenizer(text[len(written) :], add_special_tokens=False, split_special_tokens=True).input_ids
            return [*ids[:length], *rest]
    return []


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    known: list[list[int]] = [[]]
    for token, letters in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True):
        if letters is None:
            known.append([])
        else:
            known[-1].append(token)
    return UNKNOWN.join(
        tokenizer.decode(part, skip_special_tokens=False, clean_up_tokenization_spaces=False) for part in known
    )

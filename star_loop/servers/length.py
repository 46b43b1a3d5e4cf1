"""What servers find too long: a prompt, or what may be written after it."""

import re
from typing import Literal

_CONTEXT = re.compile(r"maximum context length (?:is|of) (\d+)")
_PROMPT = re.compile(
    r"(\d+) (?:input tokens|in the (?:messages|prompt)|tokens (?:from|in) the (?:input|prompt|messages))"
)
_TOO_MANY = re.compile(
    r"max_(?:completion_|new_)?tokens\b.{0,80}?(?:too large|less than|greater than|at most|maximum allowed)"
)
"""How servers say that more tokens are wanted than they ever write."""
_TOO_LONG = ("context_length", "context length", "maximum context", "max_model_len", "too many tokens", "is too long")
"""How they say that a prompt leaves no room."""


def too_long(said: str, most: int) -> Literal["prompt", "max_tokens"] | None:
    """Tell what it is that a server refuses for its length; None: it refuses for another reason.

    Where prompt and completion do not fit together, it is the longer of them.

    Args:
        said: the server's words.
        most: tokens that were asked for.

    Example:
        >>> asked = "This model's maximum context length is 200 tokens and your request has {} input tokens"
        >>> too_long(asked.format(10), 256), too_long(asked.format(190), 64)
        ('max_tokens', 'prompt')
    """
    said = said.lower()
    many = _TOO_MANY.search(said)
    if not many and not any(sign in said for sign in _TOO_LONG):
        return None
    context, prompt = _CONTEXT.search(said), _PROMPT.search(said)
    if context and prompt:
        return "max_tokens" if int(prompt[1]) < min(int(context[1]), most) else "prompt"
    return "max_tokens" if many else "prompt"

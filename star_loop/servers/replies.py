"""What a server says, looked at before it is believed: its replies to requests, and its list of models."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from star_loop.errors import EngineError

Reply = dict[str, Any]
"""A server's reply, as its JSON has it."""
_SHOWN = 200
"""Characters of what came that an error shows."""
_WORDS = ("text", "output_text")
"""Parts of a content that are read; others are pictures, sounds and reasoning."""


class NoChoice(EngineError):
    """A reply of which nothing is to be had, as filters of contents leave it; asking again may help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was asked of a server, and what it counted."""

    requests: int = 0
    prompt_tokens: int = 0
    """Those from a cache included."""
    cached_tokens: int = 0
    """Prompt tokens that the server had in its cache."""
    completion_tokens: int = 0
    """Those of hidden reasoning included."""

    @classmethod
    def of(cls, reply: Mapping[str, Any]) -> Self:
        """Read what a reply says of itself; what it does not say counts as 0.

        Raises:
            ValueError: what it says is no count.
        """
        usage = _object(reply.get("usage"), "usage")
        details = _object(usage.get("prompt_tokens_details"), "usage.prompt_tokens_details")
        return cls.kept(
            {
                "requests": 1, "prompt_tokens": usage.get("prompt_tokens"),
                "cached_tokens": details.get("cached_tokens"), "completion_tokens": usage.get("completion_tokens"),
            }
        )  # fmt: skip

    @classmethod
    def kept(cls, row: Mapping[str, Any]) -> Self:
        """Read what a journal has kept.

        Raises:
            ValueError, TypeError: it is no usage.
        """
        return cls(**{name: _count(value, f"usage.{name}") for name, value in row.items()})

    def __add__(self, other: "Usage") -> "Usage":
        """Return the sum."""
        return Usage(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


def looked_at(reply: Any) -> Reply:
    """Return a reply in which choices, their texts and the usage are what OpenAI's protocol has there.

    Raises:
        ValueError: it is none; with the place, and what is there.
        NoChoice: it has no choice, and is well otherwise.
    """
    if not isinstance(reply, dict) or "choices" not in reply:
        raise ValueError(f"it answered {shown(reply)}")
    Usage.of(reply)
    choices = reply["choices"]
    if choices is None or choices == []:
        raise NoChoice(f"the reply holds no choice: {shown(reply)}")
    if not isinstance(choices, list):
        raise _odd("choices", choices)
    for place, choice in enumerate(choices):
        text_of(choice, f"choices[{place}]")
        reasoning_of(choice, f"choices[{place}]")
    return reply


def text_of(choice: Mapping[str, Any], place: str = "choice") -> str:
    """Return what a choice says: its message, of which text parts are put together, or its continuation of a prompt.

    Example:
        >>> text_of({"message": {"content": [{"type": "text", "text": "2 + 2 "}, {"type": "text", "text": "= 4"}]}})
        '2 + 2 = 4'

    Raises:
        ValueError: it says something of another kind.
    """
    choice = _object(choice, place, required=True)
    if choice.get("message") is None:
        return _joined(choice.get("text"), f"{place}.text")
    return _joined(_message(choice, place).get("content"), f"{place}.message.content")


def reasoning_of(choice: Mapping[str, Any], place: str = "choice") -> str:
    """Return what a choice says of its reasoning, apart from the reply; empty: nothing.

    Raises:
        ValueError: it says something of another kind.
    """
    message = _message(choice, place)
    found = (_joined(message.get(name), f"{place}.message.{name}") for name in ("reasoning", "reasoning_content"))
    return next(filter(None, found), "")


def cards_of(reply: Any) -> list[Mapping[str, Any]]:
    """Return what a server says of each of its models; empty where it says nothing.

    Raises:
        ValueError: what it lists are no models, with names, or it answers with a text, such as a page.
    """
    if isinstance(reply, str):
        raise ValueError(f"it answered {shown(reply)}")
    if not isinstance(reply, dict) or reply.get("data") is None:
        return []
    cards = reply["data"]
    if not isinstance(cards, list):
        raise _odd("data", cards)
    for place, card in enumerate(cards):
        if not isinstance(_object(card, f"data[{place}]", required=True).get("id"), str):
            raise ValueError(f"data[{place}] has no id: {shown(card)}")
    return cards


def shown(found: Any) -> str:
    """Write the beginning of what came, for an error."""
    written = repr(found)
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}…"


def _message(choice: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    return _object(choice.get("message"), f"{place}.message")


def _joined(content: Any, place: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise _odd(place, content)
    return "".join(_part(part, f"{place}[{index}]") for index, part in enumerate(content))


def _part(part: Any, place: str) -> str:
    if isinstance(part, str):
        return part
    part = _object(part, place, required=True)
    if part.get("type", "text") not in _WORDS:
        return ""
    if not isinstance(part.get("text"), str):
        raise _odd(f"{place}.text", part.get("text"))
    written: str = part["text"]
    return written


def _object(found: Any, place: str, *, required: bool = False) -> Mapping[str, Any]:
    """Return a JSON object; null, where it is not required, says as much as an empty one."""
    if found is None and not required:
        return {}
    if not isinstance(found, Mapping):
        raise _odd(place, found)
    return found


def _count(found: Any, place: str) -> int:
    if found is None:
        return 0
    whole = isinstance(found, int) and not isinstance(found, bool)
    if not (whole or (isinstance(found, float) and found.is_integer())) or found < 0:
        raise _odd(place, found)
    return int(found)


def _odd(place: str, found: Any) -> ValueError:
    return ValueError(f"{place} is {shown(found)}")

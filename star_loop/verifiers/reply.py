"""What part of a text counts: the reply, not the thinking before it, what is struck out, or the tokens that end it."""

import re

_END = re.compile(
    r"</(?:think(?:ing)?|thoughts?|reasoning)\s*>|\[/think\]|◁/think▷|<\|channel\|>final<\|message\|>", re.IGNORECASE
)
"""What ends the thinking of a reasoning model; its beginning may stand in the prompt."""
_CONTROL = re.compile(r"(?:\s*(?:<\|[a-z_0-9]{1,40}\|>|</s>|<eos>|<end_of_turn>))+\s*\Z")

_STRUCK = re.compile(
    r"(?<![\w~\\])~~(?=[^\s~])(?:(?!~~|\n\n).)*?(?<=\S)~~(?!~)"
    r"|<(?P<tag>del|s|strike)>(?:(?!</?(?P=tag)>).)*</(?P=tag)>"
    r"|\\(?:[bx]?cancel|sout) *\{(?:[^{}]|\{[^{}]*\})*\}",
    re.DOTALL,
)
_STRIKES = ("~~", "<del>", "<s>", "<strike>", "cancel", "\\sout")
_LAST = 200
"""Characters at the end in which control tokens are looked for."""


def reply(text: str, *, thinking: bool = False) -> str:
    """Cut off finished thinking, unless `thinking` counts too, what is struck out, and the control tokens at the end.

    Thinking that never ends is not cut off: there is nothing but it to read.

    Example:
        >>> reply("<think>It is 4. No, 5.</think> It is 5.<|im_end|>")
        ' It is 5.'
        >>> reply("~~72~~ 73")
        '  73'
    """
    if not thinking:
        text = text[max((end.end() for end in _END.finditer(text)), default=0) :]
    if any(strike in text for strike in _STRIKES):
        text = _without_struck(text)
    control = _CONTROL.search(text, max(0, len(text) - _LAST)) if text.rstrip().endswith(">") else None
    return text[: control.start()] if control else text


def _without_struck(text: str) -> str:
    before = None
    while text != before:
        before, text = text, _STRUCK.sub(" ", text)
    return text

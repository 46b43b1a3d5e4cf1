"""A prompt as messages: the tokenizer's chat template, its arguments, and the token that ends a turn.

This is a torch module's helper: it is given a live tokenizer, and imports nothing heavy itself.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from star_loop.models.pretrained import Pretrained
from star_loop.records import TURN

THINKS, THOUGHT = "<think>", "</think>"
"""What begins and ends the reasoning of a thinking model."""


def messages(prompt: str, base: Pretrained) -> list[dict[str, str]]:
    """The system prompt, where there is one, and the prompt's turns, the user's and the model's in alternation."""
    roles = ("user", "assistant")
    system = [] if base.system_prompt is None else [{"role": "system", "content": base.system_prompt}]
    return system + [{"role": roles[k % 2], "content": turn} for k, turn in enumerate(prompt.split(TURN))]


def render(tokenizer: Any, prompt: str, base: Pretrained) -> str:
    """Return the prompt in the chat template, followed by the opening of the model's reply."""
    return _apply(tokenizer, messages(prompt, base), base, add_generation_prompt=True)


def end_of_turn(tokenizer: Any, base: Pretrained) -> int:
    """The token with which the template closes a reply; the end of sequence where it closes none, or there is none.

    Base and instruct models of one family often share the end of sequence and differ here: `<|eot_id|>` of Llama 3,
    `<end_of_turn>` of Gemma.
    """
    end: int = tokenizer.eos_token_id
    if not base.chat_template:
        return end
    reply = "So it is 42"
    whole = _apply(tokenizer, [*messages("How much?", base), {"role": "assistant", "content": reply}], base)
    after = tokenizer(whole.rpartition(reply)[2], add_special_tokens=False).input_ids
    special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())
    return next((token for token in after if token in special), end)


def check(tokenizer: Any, base: Pretrained) -> None:
    """The template must be there, and heed what it is given.

    Raises:
        ValueError: there is no template, it fails, it ignores an argument, or it drops the question or the system
            prompt.
    """
    if not tokenizer.chat_template:
        raise ValueError(
            f"model.chat_template=true, but the tokenizer of {base.name_or_path!r} has none. "
            "Set model.chat_template=false, or take the instruction-tuned variant of the model."
        )
    source = str(tokenizer.chat_template)
    if unknown := [name for name in base.template_arguments if not re.search(rf"\b{re.escape(name)}\b", source)]:
        raise ValueError(
            f"model.template_arguments: the chat template of {base.name_or_path!r} ignores {', '.join(unknown)}: "
            "leave it out, or correct its name"
        )
    rendered = attempt(tokenizer, "How much?", base)
    if base.system_prompt is not None and base.system_prompt.strip() not in rendered:
        raise ValueError(
            f"the chat template of {base.name_or_path!r} drops model.system_prompt: put it into task.instruction"
        )


def attempt(tokenizer: Any, prompt: str, base: Pretrained) -> str:
    """Return what `render` does of a prompt, once the template is known to take it.

    Raises:
        ValueError: the template fails, or drops the last message, which is the question.
    """
    advice = ": set task.turns=false, so that they are one" if TURN in prompt else ""
    what = f" on {prompt.count(TURN) + 1} messages" if TURN in prompt else ""
    try:
        end_of_turn(tokenizer, base)
        rendered = render(tokenizer, prompt, base)
    except Exception as error:  # a template is a program of its own
        raise ValueError(
            f"the chat template of {base.name_or_path!r} fails{what}: {type(error).__name__}: {error}{advice}"
        ) from error
    if prompt.rpartition(TURN)[2].strip() not in rendered:
        raise ValueError(f"the chat template of {base.name_or_path!r} drops the question{what}{advice}")
    return rendered


def _apply(tokenizer: Any, turns: list[dict[str, str]], base: Pretrained, **arguments: Any) -> str:
    given: Mapping[str, Any] = {**base.template_arguments, **arguments}
    return str(tokenizer.apply_chat_template(turns, tokenize=False, **given))


def thinking_length(tokenizer: Any, ids: Sequence[int]) -> int:
    """Count the tokens of a completion that are reasoning, with the `</think>` that ends it; 0: none ends there."""

    def ended(length: int) -> bool:
        return THOUGHT in tokenizer.decode(ids[:length], skip_special_tokens=False)

    lengths = range(len(ids) + 1)
    return bisect_left(lengths, True, key=ended) if ended(len(ids)) else 0

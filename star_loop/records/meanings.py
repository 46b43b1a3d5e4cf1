"""What a number or a word in a record means; on disk they stay the number or the word."""

from enum import IntEnum, StrEnum


class How(StrEnum):
    """How a verdict was reached, where the loop or several verifiers mean the same; verifiers add words of their own.

    Example:
        >>> How.TOO_LONG == "prompt too long"
        True
    """

    NO_ANSWER = "no answer"
    NO_MARKER = "no answer marker"
    TOO_LONG = "prompt too long"
    """The prompt filled the context, so that nothing was written."""
    TRUNCATED = "truncated"
    """The text was cut off, which in collecting is never worth learning from."""
    HINT_LEAK = "quotes the hint"
    """The rationale gives its hint away."""


class Decoding(IntEnum):
    """The `attempt` of an evaluation's rollouts: one greedy answer, or `evaluation.samples` drawn ones."""

    GREEDY = 0
    SAMPLED = 1


class Try(IntEnum):
    """The `attempt` of a wave's rollouts: every observation's first try, and the second of those that failed.

    Greater ones are the further rounds that an allocator asked for (`Allocator.again`).
    """

    FIRST = 0
    SECOND = 1

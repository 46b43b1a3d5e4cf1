"""Streams of requests: what an engine has in hand, and how a plain engine is fed batch by batch."""

from collections import Counter
from collections.abc import Callable, Generator, Mapping
from typing import Protocol, runtime_checkable

from star_loop.protocols import Engine, EngineError
from star_loop.records import Completion, Request

More = Callable[[int], Mapping[int, Request]]
"""Called with the room that there is, in completions; returns further requests, each under a number of its own, or
none: at the moment there are none."""
Drawn = Mapping[int, list[Completion]]
"""Completions by the numbers of their requests."""
Arriving = Generator[Drawn, None, None]
"""Yields what has come, as soon as it has."""

BATCH = 64
"""Completions that a plain engine is asked for at once."""


@runtime_checkable
class Streaming(Engine, Protocol):
    """An engine that is fed while it generates."""

    def stream(self, more: More) -> Arriving:
        """Completions as they come, each depending on its request alone; several times a second nothing, if need be.

        `more` is called, between two yields, whenever there is room. The end is where nothing is in flight and `more`
        has nothing; to close the generator aborts what is in flight. Raises an `EngineError` as `generate` does.
        """


def arriving(engine: Engine, more: More) -> Arriving:
    """Feed an engine whose completions each depend on their request alone. A plain one is asked batch after batch."""
    return engine.stream(more) if isinstance(engine, Streaming) else _batches(engine, more)


def _batches(engine: Engine, more: More) -> Arriving:
    while requests := more(BATCH):
        numbers = list(requests)
        came: dict[int, list[Completion]] = {}

        def keep(
            index: int,
            drawn: list[Completion],
            numbers: list[int] = numbers,
            came: dict[int, list[Completion]] = came,
        ) -> None:
            came[numbers[index]] = drawn

        try:
            done = engine.generate(list(requests.values()), seed=0, arrived=keep)
        except BaseException:
            yield came  # what is there is not lost with the rest
            raise
        yield dict(zip(numbers, done, strict=True))


class Hand:
    """The requests that an engine was given and has not answered. They outlive it: the next one is given them again.

    Args:
        more: where they come from.
    """

    def __init__(self, more: More) -> None:
        self._more = more
        self.open: dict[int, Request] = {}
        self._failures: Counter[int] = Counter()
        self._in_a_row = 0

    def fill(self, slots: int) -> Mapping[int, Request]:
        """Ask for as many as there is room for, and return them."""
        room = slots - sum(request.n for request in self.open.values())
        new = self._more(room) if room > 0 else {}
        self.open.update(new)
        return new

    def answered(self, drawn: Drawn) -> Drawn:
        """Return what of this was still open, and close it."""
        known = {number: texts for number, texts in drawn.items() if self.open.pop(number, None) is not None}
        self._in_a_row *= not known
        return known

    def survive(self, failure: EngineError, restarts: int) -> None:
        """Note that an engine failed with these requests in hand.

        Raises:
            EngineError: the failure, where it is one too many: in a row, or with one of these in hand.
        """
        self._failures.update(self.open.keys())
        self._in_a_row += 1
        if max(self._in_a_row, *(self._failures[number] for number in (-1, *self.open))) > restarts:
            raise failure

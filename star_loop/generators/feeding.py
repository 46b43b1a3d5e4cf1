"""One stream through several engines: each asks in its own thread, and is answered in the caller's."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from functools import partial

from star_loop.generators.lanes import Call, Post, ended
from star_loop.generators.process import WorkerError
from star_loop.generators.stream import Arriving, Drawn, More, arriving
from star_loop.protocols import Engine
from star_loop.records import Completion, Request

Given = Future[Mapping[int, Request]]


class Feed:
    """Deals out what `more` brings, and takes what the engines bring. All but `ask` runs in the caller's thread.

    Args:
        more: see `stream.More`.
        engines: how many are fed.
        restarts: how often a request may be in hand of an engine that fails.
    """

    def __init__(self, more: More, engines: int, restarts: int) -> None:
        self.channels = [Channel(number, self) for number in range(engines)]
        self.over = False
        """Nothing is wanted any more."""
        self._more, self._restarts = more, restarts
        self._lock = threading.Lock()
        self._hungry: dict[Channel, tuple[int, Given]] = {}
        self._given_back: dict[int, Request] = {}
        self._failures: Counter[int] = Counter()
        self._came: dict[int, list[Completion]] = {}

    def through(self, call: Call[None]) -> Arriving:
        """Yield what comes, until `more` has nothing and nothing is in hand; closed, abort what is in flight."""
        self._call = call
        try:
            for _ in call.steps():
                came, self._came = self._came, {}
                yield came
                self._deal()
                if self.over and not call.running:
                    return
        except GeneratorExit:
            self._end()
            self._await(call)
            raise
        finally:
            self._end()

    def ask(self, channel: "Channel", room: int, given: Given) -> None:
        """Note, in an engine's thread, that it has room; it is answered when there is something, or it has in hand."""
        with self._lock:
            if self.over:
                given.set_result({})
            else:
                self._hungry[channel] = room, given

    def take(self, channel: "Channel", drawn: Drawn) -> None:
        """Take what an engine has finished."""
        fresh = {number: texts for number, texts in drawn.items() if channel.hand.pop(number, None) is not None}
        if fresh:
            self._call.thrives(channel.number)
        self._came.update(fresh)

    def give_back(self, channel: "Channel", failure: WorkerError) -> None:
        """Have what was in hand of an engine that failed drawn by another.

        Raises:
            WorkerError: the failure, where one of these has been there too often.
        """
        self._failures.update(channel.hand.keys())
        if any(self._failures[number] > self._restarts for number in channel.hand):
            raise failure
        self._given_back.update(channel.hand)
        channel.hand.clear()

    def _deal(self) -> None:
        """Give to whoever has least in hand; who has nothing, and for whom there is nothing, waits."""
        with self._lock:
            hungry = dict(self._hungry)
        if not hungry:
            return
        rooms = {channel: room for channel, (room, _) in hungry.items()}
        loads = {channel: sum(request.n for request in channel.hand.values()) for channel in hungry}
        portions: dict[Channel, dict[int, Request]] = {channel: {} for channel in hungry}
        for number, request in self._next(sum(rooms.values())).items():
            channel = min(hungry, key=lambda c: (rooms[c] <= 0, loads[c]))
            rooms[channel], loads[channel] = rooms[channel] - request.n, loads[channel] + request.n
            channel.hand[number] = portions[channel][number] = request
        if not any(channel.hand for channel in self.channels):
            self._end()
            return
        with self._lock:
            for channel, portion in portions.items():
                if channel.hand:
                    self._hungry.pop(channel)[1].set_result(portion)

    def _next(self, room: int) -> Mapping[int, Request]:
        found = dict(self._given_back)
        self._given_back.clear()
        room -= sum(request.n for request in found.values())
        return {**found, **(self._more(room) if room > 0 else {})}

    def _end(self) -> None:
        with self._lock:
            self.over = True
            for _, given in self._hungry.values():
                given.set_result({})
            self._hungry.clear()

    @staticmethod
    def _await(call: Call[None]) -> None:
        """Wait until all have aborted; one that cannot is left out."""
        for lane, running in list(call.running.values()):
            ended(lane, running)


class Channel:
    """Where one engine is fed. What it was given stays in `hand` until it comes, or the engine fails."""

    def __init__(self, number: int, feed: Feed) -> None:
        self.number, self._feed = number, feed
        self.hand: dict[int, Request] = {}

    def __call__(self, engine: Engine, post: Post) -> Sequence[None]:
        """Stream until nothing is wanted, in the engine's thread."""
        try:
            with closing(arriving(engine, partial(self._ask, post))) as stream:
                for drawn in stream:
                    post(partial(self._feed.take, self, drawn))
                    if self._feed.over:
                        break
        except WorkerError as failure:
            post(partial(self._feed.give_back, self, failure))
            raise
        return ()

    def _ask(self, post: Post, room: int) -> Mapping[int, Request]:
        given: Given = Future()
        self._feed.ask(self, room, given)
        post(lambda: None)  # so that somebody looks
        return given.result()

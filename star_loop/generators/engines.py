"""Several engines that work as one.

Where a completion depends on its request alone, whoever is free takes the next. Otherwise a call is cut into shares of
consecutive requests. A share is seeded by its place in the call and goes whole to one engine, to whichever is free, so
what comes depends on the size of a share, not on how many engines there are.
"""

import math
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any, TypeVar

from star_loop.generators.feeding import Feed
from star_loop.generators.lanes import Call, Job, Lane, Post, Start, arrive
from star_loop.generators.likelihood import Means
from star_loop.generators.stream import Arriving, More
from star_loop.models import Model
from star_loop.protocols import Arrived, Engine, EngineError, Progress
from star_loop.records import Completion, Request
from star_loop.seeding import seed_for

R = TypeVar("R")
SCORED = 64
"""Sequences that are scored together."""


def several(
    starts: Sequence[Start], *, share: int | None, restarts: int, independent: bool = False
) -> closing["Engines"]:
    """Return the engines begun by each of `starts`, as one; they are gone when the context is left.

    Args:
        starts: each gives an engine whose failures are `WorkerError`s and which does not replace itself.
        share: requests of a share; None: a call is one share.
        restarts: how often an engine that failed is replaced within one call.
        independent: whether a completion depends on its request alone; nothing is cut into shares then.
    """
    lanes = [Lane(number, start) for number, start in enumerate(starts)]
    return closing(Engines(lanes, share=share, restarts=restarts, independent=independent))


class Engines:
    """See `protocols.Engine`. Callbacks are called in the caller's thread.

    An engine that fails gives its share back, for whoever is free next, and is replaced meanwhile. One that cannot be
    replaced is left out until the next model is served. A call fails when no engine is left, and when a share has
    failed more than `restarts` times.
    """

    def __init__(self, lanes: Sequence[Lane], *, share: int | None, restarts: int, independent: bool) -> None:
        self._lanes, self._share, self._restarts, self._independent = lanes, share, restarts, independent
        self._served: Model | None = None

    def serve(self, model: Model) -> None:
        """Serve on all at once, each with its own canary; an engine that was left out before may come later.

        Raises:
            EngineError: a canary failed, or no engine is left.
        """
        there = [lane for lane in self._lanes if lane.serving is not None]
        if there and model == self._served:
            return
        for lane in self._lanes:
            lane.serve(model)
        self._served = model
        failures = [failure for lane in there or self._lanes if (failure := arrive(lane))]
        if failures and not any(lane.serving for lane in self._lanes):
            raise failures[0]

    def generate(
        self,
        requests: Sequence[Request],
        *,
        seed: int,
        progress: Progress | None = None,
        arrived: Arrived | None = None,
    ) -> list[list[Completion]]:
        """Completions in request order."""
        if self._independent:
            return self._streamed(requests, progress, arrived)
        size = self._share or len(requests) or 1
        starts = range(0, len(requests), size)
        seeds = [seed_for(seed, "share", index) if self._share else seed for index in range(len(starts))]
        return self._spread([
            _Share(requests[start : start + size], seed, progress)
            for start, seed in zip(starts, seeds, strict=True)
        ])  # fmt: skip

    def stream(self, more: More) -> Arriving:
        """See `stream.Streaming`: whoever has least in hand is given first. What was in hand of one that failed goes to
        whoever is free."""
        feed = Feed(more, len(self._lanes), self._restarts)
        return feed.through(self._call(feed.channels))

    def _streamed(
        self, requests: Sequence[Request], progress: Progress | None, arrived: Arrived | None
    ) -> list[list[Completion]]:
        waiting, done = deque(enumerate(requests)), dict[int, list[Completion]]()

        def more(room: int) -> dict[int, Request]:
            """Return at most an engine's part of what is left, so that all are done at about the same time."""
            given = dict[int, Request]()
            part = math.ceil(len(waiting) / len(self._lanes))
            while waiting and len(given) < part and room > 0:
                place, request = waiting.popleft()
                given[place] = request
                room -= request.n
            return given

        for drawn in self.stream(more):
            done.update(drawn)
            for place, completions in drawn.items():
                if arrived:
                    arrived(place, completions)
                if progress:
                    progress(1)
        return [done[place] for place in range(len(requests))]

    def score(self, sequences: Sequence[tuple[Sequence[int], int]], top: int) -> list[Means | None]:
        """See `VllmEngine.score`; always cut alike."""
        parts = [sequences[start : start + SCORED] for start in range(0, len(sequences), SCORED)]
        return self._spread([partial(_score, part, top) for part in parts])

    def release(self) -> None:
        """Have all give their memory back; one that is still starting is ended."""
        self._served = None
        releasing = []
        for lane in self._lanes:
            if lane.serving is not None and lane.serving.done():
                releasing.append(lane.do(lambda engine: engine.release()))
            elif lane.serving is not None:
                lane.leave_out()
        for released in releasing:
            released.result()

    def close(self) -> None:
        """End all of them."""
        for lane in self._lanes:
            lane.leave_out()
        for lane in self._lanes:
            lane.close()

    def _spread(self, jobs: Sequence[Job[R]]) -> list[R]:
        return [one for part in self._call(jobs)() for one in part]

    def _call(self, jobs: Sequence[Job[R]]) -> Call[R]:
        assert self._served is not None
        call = Call(jobs, self._served, self._restarts)
        for lane in self._lanes:
            call.expect(lane)
        if not call.under_way:
            raise EngineError("no engine is left: serve a model first")
        return call


class _Share:
    """Requests that are seeded and generated together."""

    def __init__(self, requests: Sequence[Request], seed: int, progress: Progress | None) -> None:
        self.requests, self.seed, self.progress = requests, seed, progress
        self.told = 0

    def __call__(self, engine: Engine, post: Post) -> list[list[Completion]]:
        reached = 0

        def tell(units: int) -> None:
            nonlocal reached
            reached += units
            post(partial(self._tell, reached))

        return engine.generate(self.requests, seed=self.seed, progress=tell)

    def _tell(self, reached: int) -> None:
        """Tell of each request once, also where the share began again."""
        if self.progress and reached > self.told:
            self.progress(reached - self.told)
        self.told = max(reached, self.told)


def _score(sequences: Sequence[tuple[Sequence[int], int]], top: int, engine: Any, _: Post) -> list[Means | None]:
    found: list[Means | None] = engine.score(sequences, top)
    return found

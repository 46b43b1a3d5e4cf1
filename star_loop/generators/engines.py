"""Several engines that work as one.

A call is cut into shares of consecutive requests. A share is seeded by its place in the call and goes whole to one
engine, to whichever is free, so what comes depends on the size of a share, not on how many engines there are.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from star_loop.generators.likelihood import Means
from star_loop.generators.process import WorkerError
from star_loop.models import Model
from star_loop.protocols import Arrived, Engine, EngineError, Progress
from star_loop.records import Completion, Request
from star_loop.seeding import seed_for

logger = logging.getLogger(__name__)

R = TypeVar("R")
Start = Callable[[], AbstractContextManager[Engine]]
Post = Callable[[Callable[[], None]], None]
"""Hands something that is to be done to the caller's thread."""
Job = Callable[[Any, Post], Sequence[R]]
"""Work that any of the engines can do, in the engine's thread."""
SCORED = 64
"""Sequences that are scored together."""


@runtime_checkable
class Abortable(Protocol):
    """An engine whose call can be ended from another thread."""

    def abort(self) -> None:
        """Let what is under way fail at once; afterwards the engine can only be closed."""


def several(starts: Sequence[Start], *, share: int | None, restarts: int) -> closing["Engines"]:
    """Return the engines begun by each of `starts`, as one; they are gone when the context is left.

    Args:
        starts: each gives an engine whose failures are `WorkerError`s and which does not replace itself.
        share: requests of a share; None: a call is one share.
        restarts: how often an engine that failed is replaced within one call.
    """
    return closing(
        Engines([Lane(number, start) for number, start in enumerate(starts)], share=share, restarts=restarts)
    )


class Lane:
    """One engine, and the thread in which all of it happens: a worker process ends with the thread that began it."""

    def __init__(self, number: int, start: Start) -> None:
        self.number, self._start = number, start
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"engine-{number}")
        self._opened = self._thread.submit(self._open)
        self._latest: Future[Any] = self._opened
        self._left_out = False
        self.serving: Future[None] | None = None
        """The engine has started, and the served model is what generates. None: it is left out."""

    def do(self, act: Callable[[Engine], R]) -> Future[R]:
        """Act on the engine, after all that it was told to do before."""
        opened = self._opened
        self._latest = doing = self._thread.submit(lambda: act(opened.result()[0]))
        return doing

    def serve(self, model: Model) -> None:
        """Begin to serve this model; an engine that was left out is started again."""
        if self._left_out:
            self._opened, self._left_out = self._thread.submit(self._open), False
        self.serving = self.do(lambda engine: engine.serve(model))

    def leave_out(self) -> None:
        """Begin to end the engine, whatever it is doing."""
        opened, self.serving, self._left_out = self._opened, None, True
        if not self._latest.done() and not opened.exception() and isinstance(engine := opened.result()[0], Abortable):
            engine.abort()
        if not opened.exception():
            self._latest = self._thread.submit(lambda: opened.result()[1].close())

    def close(self) -> None:
        """Wait until nothing is left of it."""
        self._thread.shutdown()
        self._latest.result()

    def _open(self) -> tuple[Engine, ExitStack]:
        stack = ExitStack()
        return stack.enter_context(self._start()), stack


class Engines:
    """See `protocols.Engine`. Callbacks are called in the caller's thread.

    An engine that fails gives its share back, for whoever is free next, and is replaced meanwhile. One that cannot be
    replaced is left out until the next model is served. A call fails when no engine is left, and when a share has
    failed more than `restarts` times.
    """

    def __init__(self, lanes: Sequence[Lane], *, share: int | None, restarts: int) -> None:
        self._lanes, self._share, self._restarts = lanes, share, restarts
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
        size = self._share or len(requests) or 1
        starts = range(0, len(requests), size)
        seeds = [seed_for(seed, "share", index) if self._share else seed for index in range(len(starts))]
        return self._spread([
            _Share(requests[start : start + size], start, seed, progress, arrived)
            for start, seed in zip(starts, seeds, strict=True)
        ])  # fmt: skip

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
        assert self._served is not None
        call = _Call(jobs, self._served, self._restarts)
        for lane in self._lanes:
            call.expect(lane)
        if not call.under_way:
            raise EngineError("no engine is left: serve a model first")
        return [one for part in call() for one in part]


class _Share:
    """Requests that are seeded and generated together; what arrived of them is not asked again."""

    def __init__(
        self, requests: Sequence[Request], first: int, seed: int, progress: Progress | None, arrived: Arrived | None
    ) -> None:
        self.requests, self.first, self.seed, self.progress, self.arrived = requests, first, seed, progress, arrived
        self.told = 0
        self.have: dict[int, list[Completion]] = {}

    def __call__(self, engine: Engine, post: Post) -> list[list[Completion]]:
        left = [index for index in range(len(self.requests)) if index not in self.have]
        reached = len(self.have)

        def tell(units: int) -> None:
            nonlocal reached
            reached += units
            post(partial(self._tell, reached))

        done = engine.generate(
            [self.requests[index] for index in left],
            seed=self.seed,
            progress=tell,
            arrived=lambda place, drawn: post(partial(self._keep, left[place], drawn)),
        )
        whole = self.have | dict(zip(left, done, strict=True))
        return [whole[index] for index in range(len(self.requests))]

    def _tell(self, reached: int) -> None:
        """Tell of each request once, also where the share began again."""
        if self.progress and reached > self.told:
            self.progress(reached - self.told)
        self.told = max(reached, self.told)

    def _keep(self, index: int, drawn: list[Completion]) -> None:
        self.have[index] = drawn
        if self.arrived:
            self.arrived(self.first + index, drawn)


class _Call(Generic[R]):
    """Jobs in order, and the lanes that are coming, free or busy. All but the jobs runs in the caller's thread."""

    def __init__(self, jobs: Sequence[Job[R]], model: Model, restarts: int) -> None:
        self.jobs, self.model, self.restarts = jobs, model, restarts
        self.waiting = deque(range(len(jobs)))
        self.free: deque[Lane] = deque()
        self.under_way = 0
        """Lanes that are coming or busy."""
        self.done: dict[int, Sequence[R]] = {}
        self.failures: Counter[int | Lane] = Counter()
        self.events: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def __call__(self) -> list[Sequence[R]]:
        """Do the jobs and return what each returns, in their order.

        Raises:
            EngineError: a job failed too often, no lane is left, or a canary failed.
        """
        while len(self.done) < len(self.jobs):
            while self.waiting and self.free:
                self._begin(self.free.popleft(), self.waiting.popleft())
            self.events.get()()
        return [self.done[index] for index in range(len(self.jobs))]

    def expect(self, lane: Lane) -> None:
        """Use this lane as soon as it serves."""
        if lane.serving is not None:
            self.under_way += 1
            lane.serving.add_done_callback(lambda _: self.events.put(partial(self._came, lane)))

    def _begin(self, lane: Lane, job: int) -> None:
        self.under_way += 1
        running = lane.do(lambda engine: self.jobs[job](engine, self.events.put))
        running.add_done_callback(lambda _: self.events.put(partial(self._ended, lane, job, running)))

    def _came(self, lane: Lane) -> None:
        self.under_way -= 1
        failure = arrive(lane)
        if failure is None:
            self.free.append(lane)
        elif not (self.under_way or self.free):
            raise failure

    def _ended(self, lane: Lane, job: int, running: "Future[Sequence[R]]") -> None:
        self.under_way -= 1
        failure = running.exception()
        if failure is None:
            self.done[job] = running.result()
            self.free.append(lane)
        elif isinstance(failure, WorkerError):
            self._replace(lane, job, failure)
        else:
            raise failure

    def _replace(self, lane: Lane, job: int, failure: WorkerError) -> None:
        lane.leave_out()
        self.failures.update((job, lane))
        if self.failures[job] > self.restarts:
            raise failure
        self.waiting.appendleft(job)
        if self.failures[lane] <= self.restarts:
            logger.warning("engine %d is started again: %s", lane.number, failure)
            lane.serve(self.model)
            self.expect(lane)
        elif not (self.under_way or self.free):
            raise failure


def arrive(lane: Lane) -> WorkerError | None:
    """Wait until the lane serves; an engine that failed is left out, and its failure returned.

    Raises:
        EngineError: the canary failed.
    """
    assert lane.serving is not None
    failure = lane.serving.exception()
    if isinstance(failure, WorkerError):
        logger.warning("engine %d is left out: %s", lane.number, failure)
        lane.leave_out()
        return failure
    if failure is not None:
        raise failure
    return None


def _score(sequences: Sequence[tuple[Sequence[int], int]], top: int, engine: Any, _: Post) -> list[Means | None]:
    found: list[Means | None] = engine.score(sequences, top)
    return found

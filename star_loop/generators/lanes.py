"""Threads that each have an engine of their own, and calls whose jobs they do."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from star_loop.generators.process import WorkerError
from star_loop.models import Model
from star_loop.protocols import Engine

logger = logging.getLogger(__name__)

R = TypeVar("R")
Start = Callable[[], AbstractContextManager[Engine]]
Post = Callable[[Callable[[], None]], None]
"""Hands something that is to be done to the caller's thread."""
Job = Callable[[Any, Post], Sequence[R]]
"""Work that any of the engines can do, in the engine's thread."""


@runtime_checkable
class Abortable(Protocol):
    """An engine whose call can be ended from another thread."""

    def abort(self) -> None:
        """Let what is under way fail at once; afterwards the engine can only be closed."""


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


class Call(Generic[R]):
    """Jobs in order, and the lanes that are coming, free or busy. All but the jobs runs in the caller's thread."""

    def __init__(self, jobs: Sequence[Job[R]], model: Model, restarts: int) -> None:
        self.jobs, self.model, self.restarts = jobs, model, restarts
        self.waiting = deque(range(len(jobs)))
        self.free: deque[Lane] = deque()
        self.under_way = 0
        """Lanes that are coming or busy."""
        self.running: dict[int, tuple[Lane, Future[Sequence[R]]]] = {}
        """By job."""
        self.done: dict[int, Sequence[R]] = {}
        self.failures: Counter[int | Lane] = Counter()
        self.events: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def __call__(self) -> list[Sequence[R]]:
        """Do the jobs and return what each returns, in their order.

        Raises:
            EngineError: a job failed too often, no lane is left, or a canary failed.
        """
        for _ in self.steps():
            pass
        return [self.done[index] for index in range(len(self.jobs))]

    def steps(self) -> Iterator[None]:
        """Do the jobs; yield whenever all that has happened was looked at."""
        while len(self.done) < len(self.jobs):
            while self.waiting and self.free:
                self._begin(self.free.popleft(), self.waiting.popleft())
            self.events.get()()
            while not self.events.empty():
                self.events.get()()
            yield

    def thrives(self, job: int) -> None:
        """Forget the failures of a job, and of the lane that does it: something has come of it."""
        if job in self.running:
            self.failures.pop(job, None)
            self.failures.pop(self.running[job][0], None)

    def expect(self, lane: Lane) -> None:
        """Use this lane as soon as it serves."""
        if lane.serving is not None:
            self.under_way += 1
            lane.serving.add_done_callback(lambda _: self.events.put(partial(self._came, lane)))

    def _begin(self, lane: Lane, job: int) -> None:
        self.under_way += 1
        running = lane.do(lambda engine: self.jobs[job](engine, self.events.put))
        self.running[job] = lane, running
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
        del self.running[job]
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
    return ended(lane, lane.serving)


def ended(lane: Lane, doing: Future[Any]) -> WorkerError | None:
    """Wait until something of the lane has ended; an engine that failed is left out, and its failure returned.

    Raises:
        EngineError: another failure.
    """
    failure = doing.exception()
    if isinstance(failure, WorkerError):
        logger.warning("engine %d is left out: %s", lane.number, failure)
        lane.leave_out()
        return failure
    if failure is not None:
        raise failure
    return None

"""Jobs that wait for somebody else, many at once."""

from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TypeVar

R = TypeVar("R")


def side_by_side(
    jobs: Sequence[Callable[[], R]], workers: int, stop: Event, arrived: Callable[[int, R], None] | None = None
) -> list[R]:
    """Do all jobs, `workers` of them at once, and return what each returns.

    Args:
        jobs: each in any thread.
        workers: threads, which nobody has to wait for: an interrupted run ends at once.
        stop: set here where the rest is not wanted; a job that waits looks at it.
        arrived: told, in the caller's thread, of a job and what it returned, as they finish.

    Raises:
        Exception: the first of a job; those under way have ended then, and `arrived` was told of what they returned.
    """
    waiting: SimpleQueue[int] = SimpleQueue()
    ended: SimpleQueue[tuple[int, R | Exception]] = SimpleQueue()
    for index in range(len(jobs)):
        waiting.put(index)

    def work() -> None:
        while not stop.is_set():
            try:
                index = waiting.get_nowait()
            except Empty:
                return
            try:
                ended.put((index, jobs[index]()))
            except Exception as error:  # it is raised in the caller's thread
                ended.put((index, error))

    stop.clear()
    threads = [Thread(target=work, daemon=True) for _ in range(min(workers, len(jobs)))]
    for thread in threads:
        thread.start()
    results: dict[int, R] = {}
    failure: Exception | None = None
    try:
        while len(results) < len(jobs) and (failure is None or not ended.empty()):
            index, outcome = ended.get()
            if not isinstance(outcome, Exception):
                results[index] = outcome
                if arrived:
                    arrived(index, outcome)
            elif failure is None:
                failure = outcome
                stop.set()
                for thread in threads:
                    thread.join()
    except BaseException:  # the caller's own, or an interrupt
        stop.set()
        raise
    stop.clear()
    if failure is not None:
        raise failure
    return [results[index] for index in range(len(jobs))]

"""One session for the loop, however many trackers listen: none of them can stop the run."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType

from star_loop.protocols import Session, Tracker
from star_loop.records import Metrics

logger = logging.getLogger(__name__)


@contextmanager
def fan_out(trackers: Mapping[str, Tracker], directory: Path, committed: Sequence[Metrics]) -> Iterator[Session]:
    """Yield a session that forwards to every tracker, in the mapping's order.

    A tracker that cannot be opened raises, because nothing expensive has begun yet. Where a run is continued, perhaps
    by a cluster at night, only a mistake of whoever launches it does (`ValueError`). Any other trouble is reported once
    in the log, and the run goes on; a tracker that has failed is still told of what follows, so a passing trouble costs
    it little.

    Args:
        trackers: name -> tracker, as configured.
        directory: the run directory.
        committed: metrics of the iterations that exist already, from 0.
    """
    with ExitStack() as stack:
        sessions = []
        for name, tracker in trackers.items():
            guarded = _Guarded(name, tracker, directory, committed)
            stack.push(guarded.close)
            sessions.append(guarded)
        yield _FanOut(sessions)


class _Guarded(Session):
    """One tracker's session, whose failures become one warning."""

    def __init__(self, name: str, tracker: Tracker, directory: Path, committed: Sequence[Metrics]) -> None:
        self._name = name
        self._reported = False
        self._context: AbstractContextManager[Session] = tracker.session(directory, committed)
        try:
            self._session = self._context.__enter__()
        except Exception as failure:
            if not committed or isinstance(failure, ValueError):
                raise
            self._report("open", failure)
            self._context, self._session = nullcontext(Session()), Session()

    def phase(self, iteration: int, name: str, total: int | None) -> None:
        self._attempt("phase", lambda: self._session.phase(iteration, name, total))

    def advance(self, units: int, tokens: int = 0, asked: int = 0) -> None:
        self._attempt("advance", lambda: self._session.advance(units, tokens, asked))

    def log(self, iteration: int, metrics: Metrics) -> None:
        self._attempt("log", lambda: self._session.log(iteration, metrics))

    def close(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the session; the run's own exception is shown to the tracker, and goes on whatever the tracker says."""
        try:
            self._context.__exit__(kind, error, trace)
        except Exception as failure:
            if failure is not error:
                self._report("close", failure)

    def _attempt(self, event: str, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception as failure:
            self._report(event, failure)

    def _report(self, event: str, failure: Exception) -> None:
        if not self._reported:
            self._reported = True
            logger.warning(
                "Tracker '%s' failed in %s: %s: %s. The run goes on; further failures of it are not reported.",
                self._name, event, type(failure).__name__, failure,
            )  # fmt: skip


class _FanOut(Session):
    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = sessions

    def phase(self, iteration: int, name: str, total: int | None) -> None:
        for session in self._sessions:
            session.phase(iteration, name, total)

    def advance(self, units: int, tokens: int = 0, asked: int = 0) -> None:
        for session in self._sessions:
            session.advance(units, tokens, asked)

    def log(self, iteration: int, metrics: Metrics) -> None:
        for session in self._sessions:
            session.log(iteration, metrics)

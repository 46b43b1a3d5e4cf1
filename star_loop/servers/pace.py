"""How fast a server may be asked, and how long it is left alone."""

import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from threading import Lock

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds before a request is sent again, where the server does not say."""
_LONGEST_OBEYED = 86400.0
"""Seconds that a server may want; more is a slip, and nobody would wait for it."""


class Pace:
    """Spreads what is spent evenly over time: `units` of requests or tokens take `60 · units / per_minute` seconds.

    Args:
        per_minute: units of a minute; None: as many as come.
        clock: seconds, of any origin.
    """

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = 60 / per_minute if per_minute else 0.0
        self._clock, self._free, self._lock = clock, clock(), Lock()

    def reserve(self, units: float) -> float:
        """Take the next free time for these units, and return the seconds until it begins.

        Units below 0 give back what was reserved and not spent.
        """
        with self._lock:
            now = self._clock()
            begin = max(now, self._free)
            self._free = begin + units * self._seconds
            return begin - now

    def pause(self, seconds: float) -> None:
        """Let nothing begin for so long."""
        with self._lock:
            self._free = max(self._free, self._clock() + seconds)


def patience(error: Exception, attempt: int) -> float:
    """Return the seconds before the next attempt: the server's own, else a wait that doubles.

    Args:
        error: why this attempt failed, with the server's `response` where there was one.
        attempt: how many there were before it.
    """
    response = getattr(error, "response", None)
    seconds = None if response is None else stated(response.headers)
    return min(_FIRST_WAIT * 2.0 ** min(attempt, 99), _LONGEST_WAIT) if seconds is None else seconds


def stated(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server wants to be left alone; None: it does not say, or names no time.

    Example:
        >>> stated({"retry-after-ms": "250"}), stated({"retry-after": "inf"})
        (0.25, None)
    """
    for name, read in (("retry-after-ms", _milliseconds), ("retry-after", float), ("retry-after", _until)):
        try:
            seconds = read(headers[name])
        except (KeyError, ValueError, OverflowError):
            continue
        if seconds <= _LONGEST_OBEYED:
            return max(seconds, 0.0)
    return None


def _milliseconds(said: str) -> float:
    return float(said) / 1000


def _until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()

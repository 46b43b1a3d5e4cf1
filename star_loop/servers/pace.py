"""How fast a server may be asked."""

import time
from collections.abc import Callable
from threading import Lock


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

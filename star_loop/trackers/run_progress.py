"""How far a run has come: accuracy so far, tokens per second, and when it will be complete."""

import math
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.text import Text

from star_loop.accounting.metrics import base_accuracy
from star_loop.records import Metrics
from star_loop.report import quantities

GAP = "  "
TOLD_FROM = 0.05
"""Share of a phase before which nobody can tell how long it takes: the engine may have started meanwhile."""
_SPAN = 100 * 365 * 86400.0
"""Seconds: an end beyond a century is not foretold."""
_FOREVER, _LARGEST = 10**12, 300.0
"""Iterations, and the logarithm of a growth, beyond which the time left is only known to be too long."""


class RunProgress:
    """How far the run has come: what the console says beside the figures of a single iteration."""

    def __init__(self, last: int | None) -> None:
        self.last = last
        self._seconds: list[float] = []
        self._accuracies: list[float] = []
        self._iteration, self._began = 0, time.monotonic()
        self._tokens, self._phase = 0, time.monotonic()
        self.done = self.asked = self._ahead = 0
        """Of the phase: units that are done, questions that have an answer, and those of them not judged yet."""
        self._yield: float | None = None
        self._saved = 0.0
        """Seconds of the first iteration that the second will not need."""

    def phase(self, iteration: int) -> None:
        """Begin another phase."""
        self._phase, self._tokens = time.monotonic(), 0
        self.done = self.asked = self._ahead = 0
        if iteration != self._iteration:
            self._iteration, self._began = iteration, self._phase

    def generated(self, tokens: int, asked: int) -> None:
        """The phase has generated so many more tokens, and has answers to so many more questions."""
        self._tokens += tokens
        self.asked += asked
        self._ahead = self._ahead + asked if asked or tokens else 0  # else what came was judged

    def committed(self, iteration: int, metrics: Metrics) -> float | None:
        """Return the change of the test accuracy since it was measured before; None: there is nothing to compare."""
        self._iteration, self._began = iteration + 1, time.monotonic()
        if iteration:
            self._seconds.append(metrics.get("seconds/total", 0.0))
        visited = metrics.get("collect/observations")
        self._yield = metrics["collect/accepted"] / visited if visited else base_accuracy(metrics)
        if (accuracy := base_accuracy(metrics)) is None:
            return None
        self._accuracies.append(accuracy)
        if len(self._accuracies) < 2:
            return None
        before, after = self._accuracies[-2:]
        if iteration == 1 and after > before and "collect/quota" in metrics:  # it is filled the sooner
            self._saved = metrics.get("seconds/collect", 0.0) * (1 - before / after)
        return after - before

    def advance(self, units: int, tokens: int, asked: int) -> None:
        """Note what is done besides; see `generated`."""
        self.generated(tokens, asked)
        self.done += units

    @property
    def foreseen(self) -> float:
        """Return what is done, with what the questions that are not judged yet add if it goes as in the iteration
        before."""
        return self.done + self._ahead * (self._yield or 0.0)

    def left(self, iteration: int) -> float | None:
        """Seconds from the beginning of an iteration to the end of the run; None: nobody can tell yet."""
        if self.last is None or not self._seconds or iteration > self.last:
            return None
        typical = self._seconds if len(self._seconds) > 1 else [self._seconds[0] - self._saved]
        left = seconds_left(typical, self.last - iteration + 1)
        return left if left < _SPAN else None

    def text(self, width: int, phase: float = 0.0) -> Text:
        """Return the status in a line; what does not fit is left out.

        Args:
            width: columns.
            phase: seconds that the phase at work still takes: the run does not end before it.
        """
        parts, now = [], time.monotonic()
        if self._accuracies:
            change = f" ({quantities.points(self._accuracies[-1] - self._accuracies[0])})" if self._seconds else ""
            parts.append(f"accuracy {quantities.percent(self._accuracies[-1])}{change}")
        if self.asked:
            parts.append(f"{self.asked} asked")
        if self._tokens and now > self._phase:
            parts.append(f"{quantities.count(self._tokens / (now - self._phase))} tokens/s")
        left = self.left(self._iteration)
        if left is not None:
            left = max(left - (now - self._began), phase)
            finish = datetime.now() + timedelta(seconds=left)
            day = " on %d %b" if left > 43200 else ""
            parts.append(f"ends about {finish:%H:%M{day}{' %Y' if left > 3e7 else ''}}")
        while parts and len(GAP.join(parts)) > width:
            parts.pop()
        return Text(GAP.join(parts), style="dim", no_wrap=True)


def seconds_left(durations: Sequence[float], iterations: int) -> float:
    """Predict what so many more iterations take, if they go on to become longer as they did: as a geometric series.

    Args:
        durations: seconds of the iterations so far, at least one.
        iterations: how many are to come.

    Example:
        >>> seconds_left([60], 3), seconds_left([100, 120], 2)
        (180, 316.8)
    """
    first, last, iterations = durations[0], durations[-1], min(iterations, _FOREVER)
    growth = (last / first) ** (1 / (len(durations) - 1)) if len(durations) > 1 and first > 0 else 1.0
    growth = min(max(growth, 1.0), 1.5)  # of a few short iterations nothing steeper should be concluded
    if (step := math.log(growth)) == 0:
        return round(last * iterations, 1)
    return round(last * growth * math.expm1(min(step * iterations, _LARGEST)) / math.expm1(step), 1)

"""How far a run has come: accuracy so far, tokens per second, and when it will be complete."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.text import Text

from star_loop.accounting.metrics import base_accuracy
from star_loop.records import Metrics
from star_loop.report import quantities

GAP = "  "


class RunProgress:
    """How far the run has come: what the console says beside the figures of a single iteration."""

    def __init__(self, last: int | None) -> None:
        self.last = last
        self._seconds: list[float] = []
        self._accuracies: list[float] = []
        self._iteration, self._began = 0, time.monotonic()
        self._tokens, self._asked, self._phase = 0, 0, time.monotonic()

    def phase(self, iteration: int) -> None:
        """Begin another phase."""
        self._phase, self._tokens, self._asked = time.monotonic(), 0, 0
        if iteration != self._iteration:
            self._iteration, self._began = iteration, self._phase

    def generated(self, tokens: int, asked: int) -> None:
        """The phase has generated so many more tokens, and has answers to so many more questions."""
        self._tokens += tokens
        self._asked += asked

    def committed(self, iteration: int, metrics: Metrics) -> float | None:
        """Return the change of the test accuracy since it was measured before; None: there is nothing to compare."""
        if iteration:
            self._seconds.append(metrics.get("seconds/total", 0.0))
        if (accuracy := base_accuracy(metrics)) is None:
            return None
        self._accuracies.append(accuracy)
        return self._accuracies[-1] - self._accuracies[-2] if len(self._accuracies) > 1 else None

    def left(self, iteration: int) -> float | None:
        """Seconds from the beginning of an iteration to the end of the run; None: nobody can tell yet."""
        if self.last is None or not self._seconds or iteration > self.last:
            return None
        return seconds_left(self._seconds, self.last - iteration + 1)

    def text(self, width: int) -> Text:
        """The status in a line; what does not fit is left out."""
        parts, now = [], time.monotonic()
        if self._accuracies:
            change = f" ({quantities.points(self._accuracies[-1] - self._accuracies[0])})" if self._seconds else ""
            parts.append(f"accuracy {quantities.percent(self._accuracies[-1])}{change}")
        if self._asked:
            parts.append(f"{self._asked} asked")
        if self._tokens and now > self._phase:
            parts.append(f"{quantities.count(self._tokens / (now - self._phase))} tokens/s")
        left = self.left(self._iteration)
        if left is not None:
            left = max(left - (now - self._began), 0.0)
            finish = datetime.now() + timedelta(seconds=left)
            parts.append(f"ends about {finish:%H:%M}" + (f" on {finish:%d %b}" if left > 43200 else ""))
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
        (180.0, 316.8)
    """
    first, last = durations[0], durations[-1]
    growth = (last / first) ** (1 / (len(durations) - 1)) if len(durations) > 1 and first > 0 else 1.0
    growth = min(max(growth, 1.0), 1.5)  # of a few short iterations nothing steeper should be concluded
    return round(last * sum(growth**k for k in range(len(durations) > 1, iterations + (len(durations) > 1))), 1)

"""The live bar below the console's table: the phase at work, its rate and time left, and how the run stands."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console as Screen
from rich.console import ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from star_loop.report import quantities
from star_loop.trackers.run_progress import TOLD_FROM, RunProgress


@contextmanager
def progress_bar(screen: Screen, so_far: RunProgress) -> Iterator[Progress]:
    """Show it while it is wanted; afterwards nothing of it is left."""
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        _Done(),
        _Rate(),
    ]
    progress = _Bar(*columns, console=screen, transient=True, expand=True)
    progress.so_far = so_far
    with progress:
        # A bar needs no hidden cursor, and a killed process could not bring it back.
        screen.show_cursor(True)
        yield progress


class _Bar(Progress):
    """A progress display with how far the run is below, and room at its right for the `^C` that a terminal echoes.

    If that were wrapped into the next line, the bar could not be erased.
    """

    so_far: RunProgress | None = None

    def get_renderable(self) -> RenderableType:
        """Return the display of the moment."""
        phase = max((_left(task) or 0.0 for task in self.tasks), default=0.0)
        below = [self.so_far.text(self.console.width - _ECHO, phase)] if self.so_far else []
        return _Narrower(Group(super().get_renderable(), *(line for line in below if line)))


_ECHO = len("^C") + 1


class _Narrower:
    def __init__(self, content: RenderableType) -> None:
        self._content = content

    def __rich_console__(self, console: Screen, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self._content, options.update_width(max(1, options.max_width - _ECHO)))


class _Done(ProgressColumn):
    """Units that are done, of all of them: what the bar foresees is not counted."""

    def render(self, task: Task) -> Text:
        """Return `12/320`."""
        return Text(f"{task.fields['done']}/{'?' if task.total is None else int(task.total)}", no_wrap=True)


class _Rate(ProgressColumn):
    """Units per second, and the time left at that rate."""

    def render(self, task: Task) -> Text:
        """Return the recent rate; before the second report, that of the phase so far."""
        rate = _per_second(task)
        if not rate:
            return Text(quantities.duration(task.elapsed and float(int(task.elapsed))), no_wrap=True)
        written = f"{rate:.2g}/s" if rate < 10 else f"{quantities.count(rate)}/s"
        left = _left(task)
        if left is None:
            return Text(written, no_wrap=True)
        return Text(f"{written}  {round(left) // 60}:{round(left) % 60:02d} left", no_wrap=True)


def _per_second(task: Task) -> float:
    return task.speed or (task.completed / task.elapsed if task.elapsed else 0.0)


def _left(task: Task) -> float | None:
    """Tell how many seconds are left of the phase; None: nobody can tell."""
    rate = _per_second(task)
    if task.total is None or not rate or task.completed < TOLD_FROM * task.total:
        return None
    return max(0.0, task.total - task.completed) / rate


@contextmanager
def log_above_the_bar() -> Iterator[None]:
    """Let log handlers that write to the terminal write through the live display, which keeps the bar in one piece."""
    terminals = (sys.__stdout__, sys.__stderr__)
    redirected = [
        (handler, handler.stream)
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream in terminals
    ]
    for handler, stream in redirected:
        handler.setStream(sys.stdout if stream is sys.__stdout__ else sys.stderr)
    try:
        yield
    finally:
        for handler, stream in redirected:
            handler.setStream(stream)

"""The console: a live bar and a table for people at a terminal, `key=value` lines for logs and pipes."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from rich.console import Console as Screen
from rich.progress import Progress
from rich.text import Text

from star_loop.accounting.metrics import WITH_EXAMPLES
from star_loop.protocols import Session, Tracker
from star_loop.records import Metrics
from star_loop.report import quantities
from star_loop.run.directory import RunDirectory
from star_loop.trackers.bar import log_above_the_bar, progress_bar
from star_loop.trackers.remarks import Remarks, with_examples
from star_loop.trackers.run_progress import GAP, TOLD_FROM, RunProgress


class Console(Tracker):
    """Shows the run as it goes.

    In a terminal: one table row per committed iteration, and below it a bar for the phase at work with its rate and the
    time left (collecting counts accepted rationales, up to the quota), the accuracy so far with its change since the
    base model, tokens per second, and when the run will be complete. Elsewhere: one line per event, whose first word is
    `resumed`, `phase`, `progress`, `committed`, `baseline` or `remark`. Iterations that a former launch committed are
    shown once at the start. Colours are left out where `NO_COLOR` is set.
    """

    live: bool | None = None
    """Whether to draw the table and the bar; None: where standard output is a terminal."""
    iterations: int | None = None
    """The run's last iteration, for the estimate of its end; None: no estimate."""
    progress_every: float = Field(30.0, ge=0)
    """Seconds between lines of progress within a phase, where there is no bar; 0: at every report."""

    @contextmanager
    def session(self, directory: Path, committed: Sequence[Metrics]) -> Iterator[Session]:
        """Show what exists, then what happens. The bar is taken away at the end, whatever the end is."""
        screen = Screen(highlight=False, markup=False, emoji=False)
        if not (screen.is_terminal if self.live is None else self.live):
            yield _Lines(screen, directory, committed, RunProgress(self.iterations), self.progress_every)
            return
        with progress_bar(screen, so_far := RunProgress(self.iterations)) as progress, log_above_the_bar():
            yield _Table(screen, progress, directory, committed, so_far)


def _asked(directory: Path) -> str:
    return quantities.asked(RunDirectory(directory).config())


# -------------------------------------------------------------------------------------------------------- lines

_FIELDS = (
    ("accuracy", "evaluation/accuracy", ".4f"),
    ("low", "evaluation/accuracy_low", ".4f"),
    ("high", "evaluation/accuracy_high", ".4f"),
    ("observations", "collect/observations", ".0f"),
    ("rollouts", "collect/rollouts", ".0f"),
    ("correct", "collect/correct", ".0f"),
    ("accepted", "collect/accepted", ".0f"),
    ("quota", "collect/quota", ".0f"),
    ("examples", "train/examples", ".0f"),
    ("loss", "train/loss", ".4f"),
    ("generated", "tokens/generated", ".0f"),
    ("flops", "flops/cumulative", ".3e"),
    ("seconds", "seconds/total", ".1f"),
)


class _Lines(Session):
    """Lines for logs: `grep ^committed` gives one line per iteration of this launch."""

    def __init__(
        self, screen: Screen, directory: Path, committed: Sequence[Metrics], so_far: RunProgress, every: float
    ) -> None:
        self._screen, self._so_far, self._every, self._remarks = screen, so_far, every, Remarks(directory)
        self._phase = ""
        self._total: int | None = None
        self._began = self._told = time.monotonic()
        self._print(f"run directory={directory} asked={_asked(directory)!r}")
        for iteration, metrics in enumerate(committed):
            self._event("resumed", iteration, metrics)

    def phase(self, iteration: int, name: str, total: int | None) -> None:
        self._so_far.phase(iteration)
        self._phase, self._total = f"iteration={iteration} name={name}", total
        self._began = self._told = time.monotonic()
        self._print(f"phase {self._phase}" + ("" if total is None else f" total={total}"))

    def advance(self, units: int, tokens: int = 0, asked: int = 0) -> None:
        self._so_far.advance(units, tokens, asked)
        now = time.monotonic()
        if now - self._told >= self._every:
            self._told = now
            self._print(f"progress {self._phase} {self._progress(now - self._began)}")

    def _progress(self, seconds: float) -> str:
        """Show what is done, how many answers came a second, and the seconds left at this rate."""
        shown = [f"done={self._so_far.done}"] + ([] if self._total is None else [f"total={self._total}"])
        answers, done = self._so_far.asked or self._so_far.done, self._so_far.foreseen
        shown += [f"asked={self._so_far.asked}"] if self._so_far.asked else []
        shown += [f"rate={answers / seconds:.2f}/s"] if seconds else []
        if self._total is not None and done and seconds and done >= TOLD_FROM * self._total:
            shown.append(f"seconds_left={max(self._total - done, 0) * seconds / done:.0f}")
        return " ".join(shown)

    def log(self, iteration: int, metrics: Metrics) -> None:
        self._event("committed", iteration, metrics)

    def _event(self, event: str, iteration: int, metrics: Metrics) -> None:
        shown = [f"{key}={metrics[name]:{form}}" for key, name, form in _FIELDS if name in metrics]
        change, left = self._so_far.committed(iteration, metrics), self._so_far.left(iteration + 1)
        shown += [] if change is None else [f"change={change:+.4f}"]
        shown += [] if left is None else [f"seconds_left={left:.0f}"]
        self._print(" ".join([event, f"iteration={iteration}", *shown]))
        if (base := with_examples(metrics)) is not None:
            shown = [f"{key}={base[name]:{form}}" for key, name, form in _FIELDS if name in base]
            self._print(" ".join([f"baseline iteration={iteration} asked=with_worked_examples", *shown]))
        for remark in self._remarks.new(iteration, metrics):
            self._print(f"remark iteration={iteration} {remark}")

    def _print(self, line: str) -> None:
        self._screen.print(line, soft_wrap=True)


# -------------------------------------------------------------------------------------------------------- table


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    title: str
    width: int
    text: Callable[[Metrics], str]


def _change(metrics: Metrics) -> str:
    return quantities.points(metrics.get("change"))


def _accepted(metrics: Metrics) -> str:
    accepted, quota = (quantities.count(metrics.get(f"collect/{name}")) for name in ("accepted", "quota"))
    return accepted if quota == quantities.MISSING else f"{accepted}/{quota}"


def _yield(metrics: Metrics) -> str:
    correct, rollouts = metrics.get("collect/correct"), metrics.get("collect/rollouts")
    return quantities.percent(correct / rollouts if correct is not None and rollouts else None)


def _interval(metrics: Metrics) -> str:
    return quantities.interval(metrics.get("evaluation/accuracy_low"), metrics.get("evaluation/accuracy_high"))


def _loss(metrics: Metrics) -> str:
    return f"{metrics['train/loss']:.4f}" if "train/loss" in metrics else quantities.MISSING


_COLUMNS = (
    _Column(title="iter", width=4, text=lambda row: f"{row['iteration']:.0f}"),
    _Column(title="accuracy", width=8, text=lambda row: quantities.percent(row.get("evaluation/accuracy"))),
    _Column(title="95 %", width=9, text=_interval),
    _Column(title="change", width=6, text=_change),
    _Column(title="yield", width=7, text=_yield),
    _Column(title="accepted", width=11, text=_accepted),
    _Column(title="examples", width=8, text=lambda row: quantities.count(row.get("train/examples"))),
    _Column(title="loss", width=6, text=_loss),
    _Column(title="generated", width=9, text=lambda row: quantities.count(row.get("tokens/generated"))),
    _Column(title="FLOPs", width=7, text=lambda row: quantities.scientific(row.get("flops/cumulative"))),
    _Column(title="time", width=7, text=lambda row: quantities.duration(row.get("seconds/total"))),
)
_OF_BASELINE = ("iter", "accuracy", "95 %")  # what is known of the base model after worked examples
_DROPPED_FIRST = ("examples", "generated", "loss", "accepted", "FLOPs", "95 %", "yield", "time", "change")


def _columns_for(width: int) -> list[_Column]:
    """Return the columns that fit into so many characters; the least important give way."""
    columns = list(_COLUMNS)
    for title in _DROPPED_FIRST:
        if sum(column.width + len(GAP) for column in columns) <= width:
            break
        columns = [column for column in columns if column.title != title]
    return columns


class _Table(Session):
    """A table for people: rows scroll up as iterations are committed, the bar stays below them."""

    def __init__(
        self,
        screen: Screen,
        progress: Progress,
        directory: Path,
        committed: Sequence[Metrics],
        so_far: RunProgress,
    ) -> None:
        self._screen, self._progress, self._so_far, self._remarks = screen, progress, so_far, Remarks(directory)
        self._columns = _columns_for(screen.width)
        self._print(Text(f"{directory} · asked {_asked(directory)}", style="dim", overflow="fold"))
        self._print(Text(GAP.join(f"{column.title:>{column.width}}" for column in self._columns), style="bold"))
        for iteration, metrics in enumerate(committed):
            self._row(iteration, metrics, style="dim")
        complete = so_far.last is not None and len(committed) > so_far.last
        self._bar = progress.add_task("starting", total=None, done=0, visible=not complete)

    def phase(self, iteration: int, name: str, total: int | None) -> None:
        self._so_far.phase(iteration)
        of = "" if self._so_far.last is None else f"/{self._so_far.last}"
        description = f"iteration {iteration}{of} {name}"
        self._progress.reset(self._bar, description=description, total=total, visible=True, done=0)
        self._progress.refresh()

    def advance(self, units: int, tokens: int = 0, asked: int = 0) -> None:
        self._so_far.advance(units, tokens, asked)
        self._progress.update(self._bar, completed=self._so_far.foreseen, done=self._so_far.done, refresh=bool(tokens))

    def log(self, iteration: int, metrics: Metrics) -> None:
        self._progress.update(self._bar, visible=False)
        self._row(iteration, metrics)

    def _row(self, iteration: int, metrics: Metrics, style: str = "") -> None:
        change = self._so_far.committed(iteration, metrics)
        row = {**metrics, "iteration": iteration, **({} if change is None else {"change": change})}
        cells = (f"{column.text(row):>{column.width}}" for column in self._columns)
        self._print(Text(GAP.join(cells), style=style))
        if (base := with_examples(metrics)) is not None:
            row, known = {**base, "iteration": iteration}, (c for c in self._columns if c.title in _OF_BASELINE)
            cells = (f"{column.text(row):>{column.width}}" for column in known)
            self._print(Text(GAP.join([*cells, WITH_EXAMPLES]), style=style))
        for remark in self._remarks.new(iteration, metrics):
            self._print(Text(remark, style="dim", overflow="fold"))

    def _print(self, text: Text) -> None:
        self._screen.print(text, no_wrap=text.overflow != "fold", crop=True)

"""The report's curves as inline SVG. Colours are the page's own, so that they follow its light or dark theme."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES = ("first", "second", "third", "fourth", "fifth", "sixth")
"""The page's colours for curves; with more curves than that, the next dash begins with the first again."""
DASHES = ("solid", "dashed", "dotted")
_NAMES = ("ink", "muted", "rule", *SERIES)
_COLOURS = {name: "#" + 3 * f"{k:02x}" for k, name in enumerate(_NAMES, start=1)}
"""Page colour -> the stand-in that matplotlib draws with."""
_SIZE, _LARGE = (4.4, 2.6), (9.2, 4.4)
"""Inches; the page scales it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A series of a line chart."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    """With `high`: the ends of an interval around each y."""
    high: Sequence[float] = ()


def lines(
    name: str, curves: Sequence[Curve], *, x: str, y: str, alt: str, whole: bool = False, numbered: bool = False
) -> Markup:
    """Return a line chart as an `<svg>`; `whole`: x takes whole numbers only.

    `numbered`: large, and in place of a legend the label stands at the end of each curve.
    """
    from matplotlib.ticker import MaxNLocator

    with _figure(name, alt, x, y, _LARGE if numbered else _SIZE) as (axes, svg):
        for k, curve in enumerate(curves):
            colour, dash = look(k)
            style: dict[str, Any] = {"color": _COLOURS[colour], "linestyle": dash, "marker": "o", "markersize": 3.2}
            axes.plot(curve.x, curve.y, label=curve.label, **style)
            if curve.low:
                axes.fill_between(curve.x, curve.low, curve.high, color=_COLOURS[colour], alpha=0.14, linewidth=0)
        axes.margins(x=0.03)
        axes.set_ylim(bottom=0)
        if numbered:
            _number(axes, curves)
        if whole:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(curves) > 1 and not numbered:
            _legend(axes, len(curves))
    return svg[0]


def _number(axes: "Axes", curves: Sequence[Curve]) -> None:
    """Write each curve's label beside its end; those that would stand on each other are moved apart."""
    axes.figure.canvas.figure.draw_without_rendering()  # the layout moves the axes
    point, box = axes.figure.dpi / 72, axes.get_window_extent()
    drawn = [(curve, look(k)[0]) for k, curve in enumerate(curves) if curve.x]
    ends = [tuple(axes.transData.transform((curve.x[-1], curve.y[-1]))) for curve, _ in drawn]
    heights = beside(ends, 16 * point, 11.5 * point, box.y0 + 6 * point, box.y1 - 6 * point)
    for (curve, colour), (_, y), height in zip(drawn, ends, heights, strict=True):
        axes.annotate(
            curve.label, (curve.x[-1], curve.y[-1]), color=_COLOURS[colour], xytext=(10, (height - y) / point),
            textcoords="offset points", va="center",
        )  # fmt: skip


def beside(ends: Sequence[tuple[float, float]], width: float, height: float, low: float, high: float) -> list[float]:
    """Return the height of each label of this size beside its end: the nearest where no earlier one stands.

    Between `low` and `high`, as long as there is room.

    Example:
        >>> beside([(0, 5.0), (1, 5.5), (9, 5.5)], 4, 2, 0, 10)
        [5.0, 7.0, 5.5]
    """
    placed: list[tuple[float, float]] = []
    for x, y in ends:
        near = [other for at, other in placed if abs(at - x) < width]
        wanted = min(max(y, low), high)
        free = [
            place
            for place in (wanted, *(other + sign * height for other in near for sign in (-1, 1)))
            if low <= place <= high and all(abs(place - other) >= height * (1 - 1e-9) for other in near)
        ]
        placed.append((x, min(free, key=lambda place: abs(place - wanted), default=wanted)))
    return [place for _, place in placed]


def look(k: int) -> tuple[str, str]:
    """Return colour and dash of the k-th curve, from 0."""
    return SERIES[k % len(SERIES)], DASHES[k // len(SERIES) % len(DASHES)]


def bars(name: str, labels: Sequence[str], series: Mapping[str, Sequence[int]], *, x: str, y: str, alt: str) -> Markup:
    """A grouped bar chart as an `<svg>`: at each label, beside each other, a bar of each series that is there."""
    from matplotlib.ticker import MaxNLocator

    with _figure(name, alt, x, y) as (axes, svg):
        beside = [sum(heights[place] > 0 for heights in series.values()) for place in range(len(labels))]
        width, drawn = 0.8 / max(1, *beside), [0] * len(labels)
        for (label, heights), colour in zip(series.items(), SERIES, strict=False):
            there = [place for place in range(len(labels)) if heights[place]]
            places = [place + (drawn[place] - (beside[place] - 1) / 2) * width for place in there]
            axes.bar(places, [heights[place] for place in there], width, color=_COLOURS[colour], label=label)
            for place in there:
                drawn[place] += 1
        axes.set_xticks(range(len(labels)), labels)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(axes, len(series))
    return svg[0]


def _legend(axes: "Axes", columns: int) -> None:
    """Above the axes: a place among the curves would have to be searched for."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 0.98), ncols=columns, frameon=False, fontsize=9.5, handlelength=1.4,
        columnspacing=1.2, handletextpad=0.5, labelcolor=_COLOURS["ink"],
    )  # fmt: skip


@contextmanager
def _figure(
    name: str, alt: str, x: str, y: str, size: tuple[float, float] = _SIZE
) -> Iterator[tuple["Axes", list[Markup]]]:
    """Axes to draw on; when they are left, the drawing is in the list."""
    import matplotlib
    from matplotlib.figure import Figure

    # The salt makes the same chart the same bytes, and gives each chart on the page identifiers of its own.
    with matplotlib.rc_context(_style(name)):
        figure = Figure(figsize=size, layout="constrained")
        axes, svg = figure.add_subplot(), list[Markup]()
        axes.set(xlabel=x, ylabel=y)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        yield axes, svg
        text = io.StringIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    svg.append(_inline(text.getvalue(), alt))


def _style(name: str) -> dict[str, Any]:
    ink, muted, rule = (_COLOURS[colour] for colour in ("ink", "muted", "rule"))
    return {
        "svg.hashsalt": name, "svg.fonttype": "none", "font.size": 10, "lines.linewidth": 1.8,
        "text.color": ink, "axes.labelcolor": muted, "axes.edgecolor": rule, "grid.color": rule, "grid.linewidth": 0.6,
        "xtick.color": rule, "ytick.color": rule, "xtick.labelcolor": muted, "ytick.labelcolor": muted,
        "ytick.major.size": 0, "xtick.major.size": 3, "axes.formatter.useoffset": False,
    }  # fmt: skip


def _inline(svg: str, alt: str) -> Markup:
    """Return the `<svg>` element alone: page colours, the page's font, no names that another chart has too."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    for colour, stand_in in _COLOURS.items():
        svg = svg.replace(stand_in, f"var(--{colour})")
    view = re.search(r'viewBox="[^"]*"', svg)
    assert view is not None, "matplotlib writes a viewBox"
    svg = svg[svg.index(">") + 1 :].replace("xlink:href", "href")
    return Markup(f'<svg {view[0]} role="img" aria-label="{escape(alt)}">{svg}')

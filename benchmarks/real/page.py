"""What docs/real_models.md says of `make real`, and the curve on the front page, from the rows that are kept."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from benchmarks.methods.evidence import wrapped
from benchmarks.real.rows import LOOP, Row, rows
from star_loop.config.build import build
from star_loop.config.hydra import composed
from star_loop.report.intervals import half_width
from star_loop.tasks.word_problems import SKILLS

DOCS = Path(__file__).parents[2] / "docs"
PAGE, CURVE = DOCS / "real_models.md", DOCS / "real.svg"
TEMPLATE = Path(__file__).with_name("measured.md.j2")
HEADING = "## What `make real` reached"
BASELINES = {
    "base": "base, zero-shot",
    "shots": "base, after worked examples",
    "chat": "base, as a chat",
    "chat_shots": "base, as a chat after worked examples",
}


class Sheet:
    """What the page may say of the kept rows."""

    def __init__(self, found: Sequence[Row]) -> None:
        self.rows = found

    def per_seed(self) -> list[dict[str, Any]]:
        """A line for each seed: the best of its baselines, the end, the gain, and what it took."""
        return [
            {
                "seed": row["seed"],
                "best": percent(best(row)),
                "end": share(row["measured"]["end"]),
                "gain": f"{100 * gain(row):+.1f}",
                "validation": ", ".join(f"{100 * point['validation']:.0f}" for point in row["curve"]),
                "minutes": f"{minutes(row):.0f}",
                "processor": f"{row['processor_seconds'] / 60:.0f}",
            }
            for row in self.rows
        ]

    @property
    def titles(self) -> dict[str, str]:
        """What was measured, by its name in a row."""
        return {**BASELINES, "end": f"iteration {self.last}, zero-shot"}

    @property
    def runs(self) -> str:
        """How many seeds there are, in words."""
        return "one run" if len(self.rows) == 1 else f"{len(self.rows)} runs"

    @property
    def averaged(self) -> str:
        """What a figure of all seeds is."""
        return "" if len(self.rows) == 1 else ", means over the seeds"

    @property
    def meaning(self) -> str:
        """What the interval of the gain is."""
        return ", of one seed" if len(self.rows) == 1 else " (mean over seeds ± half of its 95 % interval)"

    @property
    def generated(self) -> str:
        """Tokens that were generated to be trained on, mean over seeds."""
        return self._tokens("generated")

    @property
    def trained(self) -> str:
        """Tokens that were trained on, passes counted, mean over seeds."""
        return self._tokens("trained")

    @property
    def seeds(self) -> str:
        """Which they are."""
        return " ".join(str(row["seed"]) for row in self.rows)

    @property
    def tested(self) -> int:
        """How many test questions each seed has."""
        task = build(composed([*LOOP, "name=real"])).task
        return len(task.test())

    @property
    def last(self) -> int:
        """The last iteration."""
        return len(self.rows[0]["curve"]) - 1

    @property
    def gain(self) -> str:
        """Points over the best baseline, mean over seeds with its interval."""
        gains = [100 * gain(row) for row in self.rows]
        half = f" ± {half_width(gains):.1f}" if len(gains) > 1 else ""
        return f"{np.mean(gains):+.1f}{half}"

    def mean(self, name: str, key: str = "accuracy") -> str:
        """A baseline's, or the end's, figure in percent: the mean over seeds."""
        return f"{100 * self._mean(name, key):.1f}"

    def level(self, name: str, level: int) -> str:
        """The mean over the plots that are trained on of a level's accuracy, in percent."""
        cells = [
            value
            for row in self.rows
            for key, value in row["measured"][name].items()
            if re.fullmatch(rf"(?!retold)\w+/level_{level}", key)
        ]
        return f"{100 * math.fsum(cells) / len(cells):.0f}"

    def counts(self, what: int, iteration: int) -> str:
        """Rationales asked (0), correct (1), trained on (2) of each level in an iteration, mean over seeds."""
        levels = sorted(self.rows[0]["curve"][0]["levels"])
        found = [np.mean([row["curve"][iteration]["levels"][level][what] for row in self.rows]) for level in levels]
        return ", ".join(f"{value:.0f}" for value in found)

    def asked(self, iteration: int) -> str:
        """Tries of an iteration, mean over seeds."""
        return self._sum(0, iteration)

    def right(self, iteration: int) -> str:
        """Those with the right answer."""
        return self._sum(1, iteration)

    def sound(self, iteration: int) -> str:
        """Those that were trained on."""
        return self._sum(2, iteration)

    def first(self, level: int) -> str:
        """In which iteration a sound rationale of this level was first trained on, seed by seed."""
        return ", ".join(
            str(next((t for t, point in enumerate(row["curve"]) if point["levels"][str(level)][2]), "never"))
            for row in self.rows
        )

    def plots(self) -> str:
        """Accuracy of each plot, before and after, mean over seeds."""
        return ", ".join(f"{plot} {self.mean('base', plot)} → {self.mean('end', plot)}" for plot in SKILLS)

    def _tokens(self, key: str) -> str:
        sums = [sum(point.get(key, 0.0) for point in row["curve"]) for row in self.rows]
        return f"{np.mean(sums) / 1000:,.0f} thousand"

    def _sum(self, what: int, iteration: int) -> str:
        sums = [sum(c[what] for c in row["curve"][iteration]["levels"].values()) for row in self.rows]
        return f"{np.mean(sums):,.0f}"

    def _mean(self, name: str, key: str) -> float:
        return math.fsum(row["measured"][name][key] for row in self.rows) / len(self.rows)


def best(row: Row) -> float:
    """The highest test accuracy of a seed's baselines."""
    return max(float(row["measured"][name]["accuracy"]) for name in BASELINES)


def gain(row: Row) -> float:
    """Test accuracy at the end over that."""
    return float(row["measured"]["end"]["accuracy"]) - best(row)


def minutes(row: Row) -> float:
    """Wall time of the loop."""
    return math.fsum(point["seconds"] for point in row["curve"]) / 60


def percent(value: float) -> str:
    """With one decimal."""
    return f"{100 * value:.1f}"


def share(measured: Row) -> str:
    """An accuracy with its 95 % interval, in percent."""
    return (
        f"{percent(measured['accuracy'])} ({100 * measured['accuracy_low']:.0f}–{100 * measured['accuracy_high']:.0f})"
    )


def caption(found: Sequence[Row]) -> str:
    """What stands below the curve on the front page."""
    first = f"{100 * np.mean([best(row) for row in found]):.0f} %"
    last = f"{100 * np.mean([float(row['measured']['end']['accuracy']) for row in found]):.0f} %"
    seeds = "one seed" if len(found) == 1 else f"{len(found)} seeds"
    return f"{first} of unseen questions at best before, {last} after ({seeds})"


def told(row: Row) -> str:
    """A row in a line."""
    return f"{percent(best(row))} → {share(row['measured']['end'])} % in {minutes(row):.0f} minutes"


def rendered() -> str:
    """The part of the page that is measured, from its heading on."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(real=Sheet(rows()))
    return "\n\n".join(map(wrapped, text.strip().split("\n\n"))) + "\n"


def write() -> None:
    """Put it into the page, and draw the curve."""
    before, heading, _ = PAGE.read_text(encoding="utf-8").partition(HEADING)
    if not heading:
        raise ValueError(f"{PAGE} has no line {HEADING!r}")
    PAGE.write_text(before + rendered(), encoding="utf-8")
    if found := rows():
        draw(found)


def draw(found: Sequence[Row]) -> None:
    """Accuracy by iteration of each seed, its mean, and the best baseline."""
    import matplotlib
    from matplotlib.figure import Figure

    style = {"svg.hashsalt": "real", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(7.2, 3.6), layout="constrained")
        axes = figure.subplots()
        curves = 100 * np.array([[point["validation"] for point in row["curve"]] for row in found])
        steps = np.arange(curves.shape[1])
        for row, curve in zip(found, curves, strict=True):
            axes.plot(steps, curve, color="C0", linewidth=0.9, alpha=0.45)
            axes.plot(steps[-1], 100 * row["measured"]["end"]["accuracy"], "o", color="C0", markersize=4)
        axes.plot(steps, curves.mean(axis=0), color="C0", linewidth=2.4)
        line = 100 * float(np.mean([best(row) for row in found]))
        axes.axhline(line, color="0.45", linestyle="--", linewidth=1)
        axes.text(steps[-1], line + 1.5, "best of four baselines", ha="right", va="bottom", color="0.35", fontsize=9)
        axes.set_xticks(steps)
        axes.set(xlabel="iteration", ylabel="unseen questions solved, %", ylim=(0, 100), xlim=(0, steps[-1] + 0.15))
        seeds = f"{len(found)} seeds" if len(found) > 1 else f"seed {found[0]['seed']}"
        title = f"SmolLM2-135M-Instruct teaches itself word problems ({seeds}; line: validation, dots: test)"
        axes.set_title(title, loc="left", fontsize=10)
        figure.savefig(CURVE, metadata={"Date": None})
    CURVE.write_text(re.sub(r"[ \t]+\n", "\n", CURVE.read_text(encoding="utf-8")), encoding="utf-8")

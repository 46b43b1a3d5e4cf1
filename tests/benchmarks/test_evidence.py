"""Every figure of the documents about methods is what the rows that are kept say."""

import re
from pathlib import Path

import pytest

from benchmarks.methods import evidence, page
from benchmarks.methods.runs import RESULTS, rows
from benchmarks.methods.studies import DEVELOPMENT, STUDIES

DOCS = Path(__file__).parents[2] / "docs"
NUMBER = r"\d+(?:\.\d+)?"
FIGURE = re.compile(
    rf"[+-]?{NUMBER} ± {NUMBER}|{NUMBER} \({NUMBER}–{NUMBER}\)|{NUMBER} % \({NUMBER}–{NUMBER}\)|{NUMBER} times"
)
MEASURED = [name for name in STUDIES if any(row.run.seed < DEVELOPMENT for row in rows(name))]


def test_the_evidence_is_what_the_rows_say() -> None:
    assert evidence.PAGE.read_text(encoding="utf-8") == evidence.rendered()


@pytest.mark.parametrize("name", MEASURED)
def test_a_table_is_what_the_rows_say(name: str) -> None:
    found = [row for row in rows(name) if row.run.seed < DEVELOPMENT]
    assert (RESULTS / f"{name}.md").read_text(encoding="utf-8") == "\n".join(
        page.lines(name, STUDIES[name], found)
    ) + "\n"


@pytest.mark.parametrize("document", ["methods.md", "hardest_first.md"])
def test_other_pages_have_their_figures_from_the_evidence(document: str) -> None:
    found = FIGURE.findall((DOCS / document).read_text(encoding="utf-8"))
    assert found
    assert [figure for figure in found if figure not in evidence.rendered()] == []


def test_a_saving_is_one_minus_the_ratio_of_costs() -> None:
    """On curves by hand: half the cost on both seeds is half saved, without an interval to speak of."""
    sheet = evidence.Sheet("stopping")
    points = {"A": (1e11, 4e11), "B": (2e11, 8e11)}
    sheet.curves = lambda method, seeds=None: {  # type: ignore[method-assign]
        seed: [{"flops": 0.0, "accuracy": 0.4}, {"flops": cost, "accuracy": 0.8}]
        for seed, cost in enumerate(points[method])
    }
    assert sheet.saved("A", 0.6, "B") == "50 % (50–50)"
    assert sheet.saved_to_best("A", "B") == "50 % (50–50)"
    assert sheet.ratio("A", 0.6, "B") == "0.50 (0.50–0.50)"

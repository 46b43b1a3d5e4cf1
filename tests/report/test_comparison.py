"""A comparison shows every run once, groups by all but the seed, and says what the files say, whatever they say."""

import csv
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from star_loop.accounting.statistics import Statistics
from star_loop.records import Metrics
from star_loop.report import write_comparison
from star_loop.report.__main__ import main
from star_loop.report.comparison import compare, differing
from star_loop.report.intervals import mean, student_quantile
from star_loop.run.directory import RunDirectory
from tests.quiz import QUIZ
from tests.report.test_report import Page

ROOT = Path(__file__).parent.parent.parent

UNIFORM = {"_target_": "star_loop.samplers.uniform.Uniform"}
ADASTAR = {"_target_": "star_loop.samplers.adastar.AdaStar", "power": 2.0}
CURVES = {
    "sampler=uniform,seed=0": (0.20, 0.30, 0.40),
    "sampler=uniform,seed=1": (0.20, 0.32, 0.44),
    "sampler=adastar,seed=0": (0.20, 0.40, 0.50),
    "sampler=adastar,seed=1": (0.20, 0.42, 0.52),
    "sampler=adastar,seed=2": (0.20, 0.44, 0.54),
}


def make(
    path: Path,
    accuracies: Sequence[float],
    seed: int,
    validation: float = 0.01,
    shots: float | None = None,
    more: Metrics | None = None,
    spread: float | None = None,
    **settings: Any,
) -> Path:
    """A run with these test accuracies, `shots` of the base after examples; on validation it is `validation` better.

    An interval reaches `spread` to both sides.
    """
    run = RunDirectory(path)
    path.mkdir(parents=True)
    config = {"name": "sweep", "seed": seed, "iterations": len(accuracies) - 1, "sampler": UNIFORM, **settings}
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    for t, accuracy in enumerate(accuracies):
        metrics = {
            "evaluation/accuracy": accuracy,
            "validation/accuracy": accuracy + validation,
            "flops/cumulative": (1 + 0.1 * seed) * 1e12 * t,
        }
        for name, value in list(metrics.items())[:2] if spread else ():
            metrics |= {f"{name}_low": value - spread, f"{name}_high": value + spread}
        if shots is not None and t == 0:
            metrics["evaluation_shots/accuracy"] = shots
            if spread:
                ends = {"low": shots - spread, "high": shots + spread}
                metrics |= {f"evaluation_shots/accuracy_{end}": value for end, value in ends.items()}
        metrics |= more or {}
        run.iteration(t).commit(adapter=None, metrics=metrics, statistics=Statistics.empty(1), beliefs={})
    return path


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs/sweep"
    for name, curve in CURVES.items():
        sampler = ADASTAR if "adastar" in name else UNIFORM
        make(folder / name, curve, int(name[-1]), sampler=sampler)
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "comparison.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    make(tmp_path / '=HYPERLINK("http:evil")', [0.1, 0.2], 0)
    make(tmp_path / "+1", [0.1, 0.3], 1, task="@x")
    write_comparison([tmp_path])
    with (tmp_path / "comparison.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert any(cell.startswith("'=HYPERLINK") for cell in cells)
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "@", "-")]


def titles_and_cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_groups_differ_in_more_than_the_seed_and_the_best_by_validation_comes_first(sweep: Path) -> None:
    comparison = compare([sweep])
    assert comparison.labels == ["sampler=AdaStar", "sampler=Uniform"]
    assert comparison.keys == ["sampler._target_"]
    assert [[run.seed for run in group.runs] for group in comparison.groups] == [[0, 1, 2], [0, 1]]
    assert comparison.left_out == []
    best = comparison.groups[0]
    assert (best.first.value, best.last.value, best.last.n) == pytest.approx((0.2, 0.52, 3))
    # Student's t with two degrees of freedom; the standard error is 0.02 / √3.
    assert best.last.high == pytest.approx(0.52 + 4.30265 * 0.02 / 3**0.5, abs=1e-5)
    assert best.flops == pytest.approx(2.2e12)


def test_flops_to_a_target_are_those_of_the_first_iteration_that_reaches_it(sweep: Path) -> None:
    comparison = compare([sweep], [0.5, 0.42, 0.9])
    assert comparison.targets == [0.42, 0.5, 0.9]
    best, other = comparison.groups
    assert [run.flops_to(0.42) for run in best.runs] == pytest.approx([2e12, 1.1e12, 1.2e12])
    assert best.flops_to(0.5) == (pytest.approx(2.2e12), 3)
    assert other.flops_to(0.42) == (pytest.approx(2.2e12), 1)
    assert best.flops_to(0.9) == (None, 0)


def test_round_targets_lie_above_every_base_model(sweep: Path) -> None:
    assert compare([sweep]).targets == [0.3, 0.4, 0.5]


def test_the_three_files_say_the_same(sweep: Path) -> None:
    page, left_out = write_comparison([sweep])
    assert (page, left_out) == (sweep / "comparison.html", [])
    shown = Page(page.read_text(encoding="utf-8"))
    assert shown.open == [] and shown.elements.count("svg") == 1 and "script" not in shown.elements
    for expected in (
        "5 runs of 2 configurations",
        "Best by validation: sampler=AdaStar, 53.0 % (48.0–58.0); next: sampler=Uniform",
        "20.0 % → 52.0 %",
        "47.0–57.0",
        "+32.0",
        "to 40 %",
        "sampler=adastar,seed=2",
    ):
        assert expected in shown.text
    assert "power" not in shown.text  # follows from the sampler
    markdown = (sweep / "comparison.md").read_text(encoding="utf-8")
    tables = [titles_and_cells(table) for table in re.findall(r"(?:^\|.*\|\n)+", markdown, flags=re.MULTILINE)]
    assert [len(table) - 2 for table in tables] == [2, 2, 5]
    assert all(len({len(row) for row in table}) == 1 for table in tables)
    assert tables[0][2][:5] == ["1", "sampler=AdaStar", "3", "20.0 % → 52.0 %", "47.0–57.0"]
    exact = rows(sweep)
    assert [row["row"] for row in exact] == ["group"] * 2 + ["run"] * 5
    assert float(exact[0]["last"]) == pytest.approx(0.52)
    assert [float(row["last"]) for row in exact[2:]] == [0.50, 0.52, 0.54, 0.40, 0.44]
    assert {row["sampler._target_"] for row in exact} == {UNIFORM["_target_"], ADASTAR["_target_"]}


def test_both_baselines_have_rows_and_changes_count_from_the_better(tmp_path: Path) -> None:
    for seed, shots in enumerate((0.3, 0.36)):
        make(tmp_path / f"examples{seed}", (0.2, 0.4), seed, shots=shots)
    make(tmp_path / "bare", (0.2, 0.5), 0, sampler=ADASTAR)
    write_comparison([tmp_path])
    found = [(r["label"], r["first"]) for r in rows(tmp_path) if r["row"] == "baseline"]
    assert [(label.rpartition(": ")[2], round(float(first), 6)) for label, first in found] == [
        ("base, zero-shot", 0.2), ("base, with worked examples", 0.33),
    ]  # fmt: skip
    markdown = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert re.search(r"\| with worked examples \| 2 \| 33\.0 % \| 0\.0–71\.1 \|", markdown)
    assert "33.0 % → 40.0 %" in markdown and "+7.0" in markdown
    assert Page((tmp_path / "comparison.html").read_text(encoding="utf-8")).text.count("Baselines") == 1


def test_the_baselines_of_one_seed_have_its_own_intervals(tmp_path: Path) -> None:
    make(tmp_path / "run", (0.2, 0.4), 0, shots=0.3, spread=0.05)
    write_comparison([tmp_path])
    markdown = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert "| zero-shot | 1 | 20.0 % | 15.0–25.0 |" in markdown
    assert "| with worked examples | 1 | 30.0 % | 25.0–35.0 |" in markdown


def test_a_target_that_some_seeds_reach_says_how_many(sweep: Path) -> None:
    write_comparison([sweep], targets=[0.42])
    assert "2.20e12 (1 of 2)" in (sweep / "comparison.html").read_text(encoding="utf-8")


def test_equal_files_give_equal_bytes_in_another_process(sweep: Path) -> None:
    write_comparison([sweep])
    before = {path: path.read_bytes() for path in sweep.glob("comparison.*")}
    assert len(before) == 3
    done = subprocess.run([sys.executable, "-m", "star_loop.report", sweep], check=True, capture_output=True, text=True)
    assert done.stdout == f"{sweep / 'comparison.html'}\n"
    assert {path: path.read_bytes() for path in sweep.glob("comparison.*")} == before


def test_the_page_needs_no_other_file_and_drawings_have_its_colours(sweep: Path) -> None:
    html = write_comparison([sweep])[0].read_text(encoding="utf-8")
    shown = Page(html)
    references = [value for name, value in shown.attributes if name in ("src", "href", "xlink:href")]
    assert all(reference.startswith("#") for reference in references)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))
    drawing = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)[0]
    assert "var(--first)" in drawing and "var(--second)" in drawing
    assert "#0" not in re.sub(r'(href="|url\()#', "", drawing)
    assert "Test accuracy by cumulative FLOPs. 1 sampler=AdaStar: 52 % at 2.20e12 FLOPs" in html


def test_a_tie_is_a_tie_and_one_seed_has_its_own_interval(tmp_path: Path) -> None:
    for name, sampler in (("a", UNIFORM), ("b", ADASTAR)):
        make(tmp_path / name, (0.1, 0.3), 0, sampler=sampler, name=name, spread=0.02)
    shown = Page(write_comparison([tmp_path])[0].read_text(encoding="utf-8")).text
    assert "A tie on validation: a, 31.0 % (29.0–33.0); b, 31.0 % (29.0–33.0)." in shown
    assert "Best by validation" not in shown and "28.0–32.0" in shown
    assert float(rows(tmp_path)[0]["last_low"]) == pytest.approx(0.28)
    make(tmp_path / "c", (0.1, 0.5), 0, name="c", spread=0.02, start_from="base")
    shown = Page(write_comparison([tmp_path])[0].read_text(encoding="utf-8")).text
    assert "Best by validation: c, 51.0 % (49.0–53.0); next: a" in shown
    assert "Their intervals do not overlap; of one seed it is the run's own" in shown


def test_runs_are_found_whatever_they_are_called(tmp_path: Path) -> None:
    for name in ("attempts", "export", "iterations", "tensorboard"):
        make(tmp_path / "outputs" / name, (0.1, 0.3), 0, name=name, start_from=name)
    for folder in ("export/0001/iterations", "attempts/x", "tensorboard/iterations"):
        (tmp_path / "outputs/export" / folder).mkdir(parents=True)
    comparison = compare([tmp_path / "outputs"])
    assert sorted(comparison.labels) == ["attempts", "export", "iterations", "tensorboard"]
    assert comparison.left_out == []


HOSTILE = "</td><script>alert(1)</script> | $x_{ `a` \udc80\x00\n| b"


def test_whatever_a_configuration_says_is_shown_as_text(tmp_path: Path) -> None:
    make(tmp_path / "a|$b<i>", (0.1, 0.2), 0, stop=HOSTILE.replace("\udc80", ""))
    make(tmp_path / "b", (0.1, 0.3), 0, stop="plain")
    shown = Page(write_comparison([tmp_path])[0].read_text(encoding="utf-8"))
    assert shown.open == [] and not {"script", "i"} & set(shown.elements)
    assert "</td><script>alert(1)</script> | $x_{" in shown.text and "a|$b<i>" in shown.text
    markdown = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert r"\</td\>\<script\>alert(1)\</script\> \| \$x\_\{ \`a\`" in markdown
    assert rows(tmp_path)[-1]["stop"].startswith("</td>")


def test_names_on_the_command_line_are_reported_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = make(tmp_path / "outputs/one", (0.1, 0.2), 0, name="one")
    two = make(tmp_path / "outputs/two", (0.1, 0.3), 0, name="two", sampler=ADASTAR)
    make(tmp_path / "outputs/three", (0.1, 0.3), 0, name="three", start_from="base")
    assert main([str(one), str(two)]) == 0
    written = [one / "report.html", two / "report.html", tmp_path / "outputs/comparison.html"]
    assert capsys.readouterr().out.split() == [str(path) for path in written]
    assert [row["label"] for row in rows(tmp_path / "outputs")] == ["two", "one", "two", "one"]
    assert main([str(one), str(two), "--into", str(tmp_path), "--target", "0.25"]) == 0
    assert "flops_to_0.25" in rows(tmp_path)[0]
    capsys.readouterr()
    assert main([str(one), str(two), "--into", str(one / "config.yaml")]) == 2
    assert f"--into {one / 'config.yaml'} is no folder: name one" in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["61%", "61", "-0.1", "nan", ""])
def test_a_target_that_is_no_share_is_refused(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["outputs", f"--target={typed}"])
    said = capsys.readouterr().err
    assert f"argument --target: a share between 0 and 1 is wanted, such as 0.61, not {typed!r}\n" in said


CODE = {"_target_": "mine.Code", "before": ""}
SHEET = {"_target_": "star_loop.tasks.file.File", "path": "sums.csv", "shots": 2, "verifier": CODE}


@pytest.mark.parametrize(
    "other, keys",
    [
        ({"task": SHEET | {"path": "choices.csv", "shots": 1}}, "task.path"),
        ({"task": SHEET | {"_target_": "star_loop.tasks.svamp.Svamp"}}, "task"),
        ({"task": SHEET | {"verifier": CODE | {"before": "import math"}}}, "task.verifier.before"),
        ({"task": SHEET, "evaluation": {"limit": 20}}, "evaluation.limit"),
        ({"task": SHEET | {"shots": 1, "labels": "majority", "train_size": 9, "before": "Question: "}}, ""),
        ({"task": SHEET, "sampler": ADASTAR}, ""),
    ],
)  # fmt: skip
def test_accuracies_of_other_questions_have_a_remark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: dict[str, Any], keys: str
) -> None:
    make(tmp_path / "sheet", (0.1, 0.2), 0, name="sheet", task=SHEET)
    make(tmp_path / "other", (0.1, 0.3), 0, name="other", **other)
    assert main([str(tmp_path)]) == 0
    said = f"Accuracies may be of other questions or judged otherwise: configurations differ in {keys}."
    page = Page((tmp_path / "comparison.html").read_text(encoding="utf-8")).text
    markdown = (tmp_path / "comparison.md").read_text(encoding="utf-8").replace("\\_", "_")
    if keys:
        assert capsys.readouterr().err == f"{said}\n" and said in page and said in markdown
    else:
        assert capsys.readouterr().err == "" and "Accuracies may be" not in page + markdown
    assert "Best by validation: other" in page


def test_a_single_run_has_a_report_and_no_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(tmp_path / "run", (0.1, 0.2), 0)
    assert main([str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert not list(tmp_path.rglob("comparison.*"))


def test_a_run_whose_folder_holds_a_sweep_has_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "default/seed=1", (0.1, 0.2), 1)
    # The sweep's folder is that of a run, too: `name=` is the same.
    run = RunDirectory(tmp_path / "default")
    (run.path / "config.yaml").write_text((run.path / "seed=1/config.yaml").read_text().replace("seed: 1", "seed: 7"))
    metrics = {"evaluation/accuracy": 0.1}
    run.iteration(0).commit(adapter=None, metrics=metrics, statistics=Statistics.empty(1), beliefs={})
    assert main([str(run.path)]) == 0
    assert capsys.readouterr().out.split() == [str(run.path / f"{name}.html") for name in ("report", "comparison")]
    assert [row["label"] for row in rows(run.path)[1:]] == ["default", "seed=1"]


def test_runs_that_cannot_be_compared_are_named_with_the_reason(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (sweep / "sampler=lark,seed=0/attempts/20260101-000000").mkdir(parents=True)
    (sweep / "sampler=adastar,seed=2/iterations/0001/metrics.json").write_text("{ torn")
    (sweep / "sampler=uniform,seed=1/config.yaml").unlink()
    make(sweep / "again", CURVES["sampler=uniform,seed=0"], 0, name="again")
    assert main([str(sweep)]) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4 and all(line.startswith("left out: ") for line in said)
    for expected in (
        "lark,seed=0 has no committed iteration",
        "0001/metrics.json is damaged",
        "config.yaml is missing",
        "sampler=uniform,seed=0 has the configuration and the seed of again, which is in already",
    ):
        assert [line for line in said if expected in line], expected
    shown = Page((sweep / "comparison.html").read_text(encoding="utf-8"))
    assert "config.yaml is missing" in shown.text


def test_a_folder_without_anything_to_compare_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sweep/job/attempts").mkdir(parents=True)
    assert main([str(tmp_path / "sweep")]) == 2
    assert "holds no run that can be compared: give a folder of run directories" in capsys.readouterr().err
    assert not list(tmp_path.rglob("comparison.*"))


def test_without_validation_nothing_is_called_best(tmp_path: Path) -> None:
    for name, sampler in (("a", UNIFORM), ("b", ADASTAR)):
        path = make(tmp_path / name, (0.1,), 0, sampler=sampler)
        for number, accuracy in enumerate((0.1, 0.5)):
            metrics = {"evaluation/accuracy": accuracy}
            RunDirectory(path).iteration(number).commit(
                adapter=None, metrics=metrics, statistics=Statistics.empty(1), beliefs={}
            )
    shown = Page(write_comparison([tmp_path])[0].read_text(encoding="utf-8"))
    assert "Best by validation" not in shown.text and "svg" not in shown.elements
    assert "10.0 % → 50.0 %" in shown.text and shown.open == []


def test_configurations_that_read_the_same_have_different_labels(tmp_path: Path) -> None:
    make(tmp_path / "a", (0.1, 0.3), 0, sampler={"_target_": "mine.Sampler"})
    make(tmp_path / "b", (0.1, 0.2), 0, sampler={"_target_": "yours.Sampler"})
    assert compare([tmp_path]).labels == ["sampler=Sampler (a)", "sampler=Sampler (b)"]
    make(tmp_path / "seeds/0", (0.1, 0.2), 0, name="0")
    make(tmp_path / "seeds/1", (0.1, 0.2), 1, name="1")
    assert compare([tmp_path / "seeds"]).labels == ["0"]


def test_a_setting_that_another_run_leaves_at_its_default_is_shown_beside_other_components(tmp_path: Path) -> None:
    make(tmp_path / "a", (0.1, 0.4), 0, sampler=ADASTAR)
    make(tmp_path / "b", (0.1, 0.3), 0, sampler={"_target_": ADASTAR["_target_"]})
    make(tmp_path / "c", (0.1, 0.2), 0)
    comparison = compare([tmp_path])
    assert comparison.keys == ["sampler._target_", "sampler.power"]
    assert comparison.labels == ["sampler=AdaStar, sampler.power=2.0", "sampler=AdaStar", "sampler=Uniform"]


def test_many_configurations_can_be_told_apart(tmp_path: Path) -> None:
    for k in range(14):
        make(tmp_path / f"r={k}", (0.1, 0.2 + 0.01 * k), 0, trainer={"r": k})
    html = write_comparison([tmp_path])[0].read_text(encoding="utf-8")
    swatches = re.findall(r'class="swatch" style="([^"]*)"', html)
    assert len(swatches) == len(set(swatches)) == 14
    assert compare([tmp_path]).labels[0] == "trainer.r=13"


def test_a_sweep_ends_with_the_command_that_compares_its_runs(tmp_path: Path) -> None:
    overrides = [*QUIZ, "iterations=1", "name=a sweep", f"outputs={tmp_path}", "-m", "schedule.growth=1,2", "seed=0,1"]
    sweep = [sys.executable, "-m", "star_loop", *overrides]
    done = subprocess.run(sweep, cwd=ROOT, check=True, capture_output=True, text=True)
    said = done.stdout.splitlines()[-1].removeprefix("compare its runs: ")
    assert said == f"{Path(sys.executable).name} -m star_loop.report '{tmp_path / 'a sweep'}'"
    subprocess.run([sys.executable, *shlex.split(said)[1:]], cwd=ROOT, check=True, capture_output=True)
    exact = rows(tmp_path / "a sweep")
    assert sorted((row["row"], row["n"], row["schedule.growth"]) for row in exact) == [
        ("group", "2", "1"), ("group", "2", "2"), ("run", "1", "1"), ("run", "1", "1"), ("run", "1", "2"), ("run", "1", "2"),
    ]  # fmt: skip


def test_a_sweep_over_names_ends_with_the_folder_that_was_written(tmp_path: Path) -> None:
    sweep = [sys.executable, "-m", "star_loop", *QUIZ, "-m", "iterations=0", "name=n1,n2", f"outputs={tmp_path}"]
    done = subprocess.run(sweep, cwd=ROOT, check=True, capture_output=True, text=True)
    folder = Path(shlex.split(done.stdout.splitlines()[-1])[-1])
    assert sorted(path.parent.name for path in folder.glob("*/iterations")) == ["name=n1", "name=n2"]


@pytest.mark.parametrize(
    "settings, expected",
    [
        ([{"a": 1, "b": 2}, {"a": 1, "b": 3}], ["b"]),
        ([{"a": 1}, {"a": 1, "b": None}], ["b"]),
        ([{"s._target_": "A", "s.x": 1}, {"s._target_": "B"}], ["s._target_"]),
        ([{"s._target_": "A", "s.x": 1}, {"s._target_": "A", "s.x": 2}, {"s._target_": "B"}], ["s._target_", "s.x"]),
        ([{"s._target_": "A", "sx": 1}, {"s._target_": "B"}], ["s._target_", "sx"]),
        ([{"s._target_": "A", "s.x": 1}, {"s._target_": "A"}, {"s._target_": "B"}], ["s._target_", "s.x"]),
        (
            [
                {"s.t._target_": "A", "s._target_": "S", "s.t.x": 1},
                {"s.t._target_": "A", "s._target_": "S"},
                {"s.t._target_": "A", "s._target_": "R"},
                {"s._target_": "S"},
            ],
            ["s.t._target_", "s._target_", "s.t.x"],
        ),
        ([{"a": 1}, {"a": True}], ["a"]),
        ([{"a": 1}], []),
    ],
)
def test_only_differing_keys_are_shown(settings: list[Mapping[str, Any]], expected: list[str]) -> None:
    assert differing(settings) == expected


@pytest.mark.parametrize(
    "freedom, t", [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423), (1000, 1.9623)]
)
def test_students_quantile_is_that_of_the_tables(freedom: int, t: float) -> None:
    assert student_quantile(freedom) == pytest.approx(t, abs=5e-5)


def test_a_mean_over_one_seed_has_no_interval_and_intervals_stay_shares() -> None:
    alone = mean([0.5])
    assert alone is not None and (alone.low, alone.high, alone.n) == (None, None, 1)
    wide = mean([0.1, 0.9])
    assert wide is not None and (wide.low, wide.high) == (0.0, 1.0)
    assert mean([]) is None

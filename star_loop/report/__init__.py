"""`report.html`: one self-contained page about one run; `comparison.html`: one about several.

Not here: how the figures are counted (accounting).

`python -m star_loop.report RUN_OR_FOLDER…` writes them at any time, from the runs' files and from nothing else; equal
files give equal pages.
"""

from collections.abc import Sequence
from pathlib import Path


def write(run: Path) -> Path:
    """Write `<run>/report.html` from the committed iterations, atomically.

    Returns:
        The page's path.

    Raises:
        star_loop.run.disk.RunError: no such run, nothing committed yet, or a file that cannot be read.
    """
    from star_loop.report.page import render
    from star_loop.report.summary import read
    from star_loop.run.disk import Disk

    page = run / "report.html"
    Disk().publish(page, render(read(run)).encode())
    return page


def write_comparison(
    folders: Sequence[Path], into: Path | None = None, targets: Sequence[float] = ()
) -> tuple[Path, Sequence[str]]:
    """Write `comparison.html`, `.md` and `.csv` about the runs at or below the folders, into the folder of them all.

    Args:
        folders: run directories, or folders that hold some.
        into: where to write instead.
        targets: test accuracies in [0, 1] whose FLOPs are compared; empty: round ones.

    Returns:
        The page's path, and what its reader must know: why accuracies may not be comparable, and why a run is left out.

    Raises:
        star_loop.run.disk.RunError: no run can be compared, or `into` is no folder.
    """
    from star_loop.report.comparison import common_folder, compare
    from star_loop.report.comparison_page import as_csv, as_html, as_markdown, caution
    from star_loop.run.disk import Disk, RunError

    if into is not None and into.exists() and not into.is_dir():
        raise RunError(f"--into {into} is no folder: name one, which need not exist")
    comparison, into = compare(folders, targets), into or common_folder(folders)
    for suffix, text in (("csv", as_csv), ("md", as_markdown), ("html", as_html)):
        Disk().publish(into / f"comparison.{suffix}", text(comparison).encode())
    remarks = [said] if (said := caution(comparison)) else []
    return into / "comparison.html", [*remarks, *(f"left out: {reason}" for reason in comparison.left_out)]

"""`python -m star_loop.report RUN_OR_FOLDER…`: a report of each run, a comparison of several, and where they are."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from star_loop.config.screen import conclude, outlive_screen
from star_loop.errors import a_path
from star_loop.report import write, write_comparison
from star_loop.run.disk import RunError


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report of each run that is named, and the comparison where there are several or a folder of them.

    Returns:
        0, or 2 where something could not be written; the others are written all the same.
    """
    from star_loop.report.runs import directories

    options = _parser().parse_args(arguments)
    status, compared, several = 0, list[Path](), False
    for path in options.paths:
        runs = list(directories(path)) if path.is_dir() else []
        below = [run for run in runs if run != path]
        compared += [path] if runs else []
        several |= bool(below)
        if not below or path in runs:
            status |= _report(path)
    if several or len(compared) > 1:
        status |= _compare(compared, options.into, options.target)
    return status


def _report(run: Path) -> int:
    try:
        sys.stdout.write(f"{write(run)}\n")
    except (RunError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _compare(folders: Sequence[Path], into: Path | None, targets: Sequence[float]) -> int:
    try:
        page, remarks = write_comparison(folders, into, targets)
    except (RunError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{page}\n")
    for remark in remarks:
        sys.stderr.write(f"{remark}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m star_loop.report",
        description="Write <run>/report.html for a run, and comparison.html, .md and .csv for several.",
    )
    parser.add_argument(
        "paths",
        nargs="+",
        type=a_path,
        metavar="RUN_OR_FOLDER",
        help="a run directory, or a folder that holds several",
    )
    parser.add_argument("--into", type=a_path, help="the comparison's folder; by default the one that holds all runs")
    parser.add_argument(
        "--target", type=_share, action="append", default=[],
        help="a test accuracy, such as 0.6, whose FLOPs are compared (repeatable); by default round ones",
    )  # fmt: skip
    return parser


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"a share between 0 and 1 is wanted, such as 0.61, not {text!r}")
    return value


if __name__ == "__main__":
    outlive_screen()
    conclude(main)

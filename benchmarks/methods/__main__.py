"""The evidence, run and reported.

python -m benchmarks.methods run               the default set, five seeds of what the claims need, in about 90 minutes
                                               on 2 cores; stop it at any time, the same command goes on
python -m benchmarks.methods run study …       all methods and seeds of these studies
python -m benchmarks.methods table [study …]   the tables, plots and docs/evidence.md from the results that are kept
"""

import argparse
import os

from benchmarks.methods import evidence, page
from benchmarks.methods.runs import Run, keep, rows
from benchmarks.methods.studies import STUDIES
from benchmarks.methods.workers import performed

DEFAULT_SEEDS = 5


def main() -> None:
    """Parse, then run, then report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("studies", nargs="*", help=f"of {', '.join(STUDIES)}; all by default")
    parser.add_argument("--methods", nargs="*", help="only these")
    parser.add_argument("--seeds", type=int, nargs="*", help="instead of the study's own")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time, one core each")
    arguments = parser.parse_args()
    studies = arguments.studies or list(STUDIES)
    if unknown := sorted(set(studies) - set(STUDIES)):
        parser.error(f"there is no study {unknown[0]!r}, found {', '.join(STUDIES)}")
    if arguments.what == "run":
        due = [run for study in studies for run in missing(study, arguments.methods, arguments.seeds)]
        run(once(due if arguments.studies else [run for run in due if in_default_set(run)]), arguments.jobs)
    for study in studies:
        page.write(study)
    evidence.write()


def missing(name: str, methods: list[str] | None, seeds: list[int] | None) -> list[Run]:
    """Runs without a row, seed by seed, so that what is there is always paired."""
    study, done = STUDIES[name], {row.run for row in rows(name)}
    every = [
        Run(study=name, method=method, seed=seed)
        for seed in (range(study.seeds) if seeds is None else seeds)
        for method in study.methods
        if methods is None or method in methods
    ]
    return [run for run in every if run not in done]


def once(due: list[Run]) -> list[Run]:
    """Of runs that do the same, the first."""
    first: dict[frozenset[str], Run] = {}
    for run in due:
        first.setdefault(run.settings, run)
    return list(first.values())


def in_default_set(run: Run) -> bool:
    """Whether it is run where no study is named."""
    return run.method in STUDIES[run.study].core and run.seed < DEFAULT_SEEDS


def run(due: list[Run], jobs: int) -> None:
    """Perform them and keep their rows."""
    for k, row in enumerate(performed(due, min(jobs, len(due))) if due else ()):
        keep(row)
        begin, end = row.curve[0], row.curve[-1]
        print(
            f"{k + 1}/{len(due)} {row.run.study}: {row.run.method}, seed {row.run.seed}: {begin['accuracy']:.3f} → "
            f"{end['accuracy']:.3f} for {end['flops']:.3g} FLOPs in {end['seconds']:.0f} s and evaluation",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""The real example, measured.

python -m benchmarks.real run --seeds 1 2 3   these seeds, one after the other; stop it at any time, the same goes on
python -m benchmarks.real page                docs/real_models.md and its curve from the results that are kept
"""

import argparse

from benchmarks.real import page
from benchmarks.real.rows import keep, perform, rows


def main() -> None:
    """Parse, then run, then write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("run", "page"))
    parser.add_argument("--seeds", type=int, nargs="*", default=(1, 2, 3))
    arguments = parser.parse_args()
    if arguments.what == "run":
        done = {row["seed"] for row in rows()}
        for seed in sorted(set(arguments.seeds) - done):
            keep(row := perform(seed))
            print(f"seed {seed}: {page.told(row)}", flush=True)
    page.write()


if __name__ == "__main__":
    main()

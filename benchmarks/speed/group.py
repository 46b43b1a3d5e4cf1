"""One group of rows in a process of its own: `python -m benchmarks.speed.group <group> <size> <work> <into.json>`."""

import importlib
import json
import sys
from pathlib import Path

from benchmarks.speed.sizes import SIZES


def main(group: str, size: str, work: str, into: str) -> None:
    """Write the rows as JSON."""
    Path(work).mkdir(parents=True)
    rows = importlib.import_module(f"benchmarks.speed.{group}").rows(SIZES[size], Path(work))
    Path(into).write_text(json.dumps([row.to_json() for row in rows]), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

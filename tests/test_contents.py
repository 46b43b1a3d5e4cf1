"""What scripted runs write, by content: an order, pilots, a bandit, scores, a search, a fork and a resume.

`contents.json` was written when these runs were last meant to change; moving code about must leave it as it is.
`python -m tests.test_contents` writes it anew.
"""

import hashlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest

from tests.quiz import contents, play

GOLDEN = Path(__file__).with_name("contents.json")
SKILLED = ("model=scripted", "generator=scripted", "trainer=scripted", "task._target_=tests.preparations.test_preparations.Skilled",
           "task.n=90", "generator.table=[0.9,0.5,0.1]", "schedule.steps=10", "schedule.wave=15", "iterations=2")  # fmt: skip


def fork(directory: Path) -> None:
    play(directory / "origin", *SKILLED, "experiment=adastar")
    play(directory / "fork", *SKILLED, "sampler=uniform", f"fork={directory}/origin/iterations/0001")


def resume(directory: Path) -> None:
    play(directory, *SKILLED, "experiment=space", "iterations=1")
    play(directory, *SKILLED, "experiment=space", "iterations=2")


RUNS: dict[str, Callable[[Path], Any]] = {
    "adastar": lambda d: play(d, "experiment=adastar", *SKILLED),
    "rationalize": lambda d: play(d, "second_try=rationalize", "generator.table=[0.2,0.1,0.0]"),
    "cures": lambda d: play(
        d, "experiment=cures", *SKILLED, "scorer=scripted", "sampler.subsets=2", "schedule.quota=null"
    ),
    "space": lambda d: play(d, "experiment=space", *SKILLED),
    "lark": lambda d: play(
        d, "experiment=lark", *SKILLED, "scorer=scripted", "~selectors.deduplicate", "scorer.diagnose=true"
    ),
    "b_star": lambda d: play(d, "experiment=b_star", *SKILLED, "search.temperatures=[0.5,1.0]"),
    "skill_it": lambda d: play(d, "experiment=skill_it", *SKILLED),
    "pilots": lambda d: play(d, "experiment=cures_counts", *SKILLED, "schedule.quota=null", "preparation=pilots"),
    "fork": fork,
    "resume": resume,
}


def meaning(name: str, data: bytes) -> Any:
    """What a file says: numbers to ten digits, tables by column, checksums left out."""
    if name.endswith((".npz", ".npy")):
        with np.load(io.BytesIO(data)) as arrays:
            return {key: rounded(arrays[key].tolist()) for key in sorted(arrays)}
    if name.endswith(".parquet"):
        return rounded(parquet.read_table(io.BytesIO(data)).to_pydict())
    if name.endswith("state.json"):
        state = json.loads(data.decode().splitlines()[0])
        return [*sorted(state["files"]), state["iteration"], state["adapter"], state["kept"]]
    if name.endswith((".json", ".jsonl")):
        text = data.decode()
        lines = text.splitlines() if name.endswith(".jsonl") or "metrics" in name else [text]
        return [rounded(json.loads(line)) if line[:1] in "{[" and line[-1:] in "}]" else line for line in lines]
    return hashlib.sha256(data).hexdigest()


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    return value


def digests(run: Callable[[Path], Any], directory: Path) -> dict[str, str]:
    """File name -> digest of what it says, for one of the runs."""
    run(directory)
    written = {
        name: data
        for name, data in contents(directory).items()
        if not any(part in name for part in ("config.yaml", "identity.json", "checksums.txt", "inherited", ".lock"))
        and not name.endswith(("metrics.jsonl", "report.html", "timings.jsonl", "launch.log", "overrides.yaml"))
        and "attempts/" not in name and "tensorboard/" not in name
    }  # fmt: skip
    says = {name: json.dumps(meaning(name, data), sort_keys=True, default=str) for name, data in written.items()}
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in sorted(says.items())}


@pytest.mark.parametrize("name", sorted(RUNS))
def test_a_scripted_run_writes_what_it_wrote_before(name: str, tmp_path: Path) -> None:
    assert digests(RUNS[name], tmp_path) == json.loads(GOLDEN.read_text())[name]


def main() -> None:
    """Write the golden file."""
    found = {}
    for name, run in sorted(RUNS.items()):
        with tempfile.TemporaryDirectory() as directory:
            found[name] = digests(run, Path(directory))
    GOLDEN.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()

"""What docs/promises.md counts is what the tests count today."""

import inspect
import math
import re
from pathlib import Path
from types import ModuleType

import pytest

import tests.test_fuzz
from tests.config import test_before, test_malformed
from tests.run import test_damaged_runs
from tests.run.test_resume import FailingDisk, configure_short, run_with

PAGE = (Path(__file__).parent.parent / "docs/promises.md").read_text()


def cases(test: object) -> int:
    """How many cases a test function has."""
    marks = getattr(test, "pytestmark", [])
    return math.prod(len(mark.args[1]) for mark in marks if mark.name == "parametrize")


def every(module: ModuleType) -> int:
    return sum(cases(test) for name, test in vars(module).items() if name.startswith("test_"))


def effects(folder: Path, seeding: str) -> int:
    disk = FailingDisk()
    run_with(disk, folder / seeding, configure_short(seeding))
    return disk.effects


def test_effects_on_the_disk(tmp_path: Path) -> None:
    alone, kept = effects(tmp_path, "wave"), effects(tmp_path, "request")
    assert f"({alone}; {kept} with its requests kept)" in PAGE
    assert f"EIO and ENOSPC at each of the {alone} effects" in PAGE


def test_files_and_targets() -> None:
    assert f"({len(test_damaged_runs.FILES)}), emptied, cut, flipped in three places or deleted" in PAGE
    assert f"{cases(test_before.test_what_cannot_be_a_component_is_not_imported)} kinds of `_target_`" in PAGE
    assert f"{every(test_malformed) // 100 * 100:,} malformed inputs" in PAGE


def test_what_chance_has_spoilt() -> None:
    """Each test says `tried = 200 * times`; `make test-reliability` takes the largest `times`."""
    most = max(value.values[0] if hasattr(value, "values") else value for value in tests.test_fuzz.TIMES.args[1])

    def tried(name: str) -> int:
        test = getattr(tests.test_fuzz, name)
        found = re.search(r"(\d+) \* times", inspect.getsource(test))
        assert found is not None
        return int(found[1]) * most * (cases(test) // len(tests.test_fuzz.TIMES.args[1]))

    counted = {
        "texts for verifiers": tried("test_verifiers_are_total"),
        "lines of records": 2 * tried("test_lines_of_records_are_read_back_or_refused"),
        "data files": tried("test_a_data_file_is_read_or_refused_by_name"),
        "configurations": tried("test_a_configuration_is_built_or_refused"),
        "run directories": tried("test_a_run_directory_is_read_or_refused"),
    }
    assert f"{sum(counted.values()) // 10_000 * 10_000:,} that chance has spoilt" in PAGE
    for what, count in counted.items():
        assert f"{count:,} {what}" in PAGE


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((\S+\.py)\)", PAGE))))
def test_every_row_links_to_tests_that_are_there(link: str) -> None:
    assert re.search(r"^(async )?def test_", (Path(__file__).parent.parent / "docs" / link).read_text(), re.M)

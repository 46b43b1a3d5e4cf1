"""The table of docs/training.md names every key of every trainer, and each is in the test that the row names."""

import re
from pathlib import Path

import pytest

from star_loop.config.hydra import CONF
from star_loop.trainers.accelerate import Accelerate
from star_loop.trainers.full import Full
from star_loop.trainers.lora import Lora
from star_loop.trainers.scripted import Scripted
from star_loop.trainers.trl import Trl

TESTS = Path(__file__).parent.parent
PAGE = (TESTS.parent / "docs/training.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.partition("## Everything in one table")[2].splitlines()
    if line.startswith("| `")
]
KEYS = {key for kind in (Lora, Accelerate, Full, Scripted, Trl) for key in kind.model_fields}


def named(row: list[str]) -> set[str]:
    return {name.removeprefix("model.") for name in re.findall(r"`([\w.=]+)`", row[0])}


def test_every_key_and_every_trainer_has_a_row() -> None:
    found = set().union(*map(named, ROWS))
    trainers = {f"trainer={path.stem}" for path in (CONF / "trainer").glob("*.yaml")}
    assert found == KEYS | trainers | {"quantization"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:30])
def test_the_test_that_a_row_names_has_what_it_names(row: list[str]) -> None:
    files = re.findall(r"`([\w/]+\.py)`", row[-1])
    assert files
    text = "".join((TESTS / file).read_text(encoding="utf-8") for file in files)
    for name in named(row):
        kind = name.removeprefix("trainer=")
        assert re.search(rf"\b({kind}|{kind.title()})\b", text), f"{files} have no {name}"

"""A page that lists the options of a group lists all of them."""

import re
from pathlib import Path

import pytest

from star_loop.config.hydra import CONF

DOCS = Path(__file__).parent.parent.parent / "docs"
SWITCHES = dict(
    re.findall(
        r"^\| `(\w+)` \| (.*) \|$", (DOCS / "methods.md").read_text("utf-8").partition("## The switches")[2], re.M
    )
)
GROUPS = ("sampler", "allocator", "preparation", "search", "scorer", "selectors", "generator", "trainer")


@pytest.mark.parametrize("group", GROUPS)
def test_the_table_of_switches_has_every_option(group: str) -> None:
    options = {path.stem for path in (CONF / group).glob("*.yaml")}
    assert not [option for option in options if f"`{option}`" not in SWITCHES[group]]


def test_the_table_of_tasks_has_every_task() -> None:
    table = (DOCS / "tasks.md").read_text("utf-8").partition("\n\n| ")[2].partition("\n\n")[0]
    tasks = {path.stem for path in (CONF / "task").glob("*.yaml")}
    assert tasks and not [task for task in tasks if f"`{task}`" not in table]

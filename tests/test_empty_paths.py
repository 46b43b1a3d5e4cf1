"""A path that is empty, as a shell's variable that is not set, is refused; Python would take the current folder. So is one
that is longer than any."""

from collections.abc import Callable

import pytest

from star_loop.export.__main__ import main as export
from star_loop.judge.__main__ import main as judge
from star_loop.plan.__main__ import main as plan
from star_loop.report.__main__ import main as report
from star_loop.show.__main__ import main as show


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (export, [""]),
        (judge, [""]),
        (plan, ["--like", ""]),
        (report, [""]),
        (report, [".", "--into", ""]),
        (show, [""]),
    ],
)
def test_an_empty_path_is_refused(
    command: Callable[[list[str]], int], line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = command(line)
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 2 and "is empty: give" in capsys.readouterr().err


@pytest.mark.parametrize("command", [export, judge, report, show])
def test_a_path_that_no_system_knows_is_refused(
    command: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = command(["long" * 100])
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 2 and "File name too long" in capsys.readouterr().err

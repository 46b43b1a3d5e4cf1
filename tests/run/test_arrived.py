"""What arrives of a wave is kept: after a failure only the rest is asked, and the run ends with the same bytes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.config.build import build
from star_loop.generators.scripted import Scripted, ScriptedEngine
from star_loop.launch import advance
from star_loop.protocols import Arrived, EngineError
from star_loop.records import Completion, Observation, Request, Sampling
from star_loop.run.arrived import Arrivals
from star_loop.run.directory import RunDirectory
from star_loop.run.disk import Disk
from tests.quiz import QUIZ, configure, contents


class Mortal(ScriptedEngine):
    """Dies after so many requests have arrived."""

    def __init__(self, script: Scripted, after: int) -> None:
        super().__init__(script)
        self.after, self.arrived = after, 0

    def generate(self, requests: Sequence[Request], *, arrived: Arrived | None = None, **rest: Any) -> Any:
        def keep(index: int, drawn: list[Completion]) -> None:
            if self.arrived == self.after:
                raise EngineError("out of memory")
            self.arrived += 1
            assert arrived is not None
            arrived(index, drawn)

        return super().generate(requests, arrived=keep, **rest)


@cache
def composed() -> dict[str, Any]:
    stages = ("second_try=rationalize", "search=balance", "search.temperatures=[0.5,1.0]", "preparation=pilots")
    # Towards a quota, what is begun in vain depends on what was known when; without one, nothing is.
    return configure(*QUIZ, *stages, "schedule.quota=null", "iterations=2", "generator.seeding=request")


def go(directory: Path, after: int = -1) -> int:
    """How many requests arrived in this launch; the engine dies after so many of them (-1: it does not)."""
    experiment = build(composed())
    assert isinstance(experiment.generator, Scripted)
    engine = Mortal(experiment.generator, after)
    if after < 0:
        advance(experiment, RunDirectory(directory), composed(), engine)
    else:
        with pytest.raises(EngineError, match="out of memory"):
            advance(experiment, RunDirectory(directory), composed(), engine)
    return engine.arrived


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, bytes]]:
    directory = tmp_path_factory.mktemp("whole")
    return go(directory), contents(directory)


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.reliability)])
def test_nothing_that_has_arrived_is_asked_again(
    whole: tuple[int, dict[str, bytes]], tmp_path: Path, step: int
) -> None:
    """Preparation, search, both tries of a wave, validation and test: whatever is under way."""
    (total, expected), within = whole, 0
    for after in range(1, total, step):
        directory = tmp_path / str(after)
        assert go(directory, after) == after
        within += (directory / "arrived.jsonl").exists()  # else it died between two waves
        assert go(directory) == total - after
        assert contents(directory) == expected, "and nothing is left of the journal"
    assert within > 0.7 * len(range(1, total, step))


def test_a_run_that_fails_again_and_again_comes_to_its_end(whole: tuple[int, dict[str, bytes]], tmp_path: Path) -> None:
    total, expected = whole
    for _ in range(total // 3):
        assert go(tmp_path, 3) == 3
    assert go(tmp_path) == total - total // 3 * 3
    assert contents(tmp_path) == expected


REQUEST = Request(
    prompt="Q",
    observation=Observation(id="1", question="Q", answer="1"),
    sampling=Sampling(temperature=1, max_tokens=9),
)
ANOTHER = replace(REQUEST, seed=1)
DRAWN = [Completion(text="a\ud800\n", tokens=2, prompt_tokens=1, finish="stop")]


def arrivals(directory: Path, wave: str = "one") -> Arrivals:
    opened = Arrivals(directory / "arrived.jsonl", Disk())
    opened.turn_to(wave)
    return opened


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, prompt="R"), replace(REQUEST, n=2), ANOTHER, replace(REQUEST, hinted=True),
        replace(REQUEST, sampling=Sampling(temperature=0.5, max_tokens=9)),
        replace(REQUEST, observation=Observation(id="2", question="Q", answer="1")),
    ],
)  # fmt: skip
def test_only_the_same_request_of_the_same_wave_is_known(tmp_path: Path, other: Request) -> None:
    arrivals(tmp_path).add(REQUEST, DRAWN)
    again = arrivals(tmp_path)
    assert again.known(REQUEST) == DRAWN
    assert again.known(other) is None
    again.turn_to("two")
    assert again.known(REQUEST) is None
    assert not again.path.exists(), "a wave that is over"
    again.discard()


@given(st.data())
def test_what_is_torn_or_flipped_is_asked_again(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    directory = tmp_path_factory.mktemp("damaged")
    journal = arrivals(directory)
    journal.add(REQUEST, DRAWN)
    first = journal.path.stat().st_size
    journal.add(ANOTHER, DRAWN)
    written = journal.path.read_bytes()
    at = data.draw(st.integers(0, len(written) - 1))
    flip = data.draw(st.integers(0, 255))
    journal.path.write_bytes(written[:at] + bytes([written[at] ^ flip]) + written[at + 1 :] if flip else written[:at])
    again = arrivals(directory)
    assert again.known(REQUEST) == (None if at < first else DRAWN)
    assert again.known(ANOTHER) == (DRAWN if flip and at < first - 1 else None)
    for request in (REQUEST, ANOTHER):  # what follows a torn line is not torn with it
        if again.known(request) is None:
            again.add(request, DRAWN)
    assert sorted(journal.path.read_bytes().splitlines()) == sorted(written.splitlines())


@given(st.binary() | st.text().map(lambda text: json.dumps([text]).encode()))
def test_any_bytes_are_no_more_than_nothing(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    directory = tmp_path_factory.mktemp("any")
    (directory / "arrived.jsonl").write_bytes(data)
    assert arrivals(directory).known(REQUEST) is None
    assert not (directory / "arrived.jsonl").exists()


def test_damaged_lines_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = arrivals(tmp_path)
    journal.add(REQUEST, DRAWN)
    journal.path.write_bytes(b"x" + journal.path.read_bytes() + b"torn by a kill")
    assert arrivals(tmp_path).known(REQUEST) is None
    assert "1 lines are damaged: what they held is generated again" in caplog.text

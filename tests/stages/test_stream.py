"""Collecting as a stream: what is written depends neither on who generates, nor how fast, nor on a kill in between."""

import heapq
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.config.build import build
from star_loop.generators.scripted import Scripted, ScriptedEngine
from star_loop.generators.stream import Arriving, More
from star_loop.launch import advance
from star_loop.protocols import EngineError
from star_loop.records import Completion, Request
from star_loop.run.directory import RunDirectory
from star_loop.seeding import rng
from star_loop.stages.waves import Yields
from tests.quiz import QUIZ, configure, contents

STEPS = 40
"""Decoding steps of the longest text."""
TABLE = ("generator.table=[0.9,0.5,0.2]",)
RUNS = {
    "second tries": ("second_try=rationalize",),
    "rounds": ("allocator=sequential", "allocator.right=2", "allocator.most=9", "selectors.cap.limit=2", "schedule.per_observation=2"),
    "a shared budget": ("allocator=boundary", "allocator.rollouts=2", "second_try=resample"),
    "a whole pass": ("schedule.quota=null", "second_try=resample"),
    "too much wanted": ("schedule.quota=100", "second_try=resample"),
    "a sampler that looks": ("sampler._target_=tests.stages.test_stream.Looking",),
}  # fmt: skip


class Ragged(ScriptedEngine):
    """Decodes as many texts at once as it has slots; how long one is, chance decides. It may die."""

    def __init__(self, script: Scripted, *, slots: int, seed: int = 0, dies: int = -1) -> None:
        super().__init__(script)
        self.slots, self.lengths, self.dies = slots, rng(seed, "lengths"), dies
        self.steps = self.busy = self.asked = self.aborted = 0
        self.came: list[str] = []

    def stream(self, more: More) -> Arriving:
        left: dict[int, int] = {}
        requests: dict[int, Request] = {}
        try:
            while True:
                new = dict(more(self.slots - sum(requests[k].n for k in requests)))
                self.asked += sum(request.n for request in new.values())
                requests |= new
                left |= {k: int(self.lengths.integers(1, STEPS)) for k in new}
                if not requests:
                    return
                self.steps, self.busy = self.steps + 1, self.busy + min(len(requests), self.slots)
                left = {k: steps - 1 for k, steps in left.items()}
                done = [k for k in sorted(left, key=lambda k: -k) if left[k] <= 0]
                if self.dies in range(len(self.came), len(self.came) + len(done)):
                    raise EngineError("died")
                self.came += [name(requests[k]) for k in done]
                yield {k: self.generate([requests[k]], seed=0)[0] for k in done}
                for k in done:
                    del requests[k], left[k]
        finally:
            self.aborted += sum(request.n for request in requests.values())


def name(request: Request) -> str:
    return f"{request.observation.id} {request.seed}"


class Looking(build(configure(*QUIZ, "sampler=uniform")).sampler.__class__):  # type: ignore[misc]
    """Turns its order round, behind the cursor, whenever it sees a wave with a failure."""

    def observe(self, state: Any, wave: Any) -> Any:
        order, at = state["order"].copy(), int(state["cursor"][0])
        if not wave.accepted.all():
            order[at:] = order[at:][::-1]
        return {**state, "order": order}


@cache
def composed(run: str, *more: str) -> dict[str, Any]:
    return configure(
        *QUIZ,
        "task.n=60",
        "schedule.steps=9",
        "schedule.wave=8",
        "iterations=1",
        "generator.table=[0.9,0.5,0.2]",
        *RUNS[run],
        *more,
    )


def go(directory: Path, config: dict[str, Any], engine: ScriptedEngine | None = None) -> dict[str, bytes]:
    advance(build(config), RunDirectory(directory), config, engine)
    return contents(directory)


def scripted(config: dict[str, Any]) -> Scripted:
    generator = build(config).generator
    assert isinstance(generator, Scripted)
    return generator


@pytest.fixture(scope="module", params=RUNS)
def alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, bytes]]:
    """A run and what a plain engine, which is asked batch by batch, leaves of it."""
    config = composed(request.param, "generator.seeding=request")
    return request.param, go(tmp_path_factory.mktemp("plain"), config)


@pytest.mark.parametrize("slots", [1, 7, 100])
def test_the_speed_of_an_engine_changes_no_byte(
    alone: tuple[str, dict[str, bytes]], tmp_path: Path, slots: int
) -> None:
    run, expected = alone
    config = composed(run, "generator.seeding=request")
    engine = Ragged(scripted(config), slots=slots, seed=slots)
    assert go(tmp_path, config, engine) == expected


def test_wave_after_wave_brings_the_same_to_learn_from(alone: tuple[str, dict[str, bytes]], tmp_path: Path) -> None:
    run, expected = alone
    found = go(tmp_path, composed(run, "generator.seeding=wave"))
    same = ("examples.jsonl", "statistics.parquet", "sampler.npz", "ability.json", "evaluation.jsonl")
    names = [name for name in expected if name.endswith(same)]
    assert names and {name: found[name] for name in names} == {name: expected[name] for name in names}


def test_a_kill_with_a_full_stream_loses_what_was_in_flight(
    alone: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    run, expected = alone
    config = composed(run, "generator.seeding=request")
    for dies in (3, 14):
        engines = [Ragged(scripted(config), slots=9, seed=dies, dies=d) for d in (dies, dies // 2, -1)]
        for engine in engines[:-1]:
            with pytest.raises(EngineError, match="died"):
                go(tmp_path / str(dies), config, engine)
        assert go(tmp_path / str(dies), config, engines[-1]) == expected
        came = [request for engine in engines for request in engine.came]
        assert len(came) == len(set(came)), "what has come is not asked again"


class Waiting(ScriptedEngine):
    """Decodes as `Ragged` does, one call after the other."""

    def __init__(self, script: Scripted, *, slots: int) -> None:
        super().__init__(script)
        self.slots, self.lengths, self.steps = slots, rng(0, "lengths"), 0

    def generate(self, requests: Sequence[Request], **rest: Any) -> list[list[Completion]]:
        free = [0] * self.slots
        for request in requests:
            if request.sampling.temperature:  # as evaluation is no stream in either
                heapq.heapreplace(free, free[0] + int(self.lengths.integers(1, STEPS)))
        self.steps += max(free)
        return super().generate(requests, **rest)


def test_little_is_asked_in_vain_and_no_engine_waits_for_a_waves_longest_text(tmp_path: Path) -> None:
    asked = aborted = steps = waves = 0
    for table in ("[0.9,0.5,0.2]", "[0.3,0.3,0.3]", "[0.95,0.95,0.9]"):
        much = (
            "task.n=900",
            "schedule.steps=60",
            "schedule.wave=64",
            "second_try=resample",
            f"generator.table={table}",
        )
        config = composed("second tries", *much, "generator.seeding=request")
        engine = Ragged(scripted(config), slots=32)
        go(tmp_path / f"stream{table}", config, engine)
        (surplus,) = [e["surplus"] for e in RunDirectory(tmp_path / f"stream{table}").timings(1) if "surplus" in e]
        asked, aborted, steps = asked + engine.asked, aborted + surplus, steps + engine.steps
        config = composed("second tries", *much, "generator.seeding=wave")
        barrier = Waiting(scripted(config), slots=32)
        go(tmp_path / f"waves{table}", config, barrier)
        waves += barrier.steps
    assert aborted < 0.05 * asked
    assert waves > 1.3 * steps
    print(f"{aborted / asked:.1%} surplus, {waves / steps:.2f} times as fast as waves")


@given(
    most=st.integers(1, 8), untried=st.integers(0, 500), tried=st.lists(st.integers(0, 8), max_size=60),
    later=st.lists(st.tuples(st.booleans(), st.integers(0, 8)), max_size=60),
)  # fmt: skip
def test_no_more_is_expected_than_can_come_and_nothing_of_what_is_settled(
    most: int, untried: int, tried: list[int], later: list[tuple[bool, int]]
) -> None:
    firsts = [min(found, most) for found in tried]
    gains = [min(gain, most - first) for first, (ended, gain) in zip(firsts, later, strict=False) if ended]
    again = min(len(tried), len(later))
    yields = Yields(
        begun=untried + len(tried), tried=len(tried), first=sum(firsts),
        again=again, ended=len(gains), gained=sum(gains),
    )  # fmt: skip
    came = sum(firsts) + sum(gains)
    assert came <= yields.expected(most) <= came + most * (untried + again - len(gains)) + 1e-9
    if not untried and again == len(gains):
        assert yields.expected(most) == came

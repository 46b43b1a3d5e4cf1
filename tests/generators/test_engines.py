"""Several engines as one: what comes depends on the shares, not on how many engines there are or which of them fail."""

import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_loop.generators import devices
from star_loop.generators.engines import Engines, Lane, several
from star_loop.generators.process import WorkerError
from star_loop.generators.stream import More
from star_loop.generators.vllm import Vllm, VllmEngine
from star_loop.models import Model, Pretrained
from star_loop.protocols import Arrived, EngineError, Progress
from star_loop.records import Completion, Observation, Request, Sampling
from star_loop.seeding import seed_for
from tests.generators.test_generators import QUESTIONS, gone
from tests.generators.test_generators import ask as questions
from tests.small_models import write_adapter, write_llama

MODEL = Model(base=Pretrained(name_or_path="nothing"))
OTHER = Model(base=Pretrained(name_or_path="something"))


def ask(count: int) -> list[Request]:
    sampling = Sampling(temperature=1.0, max_tokens=1)
    return [
        Request(prompt=str(k), observation=Observation(id=str(k), question=str(k), answer="?"), sampling=sampling)
        for k in range(count)
    ]


class Echo:
    """Says what it was asked together with what; dies in the middle of the shares that `deaths` names."""

    def __init__(self, deaths: Iterator[bool], record: list[str], alone: bool = False, starts: bool = True) -> None:
        self.deaths, self.record, self.alone, self.starts = deaths, record, alone, starts
        self.thread = threading.get_ident()

    def serve(self, model: Model) -> None:
        self.record.append(f"serve {model.base.name_or_path}")
        if not self.starts:
            raise WorkerError("died while it loaded")

    def generate(
        self,
        requests: Sequence[Request],
        *,
        seed: int,
        progress: Progress | None = None,
        arrived: Arrived | None = None,
    ) -> list[list[Completion]]:
        assert threading.get_ident() == self.thread, "a worker ends with the thread that began it"
        dies = next(self.deaths)
        together = "" if self.alone else f"{seed}: {[r.prompt for r in requests]}"
        done = []
        for index, request in enumerate(requests):
            if dies and index >= len(requests) // 2:
                raise WorkerError("died in the middle")
            self.record.append(request.prompt)
            text = f"{request.prompt} {together}"
            done.append([Completion(text=text, tokens=1, prompt_tokens=1, finish="stop")])
            if progress:
                progress(1)
            if self.alone and arrived:
                arrived(index, done[index])
        return done

    def release(self) -> None:
        self.record.append("release")


@contextmanager
def echo(record: list[str], deaths: Iterator[bool], alone: bool = False, starts: bool = True) -> Iterator[Echo]:
    yield Echo(deaths, record, alone, starts)
    record.append("end")


def fate(*deaths: bool) -> Iterator[bool]:
    """Whether an engine, and those that replace it, die at each of their shares."""
    return chain(deaths, repeat(False))


def expected(requests: list[Request], share: int | None, seed: int) -> list[str]:
    size = share or len(requests) or 1
    texts = []
    for index, start in enumerate(range(0, len(requests), size)):
        part = requests[start : start + size]
        own = seed_for(seed, "share", index) if share else seed
        texts += [f"{r.prompt} {own}: {[other.prompt for other in part]}" for r in part]
    return texts


@settings(max_examples=60)
@given(
    engines=st.integers(1, 4),
    count=st.integers(0, 20),
    share=st.none() | st.integers(1, 7),
    deaths=st.lists(st.booleans(), max_size=6),
)
def test_what_comes_is_the_same_however_many_engines_there_are_and_die(
    engines: int, count: int, share: int | None, deaths: list[bool]
) -> None:
    record: list[str] = []
    starts = [partial(echo, record, fate(*deaths[k::engines])) for k in range(engines)]
    told: list[int] = []
    with several(starts, share=share, restarts=20) as all_of_them:
        all_of_them.serve(MODEL)
        done = all_of_them.generate(ask(count), seed=3, progress=told.append)
    assert [drawn[0].text for drawn in done] == expected(ask(count), share, 3)
    assert sum(told) == count, "each request is told of once"


@given(engines=st.integers(1, 3), deaths=st.lists(st.booleans(), max_size=5))
def test_what_has_arrived_is_not_asked_again(engines: int, deaths: list[bool]) -> None:
    record: list[str] = []
    starts = [partial(echo, record, fate(*deaths[k::engines]), alone=True) for k in range(engines)]
    came, told = list[tuple[int, str]](), list[int]()
    with several(starts, share=None, restarts=20, independent=True) as all_of_them:
        all_of_them.serve(MODEL)
        done = all_of_them.generate(
            ask(9), seed=3, progress=told.append, arrived=lambda index, drawn: came.append((index, drawn[0].text))
        )
    assert [drawn[0].text for drawn in done] == [f"{k} " for k in range(9)]
    assert sum(told) == 9, "each request is told of once"
    assert sorted(came) == [(k, f"{k} ") for k in range(9)]
    asked = Counter(line for line in record if line.isdigit())
    assert asked == {str(k): 1 for k in range(9)}


def feed(count: int, follow: Callable[[int], bool] = lambda _: False) -> tuple[More, list[int]]:
    """Requests 0 … count - 1, and for each that `follow` names another, `count` later, once it has come."""
    waiting, come = deque(range(count)), list[int]()

    def more(room: int) -> dict[int, Request]:
        waiting.extend(k + count for k in come if k < count and follow(k) and k + count not in asked)
        asked.update(k + count for k in come if k < count and follow(k))
        new = [waiting.popleft() for _ in range(min(room, len(waiting)))]
        return {k: ask(k + 1)[k] for k in new}

    asked = set[int]()
    return more, come


@settings(max_examples=40)
@given(
    engines=st.integers(1, 4),
    count=st.integers(0, 150),
    deaths=st.lists(st.booleans(), max_size=5),
    every=st.integers(1, 5),
)
def test_a_stream_brings_all_and_what_follows_from_it_whoever_dies(
    engines: int, count: int, deaths: list[bool], every: int
) -> None:
    record: list[str] = []
    starts = [partial(echo, record, fate(*deaths[k::engines]), alone=True) for k in range(engines)]
    with several(starts, share=4, restarts=20) as all_of_them:
        all_of_them.serve(MODEL)
        more, come = feed(count, lambda k: k % every == 0)
        for drawn in all_of_them.stream(more):
            assert all(texts[0].text == f"{k} " for k, texts in drawn.items())
            come += drawn
        assert len(all_of_them.generate(ask(3), seed=0)) == 3, "it goes on as before"
    assert sorted(come) == sorted([*range(count), *range(count, 2 * count, every)])


def test_a_stream_that_is_closed_leaves_engines_that_go_on() -> None:
    record: list[str] = []
    with several([partial(echo, record, fate(), alone=True)] * 2, share=4, restarts=1) as engines:
        engines.serve(MODEL)
        more, _ = feed(10_000)
        with closing(engines.stream(more)) as stream:
            while not next(stream):
                pass
        assert len([line for line in record if line.isdigit()]) < 1000
        assert len(engines.generate(ask(3), seed=0)) == 3


def test_a_request_that_kills_every_engine_ends_the_stream() -> None:
    record: list[str] = []
    with several([partial(echo, record, repeat(True), alone=True)] * 2, share=4, restarts=2) as engines:
        engines.serve(MODEL)
        with pytest.raises(EngineError, match="died in the middle"):
            list(engines.stream(feed(50)[0]))


def test_an_engine_that_cannot_start_is_left_out_until_the_next_model(caplog: pytest.LogCaptureFixture) -> None:
    record: list[str] = []
    with several([partial(echo, record, fate(), starts=k > 0) for k in range(2)], share=1, restarts=1) as engines:
        engines.serve(MODEL)
        assert "engine 0 is left out: died while it loaded" in caplog.text
        assert len(engines.generate(ask(3), seed=0)) == 3
        engines.serve(MODEL)
        assert record.count("serve nothing") == 2, "the model is served already"
        engines.serve(OTHER)
    assert record.count("serve something") >= 1


def test_when_nobody_is_left_the_reason_is_told() -> None:
    record: list[str] = []
    with several([partial(echo, record, fate(), starts=False)] * 2, share=1, restarts=1) as engines:
        for _ in range(2):
            with pytest.raises(EngineError, match="died while it loaded"):
                engines.serve(MODEL)
            with pytest.raises(EngineError, match="no engine is left"):
                engines.generate(ask(1), seed=0)
    assert record.count("end") == record.count("serve nothing") == 4


def test_a_share_that_kills_every_engine_ends_the_call(caplog: pytest.LogCaptureFixture) -> None:
    record: list[str] = []
    with several([partial(echo, record, fate(True, True)) for _ in range(2)], share=1, restarts=1) as engines:
        engines.serve(MODEL)
        with pytest.raises(EngineError, match="died in the middle"):
            engines.generate(ask(1), seed=0)
    assert caplog.text.count("is started again") == 1


def test_release_reaches_all_and_the_next_model_too() -> None:
    record: list[str] = []
    with several([partial(echo, record, fate())] * 3, share=1, restarts=1) as engines:
        engines.serve(MODEL)
        engines.release()
        engines.serve(MODEL)
    assert Counter(record) == {"serve nothing": 6, "release": 3, "end": 3}


def test_an_error_that_is_no_engines_ends_the_call_and_everything() -> None:
    class Wrong(Echo):
        def serve(self, model: Model) -> None:
            raise EngineError("canary: old weights")

    record: list[str] = []

    @contextmanager
    def wrong() -> Iterator[Wrong]:
        yield Wrong(fate(), record)
        record.append("end")

    with (
        several([wrong, partial(echo, record, fate())], share=1, restarts=3) as engines,
        pytest.raises(EngineError, match="canary"),
    ):
        engines.serve(MODEL)
    assert record.count("end") == 2


@pytest.mark.engine
def test_two_workers_of_vllm_are_one_engine_and_one_of_them_may_die(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = Pretrained(name_or_path=str(write_llama(tmp_path / "base")))
    adapted = Model(base=base, adapter=write_adapter(tmp_path / "base", tmp_path / "adapter"))
    wave = questions(QUESTIONS, Sampling(temperature=1.0, max_tokens=40), n=2)
    settings = Vllm(threads=1, cpu_kvcache_space=0.1, engines=2, share=2, seeding="wave")
    with settings.engine(base, workspace=tmp_path / "engine", seed=0) as engines:
        assert isinstance(engines, Engines)
        first, second = engines._lanes
        engines.serve(adapted)
        assert {lane.do(lambda engine: engine.served).result() for lane in (first, second)} == {adapted}
        alone: list[list[Completion]] = []
        for index in range(3):
            asked, seed = wave[2 * index :][:2], seed_for(7, "share", index)
            alone += first.do(lambda engine, asked=asked, seed=seed: engine.generate(asked, seed=seed)).result()
        told: list[int] = []

        def kill_once(units: int) -> None:
            if not told:
                os.kill(pid(second), signal.SIGKILL)
            told.append(units)

        pids = {pid(first), pid(second)}
        assert engines.generate(wave, seed=7) == alone
        assert engines.generate(wave, seed=7, progress=kill_once) == alone
        assert engines.generate(wave, seed=7) == alone
        assert sum(told) == len(wave)
        pids |= {pid(first), pid(second)}
        assert len(pids) == 3 and "engine 1 is started again" in caplog.text

        os.kill(pid(first), signal.SIGSTOP)  # it would be waited for, for ten minutes
        with pytest.raises(KeyboardInterrupt):
            engines.generate(wave, seed=7, progress=interrupt)
    assert all(gone(number) for number in pids)
    assert {path.name for path in (tmp_path / "engine").rglob("*") if path.is_file()} == {"worker.log"}


@pytest.mark.engine
def test_two_engines_on_two_cores_draw_what_one_draws(tmp_path: Path, all_cores: list[int]) -> None:
    base = Pretrained(name_or_path=str(write_llama(tmp_path / "base")))
    asked = questions(QUESTIONS, Sampling(temperature=1.0, max_tokens=40), n=2)
    with Vllm().engine(base, workspace=tmp_path / "engine", seed=0) as engines:
        assert isinstance(engines, Engines) and len(engines._lanes) == 2
        engines.serve(Model(base=base))
        alone = engines._lanes[0].do(lambda engine: engine.generate(asked, seed=7)).result()
        assert engines.generate(asked, seed=8) == alone, "each request has a seed of its own"


def pid(lane: Lane) -> int:
    return lane.do(lambda engine: cast(VllmEngine, engine).pid).result()


def interrupt(_: int) -> None:
    raise KeyboardInterrupt


def test_engines_get_gpus_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert devices.divide(2, 1, []) == [{"OMP_NUM_THREADS": str(max(1, devices.cores() // 2))}] * 2
    assert devices.divide("auto", 1, []) == [{}]
    assert devices.divide("auto", 2, ["0", "1", "3", "7", "8"]) == [
        {"CUDA_VISIBLE_DEVICES": "0,1"},
        {"CUDA_VISIBLE_DEVICES": "3,7"},
    ]
    assert devices.divide(1, 1, ["GPU-5c2f"]) == [{"CUDA_VISIBLE_DEVICES": "GPU-5c2f"}]
    with pytest.raises(ValueError, match=r"generator\.engines=3 .* need 6 GPUs, and 4 are seen"):
        devices.divide(3, 2, ["0", "1", "2", "3"])


def test_a_small_model_gets_two_engines_on_cores_where_nothing_else_is_said(
    tmp_path: Path, all_cores: list[int]
) -> None:
    small = Pretrained(name_or_path="tiny")
    assert Vllm().engines_for(small) == min(2, len(all_cores))
    assert Vllm(threads=1).engines_for(small) == Vllm(seeding="wave").engines_for(small) == 1
    assert (Vllm(engines=3).engines_for(small), Vllm(engines="auto").engines_for(small)) == (3, "auto")
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(devices.SMALL + 1)
    assert Vllm().engines_for(Pretrained(name_or_path=str(tmp_path))) == 1
    assert Vllm().engines_for(Pretrained(name_or_path="Qwen/Qwen2.5-3B")) == 1, "whose size is not looked up"
    os.sched_setaffinity(0, all_cores[:1])
    assert Vllm().engines_for(small) == 1


def test_a_model_is_spread_over_as_few_gpus_as_hold_it() -> None:
    assert [devices.spread(size, 72.0, 8) for size in (1.0, 57.5, 57.7, 115.3, 400.0)] == [1, 1, 2, 4, 8]
    with pytest.raises(ValueError, match=r"more than 80% of 4 times the 72\.0 GiB .*: take a smaller model"):
        devices.spread(300.0 * 2**30, 72.0 * 2**30, 7)
    assert devices.fewest(Pretrained(name_or_path="tiny"), "auto", 0.9) == 1


def test_several_engines_must_be_told_how_a_call_is_cut() -> None:
    with pytest.raises(ValueError, match=r"generator\.engines=2 .*add generator\.share=64"):
        Vllm(engines=2, seeding="wave").check()
    Vllm(engines=2, share=16, seeding="wave").check()
    Vllm(engines=2).check()

"""An engine that dies in the middle of a wave is replaced, and what comes is what would have come.

One that hangs counts as dead (`test_a_silent_worker_counts_as_dead`).
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from star_loop.generators.vllm import Vllm, VllmEngine
from star_loop.models import Model, Pretrained
from star_loop.protocols import EngineError
from star_loop.records import Sampling
from tests.generators.test_generators import QUESTIONS, ask, gone
from tests.processes.test_killable import stopped_longer, waits
from tests.small_models import write_llama
from tests.test_end_to_end import ROOT, living, start

pytestmark = pytest.mark.engine


WAVE = [
    *ask(QUESTIONS[:1], Sampling(temperature=1.0, max_tokens=2)),
    *ask(sampling=Sampling(temperature=1.0, max_tokens=300), n=4),
]
"""The first is finished long before the others."""
LONG = 1_000_000
"""Tokens that a model allows and a tenth of a GiB does not hold."""


def kill(engine: VllmEngine) -> None:
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)


def test_a_second_engine_that_dies_within_a_call_ends_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = Pretrained(name_or_path=str(write_llama(tmp_path / "base", context=LONG)))
    with Vllm(threads=1, cpu_kvcache_space=0.1, seeding="wave").engine(
        base, workspace=tmp_path / "engine", seed=0
    ) as engine:
        engine.serve(Model(base=base))
        assert isinstance(engine, VllmEngine) and 512 < engine.facts["context"] < LONG, "what the cache holds"
        workers = [engine.pid]
        kill(engine)  # before anything is told; then the next one, while the long requests are under way
        with pytest.raises(EngineError, match=r"(?s)died.*SIGKILL.*worker\.log"):
            engine.generate(WAVE, seed=7, progress=lambda _: kill(engine))
        workers.append(engine.pid)
    assert caplog.text.count("is started again") == 1 and "killed by SIGKILL" in caplog.text
    assert len(set(workers)) == 2, "at most one more for each call"
    assert all(gone(pid) for pid in workers)
    assert [path.name for path in (tmp_path / "engine").iterdir()] == ["worker.log"]


STOPPED = """
import sys
from pathlib import Path
from star_loop.generators.vllm import Vllm
from star_loop.models import Model, Pretrained
from tests.generators.test_engine_faults import WAVE
base = Pretrained(name_or_path=sys.argv[1])
settings = Vllm(threads=1, cpu_kvcache_space=0.1, seeding="wave", restarts=0)
with settings.engine(base, workspace=Path(sys.argv[1]) / "engine", seed=0) as engine:
    engine.serve(Model(base=base))
    expected = engine.generate(WAVE, seed=7)
    engine._worker.timeout = float(sys.argv[2])
    print("ready", flush=True)
    print("same" if engine.generate(WAVE, seed=7, progress=lambda _: print("one", flush=True)) == expected else "other")
"""


@pytest.mark.reliability
@pytest.mark.skipif(sys.platform != "linux", reason="the state of another process is read from /proc")
def test_main_stopped_for_longer_than_the_time_out_blames_no_engine(tmp_path: Path) -> None:
    base, seconds = write_llama(tmp_path / "base"), 3.0
    line = [sys.executable, "-c", STOPPED, str(base), str(seconds)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    while process.stdout.readline().strip() != "one":
        assert process.poll() is None, process.communicate()[1]
    while not waits(process.pid):
        pass  # until it waits for the rest
    stopped_longer(process, 2 * seconds)
    process.send_signal(signal.SIGCONT)
    said, errors = process.communicate()
    assert said.endswith("same\n") and process.returncode == 0, errors


OUT_OF_MEMORY = r"failed: generate: .*Lower generator\.max_num_seqs|died \(killed by SIG(ABRT|SEGV)\)"
"""Most allocations that fail are errors; some that nobody looks at end the process."""


def starve(engine: VllmEngine) -> None:
    """From now on its worker gets no more memory from the system."""
    import resource

    assert engine.pid is not None
    _, hard = resource.prlimit(engine.pid, resource.RLIMIT_AS)
    resource.prlimit(engine.pid, resource.RLIMIT_AS, (1 << 20, hard))


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
def test_a_wave_survives_that_memory_runs_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "16384")  # a fresh worker has little that was freed to take from
    base = Pretrained(name_or_path=str(write_llama(tmp_path / "base")))
    wave = [*ask(QUESTIONS[:1], Sampling(temperature=1.0, max_tokens=2)), *ask(["x" * 400] * 40)]
    settings, told = Vllm(threads=1, cpu_kvcache_space=0.1, max_num_seqs=1, seeding="wave"), list[int]()
    with settings.engine(base, workspace=tmp_path / "engine", seed=0) as engine:
        assert isinstance(engine, VllmEngine)

        def once(units: int) -> None:
            if not told:
                starve(engine)
            told.append(units)

        drawn = engine.generate(wave, seed=7, progress=once)
        assert "is started again" in caplog.text and re.search(OUT_OF_MEMORY, caplog.text)
        assert sum(told) == len(wave) and engine.generate(wave, seed=7) == drawn


def test_an_engine_that_cannot_start_is_not_started_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = Pretrained(name_or_path=str(write_llama(tmp_path / "base")))
    (tmp_path / "base/tokenizer.json").write_text("{")
    with (
        Vllm(threads=1, restarts=3).engine(base, workspace=tmp_path / "engine", seed=0) as engine,
        pytest.raises(EngineError, match=r"(?s)cannot load the tokenizer.*worker\.log"),
    ):
        engine.serve(Model(base=base))
        engine.generate(ask(), seed=0)
    assert "started again" not in caplog.text
    assert not (tmp_path / "engine/tmp").exists()


def test_a_run_whose_engine_cannot_start_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    """The normal end, SIGKILL, SIGTERM and Ctrl-C are in `test_end_to_end.py`."""
    process = start(tmp_path, "iterations=0", "generator.engine_kwargs={no_such_key:1}")
    said = process.communicate()[0]
    assert process.returncode == 1 and "no_such_key" in said, said
    assert living(tmp_path) == []
    assert not (tmp_path / "run/.engine/tmp").exists()
    assert not list((tmp_path / "tmp").iterdir())

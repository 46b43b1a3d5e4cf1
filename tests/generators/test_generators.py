"""Both engines on real weights: they agree with each other, with themselves, and with the adapter they were given."""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from star_loop.generators.process import WorkerProcess
from star_loop.generators.serving import Canary, Sequences, Serving, advice, cut_at_stop
from star_loop.generators.transformers import Transformers
from star_loop.generators.vllm import Vllm, VllmEngine
from star_loop.models import Model, Pretrained
from star_loop.protocols import EngineError
from star_loop.records import Completion, Observation, Request, Sampling
from tests.conftest import CORES
from tests.small_models import LETTERS, byte_tokenizer, write_adapter, write_llama

ENGINES = ("transformers", "vllm")
QUESTIONS = ("What is 2 + 3?", "Where do the birds sleep when it rains all day long?", "Why?", "Ünïcödé ✓", "1 + 1 = ")
GREEDY = Sampling(temperature=0.0, max_tokens=24)
FREE = Sampling(temperature=1.0, max_tokens=24)


def ask(questions=QUESTIONS, sampling=FREE, n=1) -> list[Request]:
    return [
        Request(
            prompt=question, observation=Observation(id=f"q/{index}", question=question, answer="?"),
            sampling=sampling, n=n, seed=1000 + index,
        )
        for index, question in enumerate(questions)
    ]  # fmt: skip


def texts(completions: list[list[Completion]]) -> list[list[str]]:
    return [[completion.text for completion in drawn] for drawn in completions]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Pretrained:
    return Pretrained(name_or_path=str(write_llama(tmp_path_factory.mktemp("llama"), tied=True)))


@pytest.fixture(scope="module")
def adapted(base, tmp_path_factory) -> Model:
    adapter = write_adapter(Path(base.name_or_path), tmp_path_factory.mktemp("adapter"))
    return Model(base=base, adapter=adapter)


@pytest.fixture(scope="module")
def engines(base, tmp_path_factory):
    settings = {
        "transformers": Transformers(batch_size=4),
        "vllm": Vllm(threads=1, cpu_kvcache_space=0.1, seeding="wave"),
    }
    with ExitStack() as stack:
        workspace = tmp_path_factory.mktemp("workspace")
        yield {
            name: stack.enter_context(settings[name].engine(base, workspace=workspace / name, seed=0))
            for name in ENGINES
        }


@pytest.fixture(params=ENGINES)
def engine(request, engines, base):
    engine = engines[request.param]
    engine.serve(Model(base=base))
    return engine


@pytest.mark.engine
class TestBothEngines:
    def test_completions_come_back_in_request_order_n_for_each(self, engine):
        done: list[int] = []
        requests = [*ask(n=3), *ask(QUESTIONS[:2], n=1)]
        completions = engine.generate(requests, seed=0, progress=done.append)
        assert [len(drawn) for drawn in completions] == [3, 3, 3, 3, 3, 1, 1]
        prompt_tokens = [drawn[0].prompt_tokens for drawn in completions]
        assert prompt_tokens == [1 + len(request.prompt.encode()) for request in requests], "a BOS and the bytes"
        assert sum(done) == len(requests)

    def test_samples_of_one_request_differ(self, engine):
        (drawn,) = texts(engine.generate(ask(QUESTIONS[:1], n=4), seed=0))
        assert len(set(drawn)) == 4

    def test_the_seed_decides(self, engine):
        first = engine.generate(ask(n=2), seed=1)
        other = engine.generate(ask(n=2), seed=2)
        assert engine.generate(ask(n=2), seed=1) == first, "whatever was generated before"
        assert texts(other) != texts(first)

    def test_greedy_ignores_the_seed_and_repeats_itself(self, engine):
        first = engine.generate(ask(sampling=GREEDY, n=2), seed=1)
        assert texts(first) == texts(engine.generate(ask(sampling=GREEDY, n=2), seed=2))
        assert all(one.text == two.text for one, two in first)

    def test_sampling_travels_with_the_request(self, engine):
        requests = [*ask(QUESTIONS[:2], GREEDY), *ask(QUESTIONS[:2], Sampling(temperature=1.0, max_tokens=5))]
        completions = engine.generate(requests, seed=0)
        assert texts(completions)[:2] == texts(engine.generate(ask(QUESTIONS[:2], GREEDY), seed=0))
        assert all(drawn[0].tokens <= 5 for drawn in completions[2:])

    @pytest.mark.parametrize("narrow", [{"top_k": 1}, {"min_p": 1.0}], ids=str)
    def test_only_the_most_probable_token_is_left(self, engine, narrow):
        greedy = texts(engine.generate(ask(sampling=GREEDY), seed=0))
        narrowed = replace(GREEDY, temperature=1.0, **narrow)
        assert texts(engine.generate(ask(sampling=narrowed), seed=0)) == greedy

    def test_what_was_written_is_penalised(self, engine):
        penalised = replace(GREEDY, repetition_penalty=1000.0)
        for (drawn,) in engine.generate(ask(sampling=penalised), seed=0):
            written = [letter for letter in drawn.text if letter != "�"]
            assert len(set(written)) == len(written)

    def test_max_tokens_cuts_off(self, engine):
        (drawn,) = engine.generate(ask(QUESTIONS[:1], Sampling(temperature=0.0, max_tokens=3)), seed=0)
        assert drawn[0].finish == "length" and drawn[0].tokens == 3

    def test_generation_ends_before_a_stop_string(self, engine):
        (whole,) = texts(engine.generate(ask(QUESTIONS[:1], GREEDY), seed=0))[0]
        stop = whole[6:8]
        sampling = Sampling(temperature=0.0, max_tokens=24, stop=("never in it", stop))
        (drawn,) = engine.generate(ask(QUESTIONS[:1], sampling), seed=0)[0]
        assert drawn.text == whole[: whole.index(stop)]
        assert drawn.finish == "stop" and drawn.tokens < 24
        assert drawn.ids[-1] == LETTERS + 1 and byte_tokenizer().decode(drawn.ids[:-1]) == drawn.text

    def test_end_of_sequence_is_counted_and_not_shown(self, engine):
        requests = ask(sampling=Sampling(temperature=1.5, max_tokens=200), n=16)
        ended = [c for drawn in engine.generate(requests, seed=3) for c in drawn if c.finish == "stop"]
        assert ended, "a random model ends by chance"
        assert all("<eos>" not in completion.text and 1 <= completion.tokens <= 200 for completion in ended)
        assert all(len(completion.ids) == completion.tokens for completion in ended)
        assert {completion.ids[-1] for completion in ended} == {LETTERS + 1}

    def test_nothing_asked_nothing_generated(self, engine):
        assert engine.generate([], seed=0) == []

    def test_a_prompt_that_fills_the_context_is_cut_off_not_an_error(self, engine):
        requests = ask(["x" * 600, QUESTIONS[0]], GREEDY, n=2)
        long, short = engine.generate(requests, seed=0)
        assert [(c.text, c.tokens, c.finish, c.prompt_tokens) for c in long] == [("", 0, "length", 601)] * 2
        assert all(completion.text for completion in short)

    def test_a_completion_ends_with_the_context(self, engine):
        (drawn,) = engine.generate(ask(["x" * 500], Sampling(temperature=0.0, max_tokens=100)), seed=0)[0]
        assert (drawn.tokens, drawn.finish) == (11, "length")

    def test_the_adapter_is_what_generates(self, engine, base, adapted):
        before = texts(engine.generate(ask(sampling=GREEDY), seed=0))
        engine.serve(adapted)
        after = texts(engine.generate(ask(sampling=GREEDY), seed=0))
        assert after != before
        engine.serve(Model(base=base))
        assert texts(engine.generate(ask(sampling=GREEDY), seed=0)) == before

    def test_a_stale_engine_is_caught(self, engine, base, adapted, tmp_path):
        """Weights of the base under the canary of a trained adapter: what an engine looks like that did not swap."""
        still = write_adapter(Path(base.name_or_path), tmp_path / "still", scale=0.0)
        shutil.copy(adapted.adapter / "canary.json", still)
        with pytest.raises(EngineError, match="still generates with old weights"):
            engine.serve(Model(base=base, adapter=still))

    def test_an_engine_stuck_at_the_previous_adapter_is_caught(self, engine, base, adapted, tmp_path):
        """Training started from the base, so `before` is the base's, and the stale weights are those of iteration 1."""
        engine.serve(adapted)
        canary = json.loads((adapted.adapter / "canary.json").read_text())
        shifted = [0.9 * after + 0.1 * before for before, after in zip(canary["before"], canary["after"], strict=True)]
        shutil.copytree(adapted.adapter, tmp_path / "next")
        (tmp_path / "next" / "canary.json").write_text(json.dumps({**canary, "after": shifted}))
        with pytest.raises(EngineError, match="still generates with old weights"):
            engine.serve(Model(base=base, adapter=tmp_path / "next"))

    def test_another_base_is_refused(self, engine):
        with pytest.raises(EngineError, match="this engine serves"):
            engine.serve(Model(base=Pretrained(name_or_path="another")))


@pytest.mark.engine
def test_a_question_is_read_once_for_all_its_rationales(engines, base):
    """As far as whole blocks of the prefix cache go; vLLM's own on a CPU are longer than most questions."""
    engines["vllm"].serve(Model(base=base))
    (drawn,) = engines["vllm"].generate(ask(["x" * 80], n=3), seed=0)
    assert {completion.cached_tokens for completion in drawn} == {64}, "vLLM counts for all of a request together"


@pytest.mark.engine
def test_both_engines_write_the_same_greedy_text(engines, base, adapted):
    for model in (Model(base=base), adapted):
        written = []
        for name in ENGINES:
            engines[name].serve(model)
            written.append(engines[name].generate(ask(sampling=GREEDY), seed=0))
        assert written[0] == written[1]


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore:Model has:UserWarning", "ignore:Model with:UserWarning", "ignore:Setting `save")
def test_an_adapter_of_tied_embeddings_reaches_the_output_layer(engines, base, tmp_path):
    """vLLM keeps a packed copy of a tied output layer on a CPU, and reloading the weights does not renew it."""
    adapter = write_adapter(
        Path(base.name_or_path),
        tmp_path / "adapter",
        scale=0.2,
        modules=["o_proj"],
        modules_to_save=["embed_tokens"],
        ensure_weight_tying=True,
    )
    written = []
    for name in ENGINES:
        engines[name].serve(Model(base=base, adapter=adapter))
        written.append(texts(engines[name].generate(ask(sampling=GREEDY), seed=0)))
    assert written[0] == written[1]


@pytest.mark.engine
def test_adapter_merged_or_beside_the_weights_is_the_same_model(base, adapted, tmp_path):
    greedy = []
    for adapter in ("merge", "lora"):
        with Transformers(adapter=adapter).engine(base, workspace=tmp_path, seed=0) as engine:
            engine.serve(adapted)
            greedy.append(texts(engine.generate(ask(sampling=GREEDY), seed=0)))
    assert greedy[0] == greedy[1]


@pytest.mark.engine
@pytest.mark.skipif(len(CORES) < 2 or torch.accelerator.is_available(), reason="wants a CPU with a core for each shard")
def test_every_shard_of_a_model_gets_the_adapter(engines, base, adapted, tmp_path, monkeypatch, all_cores):
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "|".join(map(str, all_cores[:2])))
    settings = Vllm(tensor_parallel_size=2, cpu_kvcache_space=0.1)
    with settings.engine(base, workspace=tmp_path, seed=0) as engine:
        for model in (adapted, Model(base=base)):
            greedy = []
            for e in (engine, engines["transformers"]):
                e.serve(model)
                greedy.append(texts(e.generate(ask(sampling=GREEDY), seed=0)))
            assert greedy[0] == greedy[1]


class Recorded(VllmEngine):
    """Remembers how many requests each worker was asked."""

    def _call(self, operation, item=None, **arguments):
        if operation == "generate":
            self.asked = [*getattr(self, "asked", []), len(arguments["requests"])]
        return super()._call(operation, item, **arguments)


@pytest.mark.engine
def test_a_second_worker_applies_the_adapter_and_seeds_each_request(engines, base, adapted, tmp_path):
    settings = Vllm(
        threads=1, cpu_kvcache_space=0.1, adapter="lora", max_lora_rank=5, seeding="request", max_num_batched_tokens=512
    )
    with closing(Recorded(settings, base, workspace=tmp_path, seed=0, environment={})) as engine:
        crowd = engine.generate(ask(["x" * 400] * 3, n=2), seed=0)
        assert len({c.text for drawn in crowd for c in drawn}) == 6, "prefills that do not fit into one step together"
        alone = engine.generate(ask()[2:3], seed=0)
        assert engine.generate(ask(), seed=7)[2:3] == alone, "its neighbours and the wave's seed do not matter"
        engines["transformers"].serve(adapted)
        engine.serve(adapted)
        greedy = [texts(e.generate(ask(sampling=GREEDY), seed=0)) for e in (engine, engines["transformers"])]
        assert greedy[0] == greedy[1]

        short, long = Sampling(temperature=1.0, max_tokens=2), Sampling(temperature=1.0, max_tokens=300)
        mixed = [*ask(QUESTIONS[:2], short), *ask(QUESTIONS[2:], long)]
        expected, arrived = engine.generate(mixed, seed=0), {}

        def keep(index, drawn):
            assert index not in arrived
            arrived[index] = drawn
            if len(arrived) == 1:
                os.kill(engine.pid, signal.SIGKILL)

        engine.asked.clear()
        assert engine.generate(mixed, seed=0, arrived=keep) == expected, "by the worker after it"
        assert arrived == dict(enumerate(expected))
        first, left = engine.asked
        assert first == len(mixed) > left >= len(mixed) - 2, "only what had not arrived"

        for closed in (False, True):
            waiting, streamed = dict(enumerate([*mixed, *ask(["x" * 600], short)])), {}
            with closing(
                engine.stream(lambda room, waiting=waiting: {k: waiting.pop(k) for k in list(waiting)[:2]})
            ) as stream:
                for drawn in stream:
                    if drawn and not streamed and not closed:
                        os.kill(engine.pid, signal.SIGKILL)
                    streamed |= drawn
                    if closed and len(streamed) > 2:
                        break
            assert [streamed[k] for k in sorted(streamed) if k < len(mixed)] == [
                expected[k] for k in sorted(streamed) if k < len(mixed)
            ]
            assert closed or len(streamed) == len(mixed) + 1, "what fills the context is answered too"
        assert engine.generate(ask()[2:3], seed=0), "what was in flight is aborted"
    assert not (tmp_path / "tmp").exists()


@pytest.mark.engine
def test_a_new_process_writes_the_same_text_and_dies_with_its_parent(engines, base, tmp_path):
    script = """
import sys
from pathlib import Path
from tests.generators.test_generators import Pretrained, Vllm, ask, texts
settings = Vllm(threads=1, cpu_kvcache_space=0.1, seeding="wave")
with settings.engine(Pretrained(name_or_path=sys.argv[1]), workspace=Path(sys.argv[2]), seed=0) as engine:
    print(engine.pid, texts(engine.generate(ask(n=2), seed=5)), flush=True)
    sys.stdin.read()
"""
    engines["vllm"].serve(Model(base=base))
    parent = subprocess.Popen(
        [sys.executable, "-c", script, base.name_or_path, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    pid, written = parent.stdout.readline().decode().split(" ", 1)
    parent.kill()
    parent.communicate()
    assert written.strip() == str(texts(engines["vllm"].generate(ask(n=2), seed=5)))
    assert gone(int(pid)), "the worker outlived its parent by more than a second"
    assert not (tmp_path / "tmp").exists()


def gone(pid: int) -> bool:
    """Whether the process ends within a second."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with os.fdopen(handle):
        return bool(select.select([handle], [], [], 1.0)[0])


class TestWorkerProcess:
    def test_a_worker_that_cannot_start_shows_the_end_of_its_log(self, tmp_path):
        worker = WorkerProcess("star_loop.no_such_module", workspace=tmp_path, environment={}, timeout=60)
        with pytest.raises(EngineError, match=r"(?s)died.*No module named star_loop\.no_such_module"):
            worker.result(worker.submit("start"))
        worker.close()
        assert not (tmp_path / "tmp").exists()

    def test_a_silent_worker_counts_as_dead(self, tmp_path):
        worker = WorkerProcess("star_loop.generators.vllm_worker", workspace=tmp_path, environment={}, timeout=0.2)
        os.kill(worker.pid, signal.SIGSTOP)
        with pytest.raises(EngineError, match=r"no sign of life for 0\.2 s"):
            worker.result(0)
        os.kill(worker.pid, signal.SIGCONT)
        worker.close()

    def test_sockets_find_a_place_however_long_the_path_is(self, tmp_path):
        long = tmp_path / "/".join(["experiments"] * 12)
        worker = WorkerProcess("star_loop.generators.vllm_worker", workspace=long, environment={}, timeout=60)
        with pytest.raises(EngineError, match="no operation 'sing'"):
            worker.call("sing")
        environment = Path(f"/proc/{worker.pid}/environ").read_bytes().decode().split("\0")
        (folder,) = [Path(line.removeprefix("TMPDIR=")) for line in environment if line.startswith("TMPDIR=")]
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(folder / str(uuid.uuid4())))
        worker.close()
        assert not folder.exists()

    def test_an_operation_that_fails_leaves_the_worker_alive(self, tmp_path):
        worker = WorkerProcess("star_loop.generators.vllm_worker", workspace=tmp_path, environment={}, timeout=60)
        for _ in range(2):
            with pytest.raises(EngineError, match="no operation 'sing'"):
                worker.call("sing")
        worker.close()
        assert gone(worker.pid)

    @pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
    def test_a_worker_without_the_memory_for_a_message_dies_of_it_at_once(self, tmp_path):
        import resource

        worker = WorkerProcess("star_loop.generators.vllm_worker", workspace=tmp_path, environment={}, timeout=60)
        with pytest.raises(EngineError, match="no operation 'sing'"):
            worker.call("sing")
        resource.prlimit(worker.pid, resource.RLIMIT_AS, (1 << 20, resource.RLIM_INFINITY))
        with pytest.raises(EngineError, match=r"(?s)died.*MemoryError: a message does not fit"):
            worker.call("sing", song="x" * 50_000_000)
        worker.close()


class Sleeper(Serving):
    """An engine whose weights are one number, which its sleep may lose."""

    weight = -10.0

    def load(self, model: Model) -> None:
        self.weight = -5.0

    def logprobs(self, sequences: Sequences) -> list[float]:
        return [self.weight for _ in sequences]

    def dtype(self) -> str:
        return "float32"


def test_weights_that_were_lost_in_sleep_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "canary.json").write_text('{"prompts": [[1, 2, 3]], "before": [-10.0], "after": [-5.0]}')
    base = Pretrained(name_or_path="tiny")
    engine = Sleeper(base)
    engine.prove_awake()  # the freshly loaded base has nothing to be compared with
    engine.serve(Model(base=base, adapter=tmp_path))
    engine.prove_awake()
    engine.weight = -10.0
    with pytest.raises(EngineError, match=r"woke up with other weights .*5 nats apart.*generator\.sleep=false"):
        engine.prove_awake()


class Pretended(VllmEngine):
    """A worker on a GPU whose weights are one number, which sleep may drop."""

    weight, facts = -10.0, {"device": "cuda", "dtype": "float32", "asleep": False}

    def _start(self) -> int:
        self._worker, self.done = object(), []
        return 0

    def _call(self, operation, item=None, **arguments):
        self.done.append(operation)
        if operation == "sleep" and arguments["level"] == 2:
            self.weight = float("nan")
        if operation == "load":
            self.weight = -5.0 if arguments["adapter"] else -10.0
        return [self.weight] * len(arguments.get("sequences", []))


def test_merged_weights_that_sleep_has_dropped_are_loaded_again_and_proven(tmp_path: Path) -> None:
    (tmp_path / "canary.json").write_text('{"prompts": [[1, 2, 3]], "before": [-10.0], "after": [-5.0]}')
    base = Pretrained(name_or_path="tiny")
    merged, beside = Model(base=base, adapter=tmp_path), Vllm(adapter="lora")
    engine = Pretended(Vllm(), base, workspace=tmp_path, seed=0, environment={})
    engine.release()
    engine.serve(merged)
    assert engine.done == ["sleep", "wake_up", "logprobs", "load", "logprobs"], "the base is kept, and measured"
    engine.release()
    engine.serve(merged)
    assert engine.done[5:] == ["sleep", "wake_up", "load", "logprobs"] and engine.weight == -5.0
    engine = Pretended(beside, base, workspace=tmp_path, seed=0, environment={})
    engine.serve(merged)
    engine.release()
    engine.serve(merged)
    assert engine.done[3:] == ["sleep", "wake_up", "logprobs"]


class TestCanary:
    CANARY = Canary(prompts=[[1, 2, 3]], before=[-10.0], after=[-5.0])

    @pytest.mark.parametrize("now", [-5.0, -5.00001, -6.0, -4.0, -6.6])
    def test_near_the_new_weights_passes(self, now):
        self.CANARY.verify([-10.0], [now], "float32")

    @pytest.mark.parametrize("now", [-10.0, -7.0, -20.0])
    def test_near_the_old_weights_or_between_is_an_error(self, now):
        with pytest.raises(EngineError, match="old weights"):
            self.CANARY.verify([-10.0], [now], "float32")

    def test_near_what_was_served_before_is_an_error(self):
        with pytest.raises(EngineError, match="old weights"):
            self.CANARY.verify([-6.0], [-6.0], "float32")

    def test_indistinguishable_weights_are_said_and_pass(self, caplog):
        Canary(prompts=[[1, 2, 3]], before=[-5.0], after=[-5.01]).verify([-5.0], [-4.9], "bfloat16")
        assert "too alike" in caplog.text

    @pytest.mark.parametrize("content", ["", "[]", '{"prompts": []}', '{"prompts":[[1]],"before":[],"after":[]}'])
    def test_a_broken_file_is_named(self, tmp_path, content):
        (tmp_path / "canary.json").write_text(content)
        with pytest.raises(EngineError, match=r"canary\.json is not a canary"):
            Canary.read(tmp_path)


def test_cut_at_the_first_of_the_stop_strings():
    assert cut_at_stop("one two three", ("three", "two", "four")) == "one "
    assert cut_at_stop("one", ()) == "one"


def test_without_vllm_the_message_says_what_to_do():
    code = "import sys; sys.modules['vllm'] = None; from star_loop.generators.vllm import Vllm; Vllm().check()"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode and 'pip install "star_loop[vllm]"' in told.stderr
    assert "generator=transformers" in told.stderr


def test_importing_the_engines_loads_neither_torch_nor_vllm():
    code = (
        "import sys, star_loop.generators.vllm, star_loop.generators.transformers, star_loop.generators.vllm_worker;"
        "print({'torch', 'vllm', 'transformers', 'peft'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


@pytest.mark.parametrize(
    ("error", "lacking"),
    [
        (MemoryError("std::bad_alloc"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 102656 bytes"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("could not create a primitive"), True),
        (ValueError("no operation 'x'"), False),
    ],
)
def test_what_to_do_where_memory_runs_out_is_said(error: Exception, lacking: bool) -> None:
    assert ("generator.max_num_seqs" in advice(error)) == lacking

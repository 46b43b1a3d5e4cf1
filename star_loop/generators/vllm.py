"""Rationales from vLLM: an offline engine in a child process that stays alive from iteration to iteration."""

import importlib.util
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field

from star_loop.generators.devices import fewest, places, stated
from star_loop.generators.engines import several
from star_loop.generators.likelihood import Means
from star_loop.generators.process import WorkerError, WorkerProcess
from star_loop.generators.serving import Sequences, Serving, payload, warn_too_long
from star_loop.generators.vllm_internals import ENVIRONMENT
from star_loop.models import Model, Pretrained
from star_loop.protocols import Arrived, Engine, Generator, Progress
from star_loop.records import Completion, Request

logger = logging.getLogger(__name__)

R = TypeVar("R")
SHARE = 64
"""Requests of a share where it need not be said."""


class Vllm(Generator):
    """vLLM's offline engine, in process in a worker (in half the start-up time of its own multi-process engine).

    The worker starts in the background; the first `serve` or `generate` waits for it. Its log is `worker.log` in the
    workspace.
    """

    scores: ClassVar[bool] = True

    adapter: Literal["merge", "lora"] = "merge"
    """`merge`: merged weights are loaded into the live engine: full speed, any PEFT adapter, the update rounded to
    `dtype`. `lora`: the adapter is applied as it is (LoRARequest): exact, slower per token, plain LoRA only."""
    max_lora_rank: int = Field(64, ge=1)
    """With `adapter: lora`: the highest rank that will come; rounded up to one that vLLM has."""
    seeding: Literal["wave", "request"] = "wave"
    """`wave`: the engine is seeded once for each `generate`, with a cold prefix cache; a wave that is interrupted
    begins again. `request`: each request by its own seed, so that its text hardly depends on its neighbours, and what
    is finished is kept, whatever happens to the rest. No slower on a CPU; on a GPU vLLM draws for each by itself."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the weights that generate; `auto`: that of the base model."""
    max_model_len: int | None = Field(None, ge=2)
    """Tokens of prompt and completion together; None: what the model allows."""
    max_num_seqs: int = Field(256, ge=1)
    """Completions in flight at once."""
    max_num_batched_tokens: int | None = Field(None, ge=1)
    """Tokens of one engine step; None: vLLM's default."""
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    """Share of a GPU's memory that the engine takes."""
    cpu_kvcache_space: float = Field(1.0, gt=0)
    """On a CPU: GiB of key-value cache. Fixed, not a share of what is free, so that scheduling is reproducible."""
    threads: int | None = Field(None, ge=1)
    """On a CPU: OpenMP threads; None: one for each core."""
    tensor_parallel_size: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """GPUs that share one copy of the model; `auto`: the fewest that hold it."""
    engines: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    """How many work at once, each in a process of its own and with GPUs of its own; `auto`: as many as there are GPUs
    for; one without a GPU."""
    share: int | None = Field(None, ge=1)
    """Requests that are seeded and generated together, by one engine: what comes depends on this, not on `engines`.
    None: all of a call, so several engines need it (but not under `seeding: request`)."""
    enforce_eager: bool | None = None
    """No compilation, no CUDA graphs; None: so on a CPU (it starts sooner), not on a GPU."""
    sleep: bool = True
    """On a GPU, `release` puts the engine to sleep (weights move to host memory); false: the process ends and the next
    `serve` starts another, which always gives all the memory back."""
    timeout: float = Field(600.0, gt=0)
    """Seconds without any sign of life after which the engine counts as dead."""
    restarts: int = Field(1, ge=0)
    """How often a worker that died, fell silent or failed is replaced within one call, which then begins again (with
    `seeding: request`: goes on with what is left): its seeds make what comes the same. A worker that cannot start is
    not replaced."""
    engine_kwargs: Mapping[str, Any] = {}
    """Anything else that `vllm.LLM` takes, as JSON values."""

    def check(self) -> None:
        """Check that vLLM is installed.

        Raises:
            ValueError: it is not.
        """
        if importlib.util.find_spec("vllm") is None:
            raise ValueError(
                'generator=vllm, but vLLM is not installed. Install it with: pip install "star_loop[vllm]", '
                "or take the slower generator=transformers."
            )
        self._check_engines()

    @contextmanager
    def engine(self, base: Pretrained, *, workspace: Path, seed: int) -> Iterator[Engine]:
        """Start a worker, or several; they are gone, with all that they started, when the context is left."""
        if self.share_size is None:
            with _started(self, base, workspace, seed, {}) as one:
                yield one
            return
        each = self.gpus_each(base)
        alone = self.model_copy(update={"restarts": 0, "tensor_parallel_size": each})
        starts = [
            partial(_started, alone, base, workspace / f"engine-{number}", seed, environment)
            for number, environment in enumerate(places(self.engines, each))
        ]
        with several(starts, share=self.share_size, restarts=self.restarts) as engines:
            yield engines

    @property
    def rank_beside(self) -> int | None:
        """Return `max_lora_rank` with `adapter: lora`."""
        return self.max_lora_rank if self.adapter == "lora" else None

    @property
    def share_size(self) -> int | None:
        """Return how many requests a share has; None: there is one engine, and a call is not cut."""
        return self.share or (None if self.engines == 1 else SHARE)

    def gpus_each(self, base: Pretrained) -> int:
        """Count the GPUs that share one copy of this model."""
        size = self.tensor_parallel_size
        return fewest(base, self.dtype, self.gpu_memory_utilization) if size == "auto" else size

    def _check_engines(self) -> None:
        if self.engines == 1:
            return
        if self.share is None and self.seeding == "wave":
            raise ValueError(
                f"generator.engines={self.engines} share the requests of a call, and what is generated depends on how "
                "they are cut: add generator.share=64 (or more on GPUs), or generator.seeding=request"
            )
        places(self.engines, stated(self.tensor_parallel_size))


def _started(
    settings: Vllm, base: Pretrained, workspace: Path, seed: int, environment: Mapping[str, str]
) -> closing["VllmEngine"]:
    return closing(VllmEngine(settings, base, workspace=workspace, seed=seed, environment=environment))


class VllmEngine(Serving):
    """A live vLLM. See `protocols.Engine`."""

    def __init__(
        self, settings: Vllm, base: Pretrained, *, workspace: Path, seed: int, environment: Mapping[str, str]
    ) -> None:
        super().__init__(base)
        self._environment, self._aborted = environment, False
        self.settings, self.workspace, self.seed = settings, workspace, seed
        self._worker: WorkerProcess | None = None
        self._facts: dict[str, Any] | None = None
        self._starting = self._start()

    def serve(self, model: Model) -> None:
        """Wake up, and swap to `model` if it is another."""
        self._surviving(lambda: self._serve(model))

    def _serve(self, model: Model) -> None:
        if self._worker is None:
            self._starting = self._start()
        if self.facts["asleep"]:
            self._call("wake_up")
            self.facts["asleep"] = False
            self.prove_awake()
        super().serve(model)

    def generate(
        self, requests: Sequence[Request], *, seed: int,
        progress: Progress | None = None, arrived: Arrived | None = None,
    ) -> list[list[Completion]]:  # fmt: skip
        """Completions in request order; `progress` counts finished requests.

        A prompt that fills the context gives empty completions that were cut off.
        """
        alone = self.settings.seeding == "request"
        done: dict[int, list[Completion]] = {}

        def finished(index: int, drawn: list[Completion]) -> None:
            new = index not in done
            done[index] = drawn
            if new and alone and arrived:
                arrived(index, drawn)
            if new and progress:
                progress(1)

        def rest() -> None:
            left = [index for index in range(len(requests)) if not alone or index not in done]
            self._generate([requests[index] for index in left], seed, lambda place, drawn: finished(left[place], drawn))

        self._surviving(rest)
        completions = [done[index] for index in range(len(requests))]
        self._warn_too_long(requests, completions)
        return completions

    def _generate(self, requests: Sequence[Request], seed: int, finished: Arrived) -> None:
        def collect(item: Mapping[str, Any] | None) -> None:
            if item is not None:
                finished(item["index"], [Completion(**fields) for fields in item["completions"]])

        if requests:
            self._call("generate", collect, requests=[payload(request) for request in requests], seed=seed)

    def _warn_too_long(self, requests: Sequence[Request], completions: Sequence[Sequence[Completion]]) -> None:
        if requests:
            context = self.facts["context"]
            long = [(r.observation.id, c[0].prompt_tokens) for r, c in zip(requests, completions, strict=True) if c]
            warn_too_long([(name, tokens) for name, tokens in long if tokens >= context], context)

    def _surviving(self, act: Callable[[], R]) -> R:
        """Return what `act` returns, in a fresh worker with the same model where the old one did not survive."""
        left = self.settings.restarts
        while True:
            served = self.served
            try:
                return act()
            except WorkerError as error:
                # If it never was ready, nothing speaks for another one.
                if self._facts is None or not left or self._aborted:
                    raise
                logger.warning("the engine is started again (%d more times at most): %s", left, error)
                left -= 1
                self.close()
                self._serve(served)

    def score(self, sequences: Sequence[tuple[Sequence[int], int]], top: int) -> list[Means | None]:
        """Score (token ids, index of the first that counts): see `likelihood.means`; None: it fills the context."""
        asked = [[list(ids), first] for ids, first in sequences]
        found = self._surviving(lambda: self._call("score", sequences=asked, top=top))
        return [means and (means[0], means[1], means[2]) for means in found]

    def release(self) -> None:
        """Give the GPU's memory back until the next `serve`; on a CPU nothing is gained by it, so nothing happens."""
        if self._worker is None or self.facts["device"] == "cpu":
            return
        if self.settings.sleep:
            self._call("sleep")
            self.facts["asleep"] = True
        else:
            self.close()

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.close()
        self._worker, self._facts, self.served = None, None, Model(base=self.base)

    def abort(self) -> None:
        """Let a call that is under way fail at once; called from another thread."""
        self._aborted = True
        if self._worker is not None:
            self._worker.kill()

    @property
    def pid(self) -> int | None:
        """Return the process id of the worker, while there is one."""
        return self._worker.pid if self._worker else None

    @property
    def facts(self) -> dict[str, Any]:
        """Return what the worker said of itself when it was ready: `device`, `dtype`, `context`; and `asleep`."""
        if self._worker is None:
            raise RuntimeError("the engine was released or closed: serve a model first")
        if self._facts is None:
            self._facts = {**self._worker.result(self._starting), "asleep": False}
            logger.info("vLLM %(version)s on %(device)s in %(dtype)s, context %(context)d tokens", self._facts)
            logger.info("adapters are served with generator.adapter=%s", self.settings.adapter)
        return self._facts

    def load(self, model: Model) -> None:
        """Swap in the worker."""
        self._call("load", adapter=str(model.adapter.resolve()) if model.adapter else None)

    def logprobs(self, sequences: Sequences) -> list[float]:
        """Return prompt log-probabilities, summed."""
        sums: list[float] = self._call("logprobs", sequences=[list(ids) for ids in sequences])
        return sums

    def dtype(self) -> str:
        """Name the dtype of the worker's weights."""
        return str(self.facts["dtype"])

    def _start(self) -> int:
        environment = {
            **ENVIRONMENT,
            # Threads that spin while they wait make a CPU engine 20 times slower beside any other busy process.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
            **self._environment,
        }
        if self.settings.threads is not None:
            environment["OMP_NUM_THREADS"] = str(self.settings.threads)
        self._worker = WorkerProcess(
            "star_loop.generators.vllm_worker",
            workspace=self.workspace, environment=environment, timeout=self.settings.timeout,
        )  # fmt: skip
        settings = self.settings.model_dump(mode="json")
        settings["tensor_parallel_size"] = self.settings.gpus_each(self.base)
        return self._worker.submit("start", base=self.base.model_dump(), settings=settings, seed=self.seed)

    def _call(self, operation: str, item: Any = None, **arguments: Any) -> Any:
        assert self.facts  # the worker is ready
        assert self._worker is not None
        return self._worker.call(operation, item, **arguments)

"""A live vLLM in a worker process: `vllm_worker.py` is its other end."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from star_loop.generators.likelihood import Means
from star_loop.generators.process import WorkerError, WorkerProcess
from star_loop.generators.serving import Sequences, Serving, payload
from star_loop.generators.stream import Arriving, Hand, More
from star_loop.generators.vllm_internals import ENVIRONMENT
from star_loop.generators.vllm_settings import VllmSettings
from star_loop.models import Model, Pretrained
from star_loop.protocols import Arrived, Progress
from star_loop.records import Completion, Request

logger = logging.getLogger(__name__)

R = TypeVar("R")


class VllmEngine(Serving):
    """A live vLLM. See `protocols.Engine`."""

    def __init__(
        self, settings: VllmSettings, base: Pretrained, *, workspace: Path, seed: int, environment: Mapping[str, str]
    ) -> None:
        super().__init__(base)
        self._environment, self._aborted = environment, False
        self._hollow = False
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
            if self._hollow and model == self.served:
                self.load(model)
            if not self._hollow:
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
        return [done[index] for index in range(len(requests))]

    def stream(self, more: More) -> Arriving:
        """See `generators.stream.Streaming`. A worker that replaces another goes on with what that one had in hand."""
        hand, served = Hand(more), self.served
        while True:
            try:
                yield from self._fed(hand)
                return
            except WorkerError as error:
                hand.survive(error, self.settings.restarts)
                self._replace(error, served)

    def _fed(self, hand: Hand) -> Arriving:
        assert self.slots and self._worker is not None
        worker, stream = self._worker, self._worker.submit("stream")
        worker.submit("add", requests={number: payload(request) for number, request in hand.open.items()})
        while True:
            if new := hand.fill(self.slots):
                worker.submit("add", requests={number: payload(request) for number, request in new.items()})
            if not hand.open:
                worker.call("stop")
                return
            found = {
                item["index"]: [Completion(**c) for c in item["completions"]] for item in worker.items(stream) if item
            }
            try:
                yield hand.answered(found)
            except GeneratorExit:
                worker.call("stop")
                raise

    def _generate(self, requests: Sequence[Request], seed: int, finished: Arrived) -> None:
        def collect(item: Mapping[str, Any] | None) -> None:
            if item is not None:
                finished(item["index"], [Completion(**fields) for fields in item["completions"]])

        if requests:
            self._call("generate", collect, requests=[payload(request) for request in requests], seed=seed)

    def _surviving(self, act: Callable[[], R]) -> R:
        """Return what `act` returns, in a fresh worker with the same model where the old one did not survive."""
        left, served = self.settings.restarts, self.served
        while True:
            try:
                return act()
            except WorkerError as error:
                if not left:
                    raise
                left -= 1
                self._replace(error, served)

    def _replace(self, error: WorkerError, served: Model) -> None:
        """Start another worker with the same model; one that never was ready speaks for no other."""
        if self._facts is None or self._aborted:
            raise error
        logger.warning("the engine is started again: %s", error)
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
            # A merged model is loaded anew in any case; the base's own figures are still to be taken (`_home`).
            self._hollow = self.settings.adapter == "merge" and self.served.adapter is not None
            self._call("sleep", level=2 if self._hollow else 1)
            self.facts["asleep"] = True
        else:
            self.close()

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.close()
        self._worker, self._facts, self.served = None, None, Model(base=self.base)
        self._hollow = False

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
    def slots(self) -> int:
        """Return how many completions it should have in hand: a few wait, so that none of its places stays free."""
        return int(self.facts["slots"]) * 5 // 4 + 1

    @property
    def facts(self) -> dict[str, Any]:
        """Return what the worker said when it was ready: `device`, `dtype`, `context`, `slots`; and `asleep`."""
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
        self._hollow = False

    @property
    def loaded(self) -> bool:
        """Tell whether there are weights: in sleep those that are merged are dropped."""
        return not self._hollow

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

"""Rationales from vLLM on the nodes of a Ray cluster, one actor for each engine.

Actors, not Ray Data's vLLM processor: that one builds its engines anew for each data set, which would load the model
for every wave, and neither swaps weights in a live engine nor seeds a share; an actor is the same engine elsewhere.
"""

import hashlib
import importlib.util
import logging
import math
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from star_loop.generators.devices import stated
from star_loop.generators.likelihood import Means
from star_loop.generators.process import WorkerError
from star_loop.generators.ray_host import Host
from star_loop.generators.stream import Arriving, Hand, More
from star_loop.generators.vllm import Vllm
from star_loop.models import Model, Pretrained
from star_loop.protocols import Arrived, Engine, EngineError, Progress
from star_loop.records import Completion, Request

logger = logging.getLogger(__name__)

CLOSING = 15.0
"""Seconds that an actor gets to end its engine."""


class Ray(Vllm):
    """vLLM in Ray actors, on as many nodes as there are: the same tokens as `generator=vllm`.

    Every node needs this package and the base model (a Hub id, or the same path); adapters are sent. An actor that dies
    with its node is replaced where there is room. Where there is none, Ray's autoscaler is asked, for `wait` seconds.
    What is sent is serialised by Ray: whoever can join its cluster can run code there.
    """

    engines: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Actors, each with an engine; `auto`: as many as the cluster has GPUs for, or one on each of its nodes."""
    share: int | None = Field(64, ge=1)
    """With `seeding: wave`: requests that are seeded and generated together, by one engine; what comes depends on this,
    not on `engines`. None: all of a call, so only one engine works at a time."""
    address: str | None = None
    """The cluster: `auto` (which this machine belongs to), or its `host:port`; None: one of this launch's own, here."""
    num_cpus: float = Field(1.0, ge=0)
    """CPUs of each engine, for Ray to count."""
    num_gpus: float | None = Field(None, ge=0)
    """GPUs of each engine; None: `tensor_parallel_size` (`auto`: 1) in a cluster with GPUs. Say it where the first is
    yet to come, or where `auto` may need more."""
    wait: float = Field(600.0, gt=0)
    """Seconds that an engine waits for a node with room; afterwards it is left out, if others have come."""

    def check(self) -> None:
        """Check that Ray and vLLM are installed.

        Raises:
            ValueError: one of them is not.
        """
        if importlib.util.find_spec("ray") is None:
            raise ValueError('generator=ray, but Ray is not installed. Install it with: pip install "star_loop[ray]"')
        super().check()

    @contextmanager
    def engine(self, base: Pretrained, *, workspace: Path, seed: int) -> Iterator[Engine]:
        """Join the cluster, or start one, and ask it for actors; they are gone when the context is left."""
        with ExitStack() as stack:
            stack.enter_context(_cluster(self.address, workspace))
            resources = self._resources()
            count = self._count(resources)
            logger.info("%d engines on Ray, each with %s", count, _named(resources))
            start = partial(_actor, self, base, seed, resources, Adapters())
            yield stack.enter_context(self._several([start] * count))

    def _check_engines(self) -> None:
        """Ray finds a place for each, or none."""

    def _resources(self) -> dict[str, float]:
        gpus = self.num_gpus
        if gpus is None:
            gpus = stated(self.tensor_parallel_size) if _ray().cluster_resources().get("GPU") else 0
        return {"CPU": self.num_cpus, "GPU": gpus}

    def _count(self, resources: Mapping[str, float]) -> int:
        if self.engines != "auto":
            return self.engines or 1
        nodes: list[dict[str, float]] = [node["Resources"] for node in _ray().nodes() if node["Alive"]]
        if not resources["GPU"]:
            return len(nodes)
        return max(1, sum(math.floor(node.get("GPU", 0) / resources["GPU"]) for node in nodes))


@contextmanager
def _cluster(address: str | None, workspace: Path) -> Iterator[None]:
    """Yield a connection to Ray; Ray itself ends with it where it began with it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    terminated = signal.getsignal(signal.SIGTERM)  # Ray puts a handler of its own there
    ray, quiet = _ray(), {"log_to_driver": False, "configure_logging": False}
    # Paths of sockets must be short, so this is not in the workspace, whose lock makes the name ours alone.
    name = hashlib.sha256(str(workspace.resolve()).encode()).hexdigest()[:10]
    directory = Path(tempfile.gettempdir()) / f"star_loop-ray-{name}"
    try:
        if address is None:
            shutil.rmtree(directory, ignore_errors=True)  # of a launch that was killed
            ray.init(address="local", include_dashboard=False, _temp_dir=str(directory), **quiet)
        else:
            _reach(address)
            ray.init(address=address, **quiet)
    except OSError as error:
        raise EngineError(f"generator.address={address}: no Ray cluster answers there ({error})") from error
    except (RuntimeError, ray.exceptions.RayError) as error:
        raise EngineError(
            f"generator.address={address}: Ray does not let this launch in ({_reason(error)[:400]}). Where the cluster "
            "wants a token, export RAY_AUTH_MODE=token, with the head's ~/.ray/auth_token on every node"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    finally:
        ray.shutdown()
        if address is None:
            shutil.rmtree(directory, ignore_errors=True)


def _reach(address: str) -> None:
    """Raise an OSError at once where nothing listens, for which Ray would look for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _actor(
    settings: Ray, base: Pretrained, seed: int, resources: Mapping[str, float], adapters: "Adapters"
) -> closing["RayEngine"]:
    return closing(RayEngine(settings, base, seed, resources, adapters))


class Adapters:
    """Files of the adapter that is served, in Ray's object store, once for all engines."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: tuple[Path, Any] | None = None

    def __call__(self, adapter: Path) -> Any:
        """Return a reference to {name: bytes}."""
        with self._lock:
            if self._latest is None or self._latest[0] != adapter:
                files = {path.name: path.read_bytes() for path in sorted(adapter.iterdir()) if path.is_file()}
                self._latest = adapter, _ray().put(files)
            return self._latest[1]


class RayEngine:
    """The near end of an actor. See `protocols.Engine`; every failure of an actor or a node is a `WorkerError`."""

    def __init__(
        self, settings: Ray, base: Pretrained, seed: int, resources: Mapping[str, float], adapters: Adapters
    ) -> None:
        self._settings, self._resources, self._adapters = settings, resources, adapters
        self._ray = _ray()
        hosted = Vllm(
            **{name: getattr(settings, name) for name in Vllm.model_fields}
            | {"engines": 1, "share": None, "restarts": 0}
        )
        place = {"num_cpus": resources["CPU"], "num_gpus": resources["GPU"], "max_restarts": 0, "max_concurrency": 2}
        self._actor = self._ray.remote(Host).options(**place).remote(hosted, base, seed)
        self._placed = False

    def serve(self, model: Model) -> None:
        """Wait for a place, and serve there; the adapter goes along."""
        if not self._placed:
            self._await_place()
        self._call("serve", self._adapters(model.adapter) if model.adapter else None)

    def generate(
        self,
        requests: Sequence[Request],
        *,
        seed: int,
        progress: Progress | None = None,
        arrived: Arrived | None = None,
    ) -> list[list[Completion]]:
        """Completions in request order, told of when all are done; under `seeding: request` they come by `stream`."""
        done: list[list[Completion]] = self._call("generate", list(requests), seed)
        if progress:
            progress(len(done))
        return done

    def stream(self, more: More) -> Arriving:
        """See `generators.stream.Streaming`."""
        hand, slots = Hand(more), self._call("slots")
        while True:
            new = hand.fill(slots)
            if not hand.open:
                break
            try:
                yield hand.answered(self._call("exchange", dict(new)))
            except GeneratorExit:
                self._call("halt")
                raise
        self._call("halt")

    def score(self, sequences: Sequence[tuple[Sequence[int], int]], top: int) -> list[Means | None]:
        """See `VllmEngine.score`."""
        found: list[Means | None] = self._call("score", list(sequences), top)
        return found

    def release(self) -> None:
        """Release the memory as `VllmEngine` does, on its node."""
        self._call("release")

    def abort(self) -> None:
        """End what the actor is doing at once, so that it can be closed; end the actor itself if it does not answer."""
        try:
            self._ray.get(self._actor.abort.remote(), timeout=CLOSING if self._placed else 0)
        except self._ray.exceptions.RayError:
            self._ray.kill(self._actor)

    def close(self) -> None:
        """Let the actor end its engine, if it lives, and end it."""
        try:
            if self._placed:
                self._ray.get(self._actor.do.remote("close"), timeout=CLOSING)
        except self._ray.exceptions.RayError as error:
            logger.info("an actor did not end by itself: %s", _reason(error))
        self._ray.kill(self._actor)

    def _await_place(self) -> None:
        try:
            self._ray.get(self._actor.__ray_ready__.remote(), timeout=self._settings.wait)
        except self._ray.exceptions.GetTimeoutError as error:
            raise WorkerError(
                f"no node had room for an engine ({_named(self._resources)}) within {self._settings.wait:g} s "
                f"(generator.wait). The cluster has {_named(self._ray.cluster_resources())}; free are "
                f"{_named(self._ray.available_resources())}. Start more nodes, or lower generator.engines, "
                "generator.num_cpus or generator.num_gpus"
            ) from error
        except self._ray.exceptions.RayError as error:
            raise WorkerError(f"an actor could not start: {_reason(error)}") from error
        self._placed = True

    def _call(self, operation: str, *arguments: Any) -> Any:
        try:
            result, said = self._ray.get(self._actor.do.remote(operation, *arguments))
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, EngineError):
                raise error.cause from None
            raise
        except self._ray.exceptions.RayError as error:
            raise WorkerError(f"an actor was lost while it was to {operation}: {_reason(error)}") from error
        for level, message in said:
            logger.log(level, "%s", message)
        return result


def _named(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{amounts.get(name, 0):g} {name}" for name in ("CPU", "GPU"))


def _reason(error: Exception) -> str:
    """Without the traceback of the node in between."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " … ".join(dict.fromkeys((lines[0], lines[-1])))


def _ray() -> Any:
    import ray

    return ray

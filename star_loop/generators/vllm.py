"""Rationales from vLLM: an offline engine in a child process that stays alive from iteration to iteration."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from star_loop.generators.devices import divide, places
from star_loop.generators.engines import Engines, several
from star_loop.generators.lanes import Start
from star_loop.generators.vllm_engine import VllmEngine as VllmEngine
from star_loop.generators.vllm_settings import VllmSettings
from star_loop.models import Pretrained
from star_loop.protocols import Engine


class Vllm(VllmSettings):
    """vLLM's offline engine, in process in a worker (in half the start-up time of its own multi-process engine).

    The worker starts in the background; the first `serve` or `generate` waits for it. Its log is `worker.log` in the
    workspace.
    """

    @contextmanager
    def engine(self, base: Pretrained, *, workspace: Path, seed: int) -> Iterator[Engine]:
        """Start a worker, or several; they are gone, with all that they started, when the context is left."""
        count = self.engines_for(base)
        if count == 1 and (self.independent or self.share is None):
            with _started(self, base, workspace, seed, {}) as one:
                yield one
            return
        each = self.gpus_each(base)
        on_cores = self.engines is None  # so nobody waits for torch, which would look for GPUs
        alone = self.model_copy(update={"restarts": 0, "tensor_parallel_size": each})
        starts = [
            partial(_started, alone, base, workspace / f"engine-{number}", seed, environment)
            for number, environment in enumerate(divide(count, 1, []) if on_cores else places(count, each))
        ]
        with self._several(starts) as engines:
            yield engines

    def _several(self, starts: Sequence[Start]) -> closing[Engines]:
        return several(starts, share=self.share, restarts=self.restarts, independent=self.independent)


def _started(
    settings: Vllm, base: Pretrained, workspace: Path, seed: int, environment: Mapping[str, str]
) -> closing["VllmEngine"]:
    return closing(VllmEngine(settings, base, workspace=workspace, seed=seed, environment=environment))

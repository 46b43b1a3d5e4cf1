"""The one module that touches vLLM, whose inside may change with every version.

`USES` lists what is touched, file by file. `vllm_window.py` looks for it in a vLLM that is installed, or in a wheel.
"""

import gc
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from star_loop.generators.devices import cores, dtype_name
from star_loop.models import Model, Pretrained

USES = {
    "__init__.py": ("LLM", "SamplingParams"),
    "config/scheduler.py": ("SchedulerConfig.max_num_seqs",),
    "config/vllm.py": ("VllmConfig.scheduler_config",),
    "config/model.py": ("ModelConfig.dtype", "ModelConfig.max_model_len", "ModelConfig.get_vocab_size"),
    "config/reasoning.py": ("ReasoningConfig.reasoning_start_str", "ReasoningConfig.reasoning_end_str"),
    "engine/arg_utils.py": ("EngineArgs.block_size",),
    "entrypoints/llm.py": (
        "LLM.collective_rpc", "LLM.reset_prefix_cache", "LLM.sleep", "LLM.wake_up", "LLM.__init__(seed)",
        "LLM.__init__(enforce_eager)", "LLM.__init__(kv_cache_memory_bytes)",
    ),
    "envs.py": (
        "VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_CPU_OMP_THREADS_BIND", "VLLM_NO_USAGE_STATS",
        "VLLM_WORKER_MULTIPROC_METHOD",
    ),
    "lora/request.py": ("LoRARequest.lora_name", "LoRARequest.lora_int_id", "LoRARequest.lora_path"),
    "model_executor/layers/vocab_parallel_embedding.py": ("ParallelLMHead",),
    "outputs.py": (
        "RequestOutput.__init__(num_cached_tokens)", "RequestOutput.__init__(prompt_logprobs)",
        "CompletionOutput.token_ids", "CompletionOutput.finish_reason", "CompletionOutput.stop_reason",
        "CompletionOutput.logprobs",
    ),
    "platforms/__init__.py": ("current_platform",),
    "platforms/interface.py": ("Platform.device_type",),
    "sampling_params.py": (
        "RequestOutputKind.FINAL_ONLY", "SamplingParams.output_kind", "SamplingParams.prompt_logprobs",
        "SamplingParams.allowed_token_ids", "SamplingParams.detokenize", "SamplingParams.seed",
        "SamplingParams.thinking_token_budget",
    ),
    "utils/torch_utils.py": ("set_random_seed",),
    "v1/engine/llm_engine.py": (
        "LLMEngine.abort_request", "LLMEngine.add_request(lora_request)", "LLMEngine.has_unfinished_requests",
        "LLMEngine.remove_lora", "LLMEngine.step", "LLMEngine.vllm_config",
    ),
    "v1/worker/gpu_model_runner.py": (
        "GPUModelRunner.get_model", "GPUModelRunner.reload_weights(weights_iterator)",
    ),
    "v1/worker/gpu_worker.py": ("Worker.reload_weights",),
    "v1/worker/worker_base.py": ("WorkerBase.model_runner",),
}  # fmt: skip
"""File in vLLM's package -> what of it is used here: a name, a class's attribute, a function's parameter."""
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Those that vLLM has kernels for."""
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # The worker asks torch for a GPU before it imports vLLM. Asked through NVML, torch does not start CUDA, which would
    # not survive the fork of vLLM's own shards; and those are spawned, as they are on a CPU.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}
"""Of the process in which vLLM runs."""
TICK = 5.0
"""Seconds between signs of life while no request finishes."""

Jobs = Sequence[tuple[int, Sequence[int], Any]]
"""(index, token ids of the prompt, `sampling`)"""
Drawn = Iterator[tuple[int, Any]]
"""(index of the job, vLLM's `RequestOutput`)"""


def load() -> None:
    """Import vLLM. Nobody looks for garbage meanwhile: there is none, and to look takes a fifth of the time.

    Nor afterwards in what was imported: vLLM itself does so once, for most of a second, when its engine has started.
    """
    gc.disable()
    try:
        from vllm import LLM as LLM
    finally:
        gc.freeze()
        gc.enable()


def start(arguments: dict[str, Any]) -> Any:
    """Start vLLM's `LLM` with a `WorkerExtension` in each of its workers.

    Args:
        arguments: what `LLM` takes.
    """
    import vllm

    llm = vllm.LLM(worker_extension_cls=f"{__name__}.{WorkerExtension.__name__}", **arguments)
    logging.getLogger("vllm.v1.core.block_pool").setLevel(logging.WARNING)  # a line for each wave otherwise
    return llm


def version() -> str:
    """Tell vLLM's version."""
    import vllm

    return str(vllm.__version__)


def device_type() -> str:
    """Tell what vLLM computes on: `cpu`, `cuda`, ….

    It imports vLLM.
    """
    from vllm.platforms import current_platform

    return str(current_platform.device_type)


def model_config(llm: Any) -> Any:
    """Return what vLLM made of the model: `dtype` (torch's), `max_model_len` (tokens), `get_vocab_size()`."""
    return llm.llm_engine.model_config


def slots(llm: Any) -> int:
    """Return how many completions it draws at once."""
    return int(llm.llm_engine.vllm_config.scheduler_config.max_num_seqs)


def sampling(**fields: Any) -> Any:
    """Return vLLM's `SamplingParams` with these fields; an output comes when it is finished, not token by token."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(output_kind=RequestOutputKind.FINAL_ONLY, **fields)


def reasoning(begins: str, ends: str) -> Any:
    """Return what `LLM` takes as `reasoning_config`, so that `sampling` may have a `thinking_token_budget`."""
    from vllm.config.reasoning import ReasoningConfig

    return ReasoningConfig(reasoning_start_str=begins, reasoning_end_str=ends)


def swap_lora(llm: Any, previous: Any, adapter: Path | None) -> Any:
    """Forget the previous adapter, and name the next.

    Returns:
        What `outputs` takes as `lora`; None: the base.
    """
    from vllm.lora.request import LoRARequest

    number = 1
    if previous is not None:
        llm.llm_engine.remove_lora(previous.lora_int_id)
        number = previous.lora_int_id + 1  # a number that comes twice may meet the old adapter's cache
    return LoRARequest(f"adapter-{number}", number, str(adapter)) if adapter else None


def outputs(llm: Any, jobs: Iterator[Jobs | None], lora: Any, alive: Callable[[], None], tick: float = TICK) -> Drawn:
    """Draw for jobs that may come while others are drawn.

    Args:
        llm: vLLM's `LLM`.
        jobs: asked between two steps for more jobs; None ends everything at once.
        lora: an adapter, from `swap_lora`.
        alive: called about every `tick` seconds.

    Yields:
        (index of the job, vLLM's `RequestOutput`), as they finish.
    """
    engine = llm.llm_engine
    under_way: set[str] = set()
    sign_of_life = time.monotonic()
    try:
        while (new := next(jobs, ())) is not None:
            for index, ids, parameters in new:
                engine.add_request(str(index), {"prompt_token_ids": list(ids)}, parameters, lora_request=lora)
                under_way.add(str(index))
            if not under_way:
                return
            finished = [output for output in engine.step() if output.finished]
            under_way.difference_update(output.request_id for output in finished)
            yield from ((int(output.request_id), output) for output in finished)
            if time.monotonic() - sign_of_life > tick:
                sign_of_life = time.monotonic()
                alive()
    finally:
        engine.abort_request(list(under_way))  # nothing is left of a failed call


def forget_prefixes(llm: Any) -> None:
    """Drop cached keys and values: they are of other weights, or would make one wave depend on another.

    Raises:
        RuntimeError: vLLM kept them, as it does while a request is in flight.
    """
    if not llm.reset_prefix_cache():
        raise RuntimeError("vLLM kept its prefix cache, which holds keys and values of other weights")


def seed_everything(llm: Any, seed: int) -> None:
    """Seed every generator that sampling draws from, in all workers, and forget cached prefixes."""
    forget_prefixes(llm)
    llm.collective_rpc("seed_everything", args=(seed % 2**32,))


def reload_merged(llm: Any, model: Model, dtype: Any) -> None:
    """Go on with the base and the adapter merged, as if the engine had been started with them.

    Args:
        llm: vLLM's `LLM`, as `start` returns it.
        model: the base and its adapter.
        dtype: torch's, of the engine's weights.
    """
    fields = {"base": model.base.model_dump(), "adapter": str(model.adapter) if model.adapter else None}
    llm.collective_rpc("stream_merged", kwargs={**fields, "dtype": dtype_name(dtype)})


class WorkerExtension:
    """Methods added to vLLM's own workers, one of which holds each shard of the model."""

    model_runner: Any

    def seed_everything(self, seed: int) -> None:
        """Seed every generator that sampling draws from."""
        from vllm.utils.torch_utils import set_random_seed

        set_random_seed(seed)

    def stream_merged(self, base: dict[str, Any], adapter: str | None, dtype: str) -> None:
        """Load the merged model tensor by tensor; each shard reads it by itself and keeps its part."""
        import torch

        from star_loop.models.merging import merged_weights

        model = Model(base=Pretrained(**base), adapter=Path(adapter) if adapter else None)
        on_cpu = device_type() == "cpu"
        with _all_cores(on_cpu):
            stream = merged_weights(model, getattr(torch, dtype), "cpu" if on_cpu else "cuda")
            self.reload_weights(weights_iterator=_with_signs_of_life(stream))  # type: ignore[attr-defined]
        if on_cpu:
            self._refresh_lm_head()

    def _refresh_lm_head(self) -> None:
        """Pack a CPU's output layer again.

        `reload_weights` packs every linear layer except an output layer that is tied to the embedding, which would go
        on multiplying with the old weights.
        """
        from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

        for module in self.model_runner.get_model().modules():
            if isinstance(module, ParallelLMHead):
                module.quant_method.process_weights_after_loading(module)


@contextmanager
def _all_cores(on_cpu: bool) -> Iterator[None]:
    """Let torch use every core for a while: on a GPU vLLM leaves it one thread, and on a CPU the engine's own."""
    import torch

    usual = torch.get_num_threads()
    if not on_cpu:
        torch.set_num_threads(cores())
    try:
        yield
    finally:
        if not on_cpu:
            torch.set_num_threads(usual)


def _with_signs_of_life(stream: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Write a line to the log from time to time: a large model takes longer than `generator.timeout` allows silence."""
    last = time.monotonic()
    for name, tensor in stream:
        yield name, tensor
        if time.monotonic() - last > TICK:
            last = time.monotonic()
            sys.stderr.write(f"loading: {name}\n")

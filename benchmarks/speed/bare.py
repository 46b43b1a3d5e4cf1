"""What generation is compared with: `LLM.generate` on the same prompts, in a process of its own."""

import os
import time
from collections.abc import Sequence
from typing import Any

from star_loop.generators.process import connect_to_parent


def main() -> None:
    """Serve until the parent is gone: `start`, then any number of `generate`."""
    messages, send = connect_to_parent()
    engine: Any = None
    for message in messages:
        call, operation = message.pop("id"), message.pop("operation")
        if operation == "start":
            engine = start(**message)
            send({"id": call, "result": None})
        else:
            send({"id": call, "result": generate(engine, **message)})


def start(model: str, settings: dict[str, Any]) -> Any:
    """vLLM's offline engine with the given arguments."""
    import torch

    if not torch.accelerator.is_available():
        os.environ["TORCH_COMPILE_DISABLE"] = "1"  # as vllm_worker does on a CPU
    import vllm

    return vllm.LLM(model=model, **settings)


def generate(engine: Any, prompts: Sequence[str], max_tokens: int, seed: int) -> dict[str, float]:
    """Seconds of one call, and how many tokens came."""
    from vllm import SamplingParams

    from star_loop.generators.vllm_internals import WorkerExtension

    engine.reset_prefix_cache()
    WorkerExtension().seed_everything(seed)
    began = time.perf_counter()
    outputs = engine.generate(list(prompts), SamplingParams(temperature=1.0, max_tokens=max_tokens), use_tqdm=False)
    took = time.perf_counter() - began
    return {"seconds": took, "tokens": sum(len(drawn.token_ids) for output in outputs for drawn in output.outputs)}


if __name__ == "__main__":
    main()

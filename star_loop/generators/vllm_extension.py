"""What is done to a vLLM while it lives: other weights, other seeds."""

import os
import shutil
from pathlib import Path
from typing import Any

from star_loop.records import Model


def reload_merged(llm: Any, model: Model, dtype: Any) -> None:
    """Go on with the base and the adapter merged, as if the engine had been started with them.

    Args:
        llm: vLLM's `LLM`, with a `WorkerExtension`.
        model: the base and its adapter.
        dtype: torch's, of the engine's weights.
    """
    from vllm.platforms import current_platform

    from star_loop.weights import checkpoint_weights, load_merged, save_merged

    if llm.llm_engine.vllm_config.parallel_config.distributed_executor_backend == "uni":
        weights = checkpoint_weights(load_merged(model, dtype))
        llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights.items())})
    else:  # each shard has a process of its own, and reads its part from a file
        merged = Path(os.environ["TMPDIR"]) / "merged"
        save_merged(model, merged, dtype)
        llm.collective_rpc("reload_weights", kwargs={"weights_path": str(merged)})
        shutil.rmtree(merged)
    if current_platform.is_cpu():
        llm.collective_rpc("refresh_lm_head")


class WorkerExtension:
    """Methods added to vLLM's own workers, one of which holds each shard of the model."""

    model_runner: Any

    def seed_everything(self, seed: int) -> None:
        """Every generator that sampling draws from."""
        from vllm.utils.torch_utils import set_random_seed

        set_random_seed(seed)

    def refresh_lm_head(self) -> None:
        """Pack a CPU's output layer again.

        `reload_weights` packs every linear layer except an output layer that is tied to the embedding, which would go
        on multiplying with the old weights.
        """
        from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

        for module in self.model_runner.get_model().modules():
            if isinstance(module, ParallelLMHead):
                module.quant_method.process_weights_after_loading(module)

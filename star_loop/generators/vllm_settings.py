"""The keys of `generator=vllm`, and what they come to on this machine."""

import importlib.util
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from star_loop.generators.devices import engines_on_cores, fewest, places, stated
from star_loop.models import Pretrained
from star_loop.protocols import Generator


class VllmSettings(Generator):
    """How vLLM is started and asked."""

    loads_base: ClassVar[bool] = True
    scores: ClassVar[bool] = True

    adapter: Literal["merge", "lora"] = "merge"
    """`merge`: merged weights are loaded into the live engine: full speed, any PEFT adapter, the update rounded to
    `dtype`. `lora`: the adapter is applied as it is (LoRARequest): exact, slower per token, plain LoRA only."""
    max_lora_rank: int = Field(64, ge=1)
    """With `adapter: lora`: the highest rank that will come; rounded up to one that vLLM has."""
    seeding: Literal["wave", "request"] = "request"
    """`request`: each request by its own seed, so that its text does not depend on its neighbours (on a GPU: hardly);
    collecting is a stream, and what is finished is kept, whatever happens to the rest. `wave`: the engine is seeded
    once for each `generate`, with a cold prefix cache; a wave that is interrupted begins again."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the weights that generate; `auto`: that of the base model, or float32 where a CPU is slow in bfloat16."""
    max_model_len: int | None = Field(None, ge=2)
    """Tokens of prompt and completion together; None: what the model allows, and on a CPU the key-value cache holds."""
    max_num_seqs: int | None = Field(None, ge=1)
    """Completions in flight at once; None: 256 on a CPU, on a GPU what vLLM takes for it (1,024 on an H100)."""
    max_num_batched_tokens: int | None = Field(None, ge=1)
    """Tokens of one engine step; None: vLLM's default."""
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    """Share of a GPU's memory that the engine takes."""
    cpu_kvcache_space: float | None = Field(None, gt=0)
    """On a CPU: GiB of key-value cache; None: 1, or 0.25 with a small model (filling it takes a third of a start). Not
    a share of what is free, so that scheduling is reproducible."""
    threads: int | None = Field(None, ge=1)
    """On a CPU: OpenMP threads; None: one for each core."""
    tensor_parallel_size: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """GPUs that share one copy of the model; `auto`: the fewest that hold it."""
    engines: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None
    """How many work at once, each in a process of its own and with GPUs of its own; `auto`: as many as there are GPUs
    for; one without a GPU. None: one; two without a GPU where the model is so small that vLLM's Python takes longer
    than its products, and neither `threads` nor `seeding: wave` is said."""
    share: int | None = Field(None, ge=1)
    """With `seeding: wave`: requests that are seeded and generated together, by one engine; what comes depends on this,
    not on `engines`. None: all of a call, so several engines need it."""
    enforce_eager: bool | None = None
    """No compilation, no CUDA graphs; None: so on a CPU (it starts sooner), not on a GPU."""
    sleep: bool = True
    """On a GPU, `release` puts the engine to sleep: merged weights are dropped, as they are loaded anew; those of
    the base move to host memory. false: the process ends and the next `serve` starts another, which always gives all
    the memory back."""
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

    @property
    def independent(self) -> bool:
        """With `seeding: request`."""
        return self.seeding == "request"

    @property
    def rank_beside(self) -> int | None:
        """Return `max_lora_rank` with `adapter: lora`."""
        return self.max_lora_rank if self.adapter == "lora" else None

    def gpus_each(self, base: Pretrained) -> int:
        """Count the GPUs that share one copy of this model."""
        size = self.tensor_parallel_size
        return fewest(base, self.dtype, self.gpu_memory_utilization) if size == "auto" else size

    def engines_for(self, base: Pretrained) -> int | Literal["auto"]:
        """Tell how many engines work at once on this machine where it is not said."""
        if self.engines is not None:
            return self.engines
        return engines_on_cores(base) if self.independent and self.threads is None else 1

    def _check_engines(self) -> None:
        if self.engines is None or self.engines == 1:
            return
        if self.share is None and self.seeding == "wave":
            raise ValueError(
                f"generator.engines={self.engines} share the requests of a call, and what is generated depends on how "
                "they are cut: add generator.share=64 (or more on GPUs), or generator.seeding=request"
            )
        places(self.engines, stated(self.tensor_parallel_size))

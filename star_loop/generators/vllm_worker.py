"""The process in which vLLM runs; `vllm.py` starts it and talks to it as `process.py` says."""

import logging
import os
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from star_loop.generators.likelihood import Means, means
from star_loop.generators.process import Send, connect_to_parent
from star_loop.generators.serving import advice, cut_at_stop
from star_loop.generators.vllm_extension import WorkerExtension, reload_merged
from star_loop.models import Pretrained
from star_loop.records import Model
from star_loop.seeding import seed_for

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Those that vLLM has kernels for."""
TICK = 5.0
"""Seconds between signs of life while no request finishes."""

Fields = Mapping[str, Any]
Known = Mapping[int, Any]
"""Token -> vLLM's `Logprob`, for one place: its own token and the most probable ones."""
Texts = Sequence[tuple[Sequence[int], int]]
"""(token ids, index of the first that counts)"""


class VllmWorker:
    """The operations: each public method but `run` is one, named by the message."""

    OPERATIONS = ("start", "load", "logprobs", "score", "generate", "sleep", "wake_up")

    def __init__(self, send: Send) -> None:
        self._send_anything = send
        self._call = 0
        self._lora: Any = None

    def run(self, message: dict[str, Any]) -> None:
        """Answer one message with a result or an error."""
        self._call, operation = message.pop("id"), message.pop("operation")
        try:
            if operation not in self.OPERATIONS:
                raise ValueError(f"no operation {operation!r}")
            self._send(result=getattr(self, operation)(**message))
        except Exception as error:
            traceback.print_exc()
            self._send(error=f"{operation}: {type(error).__name__}: {error}{advice(error)}")
            if operation == "start":
                raise SystemExit(1) from error  # there is nothing to go on with

    def start(self, base: Fields, settings: Fields, seed: int) -> Fields:
        """Load vLLM and the base model."""
        self.eager = _be_eager(settings["enforce_eager"])
        import vllm
        from vllm.platforms import current_platform

        from star_loop.weights import load_tokenizer

        self.base, self.settings = Pretrained(**base), settings
        self.tokenizer = load_tokenizer(self.base)
        self.on_cpu = current_platform.is_cpu()
        self.llm = vllm.LLM(**self._arguments(seed))
        logging.getLogger("vllm.v1.core.block_pool").setLevel(logging.WARNING)  # a line for each wave otherwise
        config = self.llm.llm_engine.model_config
        self.dtype, self.context = config.dtype, config.max_model_len
        return {
            "version": vllm.__version__, "device": current_platform.device_type,
            "dtype": str(self.dtype).removeprefix("torch."), "context": self.context,
        }  # fmt: skip

    def load(self, adapter: str | None) -> None:
        """Generate with this adapter (None: the base) from now on."""
        model = Model(base=self.base, adapter=Path(adapter) if adapter else None)
        if self.settings["adapter"] == "lora":
            self._apply(model)
        else:
            reload_merged(self.llm, model, self.dtype)
        self.llm.reset_prefix_cache()

    def logprobs(self, sequences: Sequence[Sequence[int]]) -> list[float]:
        """Sum of log-probabilities of each sequence's tokens after the first."""
        sums = [0.0] * len(sequences)
        for index, known in self._known([(ids, 1) for ids in sequences], 0):
            sums[index] = sum(at[token].logprob for at, token in zip(known, sequences[index][1:], strict=True))
        return sums

    def score(self, sequences: Texts, top: int) -> list[Means | None]:
        """`likelihood.means` of the tokens from an index on; None where no token could follow."""
        found: list[Means | None] = [None] * len(sequences)
        places = [index for index, (ids, _) in enumerate(sequences) if len(ids) < self.context]
        vocabulary = self.llm.llm_engine.model_config.get_vocab_size()
        for number, known in self._known([sequences[index] for index in places], min(top, vocabulary)):
            ids, first = sequences[places[number]]
            found[places[number]] = means(known, ids[first:], vocabulary)
        return found

    def generate(self, requests: Sequence[Fields], seed: int) -> None:
        """Send an item for each request as it finishes."""
        if self.settings["seeding"] == "wave":
            self.llm.reset_prefix_cache()
            self.llm.collective_rpc("seed_everything", args=(seed % 2**32,))
        jobs, origins = [], []
        for index, request in enumerate(requests):
            ids = self._encode(request["prompt"])
            if len(ids) >= self.context:
                cut = _completion("", 0, len(ids), "length")
                self._send(item={"index": index, "completions": [cut] * request["n"]})
            else:
                jobs.append((ids, self._parameters(request)))
                origins.append(index)
        for job, output in self._outputs(jobs):
            request = requests[origins[job]]
            drawn = self._completions(output, request["stop"])
            copies = request["n"] // len(drawn)  # greedy samples are drawn once
            self._send(item={"index": origins[job], "completions": drawn * copies})

    def sleep(self) -> None:
        """Weights to host memory, key-value cache dropped."""
        self.llm.sleep(level=1)

    def wake_up(self) -> None:
        """Undo `sleep`."""
        self.llm.wake_up()
        self.llm.reset_prefix_cache()

    def _arguments(self, seed: int) -> dict[str, Any]:
        wanted = self.settings
        arguments: dict[str, Any] = {
            "model": self.base.location, "revision": self.base.revision, "dtype": self._dtype(),
            "trust_remote_code": self.base.trust_remote_code, "seed": seed % 2**32,
            "max_model_len": wanted["max_model_len"], "max_num_seqs": wanted["max_num_seqs"],
            "gpu_memory_utilization": wanted["gpu_memory_utilization"], "enable_prefix_caching": True,
            "max_logprobs": -1,
            "tensor_parallel_size": wanted["tensor_parallel_size"], "enforce_eager": self.eager,
            "worker_extension_cls": f"{WorkerExtension.__module__}.{WorkerExtension.__name__}",
        }  # fmt: skip
        if wanted["max_num_batched_tokens"] is not None:
            arguments["max_num_batched_tokens"] = wanted["max_num_batched_tokens"]
        if wanted["adapter"] == "lora":
            rank = next((r for r in LORA_RANKS if r >= wanted["max_lora_rank"]), LORA_RANKS[-1])
            arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": rank}
        if self.on_cpu:
            arguments["kv_cache_memory_bytes"] = int(wanted["cpu_kvcache_space"] * 2**30)
            if wanted["seeding"] == "request":
                # A CPU generator cannot be rewound, which vLLM does when a seeded request's prefill is chunked.
                arguments["enable_chunked_prefill"] = False
        elif wanted["sleep"]:
            arguments["enable_sleep_mode"] = True
        return arguments | dict(wanted["engine_kwargs"])

    def _dtype(self) -> str:
        from star_loop.weights import weight_dtype

        # vLLM's own `auto` rounds float32 weights to bfloat16.
        dtype = self.settings["dtype"] if self.settings["dtype"] != "auto" else weight_dtype(self.base)
        return str(dtype).removeprefix("torch.")

    def _apply(self, model: Model) -> None:
        from vllm.lora.request import LoRARequest

        number = 1
        if self._lora is not None:
            self.llm.llm_engine.remove_lora(self._lora.lora_int_id)
            number = self._lora.lora_int_id + 1  # a number that comes twice may meet the old adapter's cache
        self._lora = LoRARequest(f"adapter-{number}", number, str(model.adapter)) if model.adapter else None

    def _known(self, sequences: Texts, top: int) -> Iterator[tuple[int, Sequence[Known]]]:
        """(index of the sequence, what is known of each token from `first` on), as they finish."""
        forced = self.settings["adapter"] == "lora"
        return self._forced(sequences, top) if forced else self._prompted(sequences, top)

    def _prompted(self, sequences: Texts, top: int) -> Iterator[tuple[int, Sequence[Known]]]:
        from vllm import SamplingParams

        parameters = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=top, detokenize=False)
        for index, output in self._outputs([(ids, parameters) for ids, _ in sequences]):
            yield index, output.prompt_logprobs[sequences[index][1] :]

    def _forced(self, sequences: Texts, top: int) -> Iterator[tuple[int, Sequence[Known]]]:
        """One request for each token, which is the only one allowed: vLLM has no prompt log-probabilities with LoRA."""
        from vllm import SamplingParams

        places = [(index, at) for index, (ids, first) in enumerate(sequences) for at in range(first, len(ids))]
        jobs = [
            (sequences[index][0][:at], SamplingParams(
                max_tokens=1, temperature=0.0, logprobs=top, allowed_token_ids=[sequences[index][0][at]],
                detokenize=False,
            ))
            for index, at in places
        ]  # fmt: skip
        known: list[list[Known]] = [[] for _ in sequences]
        for job, output in sorted(self._outputs(jobs), key=lambda done: done[0]):
            known[places[job][0]].append(output.outputs[0].logprobs[0])
        yield from enumerate(known)

    def _encode(self, prompt: str) -> list[int]:
        from star_loop.weights import encode_prompt

        return encode_prompt(self.tokenizer, prompt, self.base.chat_template)

    def _parameters(self, request: Fields) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        greedy = request["temperature"] == 0
        # vLLM seeds sample k with seed + k: spread the requests, or neighbours would share samples.
        seeded = self.settings["seeding"] == "request" and not greedy
        seed = seed_for(request["seed"], "request", bits=62) if seeded else None
        return SamplingParams(
            n=1 if greedy else request["n"],
            temperature=request["temperature"], top_p=request["top_p"], max_tokens=request["max_tokens"],
            seed=seed, stop=list(request["stop"]), detokenize=bool(request["stop"]),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )  # fmt: skip

    def _outputs(self, jobs: Sequence[tuple[Sequence[int], Any]]) -> Iterator[tuple[int, Any]]:
        """(index of the job, vLLM's output), as they finish."""
        engine = self.llm.llm_engine
        for index, (ids, parameters) in enumerate(jobs):
            engine.add_request(str(index), {"prompt_token_ids": list(ids)}, parameters, lora_request=self._lora)
        sign_of_life = time.monotonic()
        try:
            while engine.has_unfinished_requests():
                finished = [output for output in engine.step() if output.finished]
                yield from ((int(output.request_id), output) for output in finished)
                if time.monotonic() - sign_of_life > TICK:
                    sign_of_life = time.monotonic()
                    self._send(item=None)
        finally:
            engine.abort_request([str(index) for index in range(len(jobs))])  # nothing is left of a failed call

    def _completions(self, output: Any, stop: Sequence[str]) -> list[Fields]:
        texts = self.tokenizer.batch_decode(
            [drawn.token_ids for drawn in output.outputs], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        prompt, cached = len(output.prompt_token_ids), output.num_cached_tokens or 0
        return [
            _completion(cut_at_stop(text, stop), len(drawn.token_ids), prompt, drawn.finish_reason, cached)
            for text, drawn in zip(texts, output.outputs, strict=True)
        ]

    def _send(self, **content: Any) -> None:
        self._send_anything({"id": self._call, **content})


def _be_eager(wanted: bool | None) -> bool:
    """Whether to do without compilation; on a CPU also in vLLM's helpers, one of which would compile for 14 s."""
    import torch

    on_cpu = not torch.accelerator.is_available()
    eager = on_cpu if wanted is None else wanted
    if eager and on_cpu:
        os.environ["TORCH_COMPILE_DISABLE"] = "1"  # read when torch._dynamo is imported, with vLLM
    return eager


def _completion(text: str, tokens: int, prompt_tokens: int, finish: str, cached_tokens: int = 0) -> Fields:
    return {
        "text": text, "tokens": tokens, "prompt_tokens": prompt_tokens, "finish": finish, "cached_tokens": cached_tokens
    }  # fmt: skip


def main() -> None:
    """Serve until the parent is gone."""
    messages, send = connect_to_parent()
    worker = VllmWorker(send)
    for message in messages:
        worker.run(message)


if __name__ == "__main__":
    main()

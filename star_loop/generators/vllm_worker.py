"""The process in which vLLM runs; `vllm.py` starts it and talks to it as `process.py` says."""

import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from star_loop.generators import vllm_internals
from star_loop.generators.devices import dtype_name, generating_dtype, is_small
from star_loop.generators.likelihood import Means, means
from star_loop.generators.process import Messages, Send, connect_to_parent
from star_loop.generators.sampled import read_sampled
from star_loop.generators.serving import ANY_TOKENS, advice, refuse_no_numbers
from star_loop.models import Model, Pretrained
from star_loop.models.chat import THINKS, THOUGHT
from star_loop.seeding import seed_for

Fields = Mapping[str, Any]
Known = Mapping[int, Any]
"""Token -> vLLM's `Logprob`, for one place: its own token and the most probable ones."""
CPU_SLOTS = 256
"""Completions in flight on a CPU where it is not said: more make it no faster."""
CPU_BLOCK = 32
"""Tokens in a block of the prefix cache, which knows whole blocks only: with vLLM's 128 on a CPU, most questions
are read anew for each of their rationales. Its fast kernels want multiples of 32."""
FITTING = -1
"""vLLM's word for the longest context that its cache can hold, which on a CPU is smaller than many models' own."""
STREAM_TICK = 0.25
"""Seconds after which whoever takes from a stream is given a turn."""
Texts = Sequence[tuple[Sequence[int], int]]
"""(token ids, index of the first that counts)"""


class VllmWorker:
    """The operations: each public method but `run` is one, named by the message."""

    OPERATIONS = ("start", "load", "logprobs", "score", "generate", "stream", "stop", "sleep", "wake_up")

    def __init__(self, messages: Messages, send: Send) -> None:
        self._messages, self._send_anything = messages, send
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
        vllm_internals.load()
        from star_loop.models.chat import end_of_turn
        from star_loop.models.weights import load_tokenizer

        self.base, self.settings = Pretrained(**base), settings
        self.tokenizer = load_tokenizer(self.base)
        self.end = end_of_turn(self.tokenizer, self.base)
        device = vllm_internals.device_type()
        self.on_cpu = device == "cpu"
        self.llm = vllm_internals.start(self._arguments(seed))
        config = vllm_internals.model_config(self.llm)
        self.dtype, self.context, self.vocabulary = config.dtype, config.max_model_len, config.get_vocab_size()
        if self.context > max(map(len, ANY_TOKENS)):
            refuse_no_numbers(self.logprobs(ANY_TOKENS), dtype_name(self.dtype))
        return {
            "version": vllm_internals.version(), "device": device,
            "dtype": dtype_name(self.dtype), "context": self.context,
            "slots": vllm_internals.slots(self.llm),
        }  # fmt: skip

    def load(self, adapter: str | None) -> None:
        """Generate with this adapter (None: the base) from now on."""
        model = Model(base=self.base, adapter=Path(adapter) if adapter else None)
        if self.settings["adapter"] == "lora":
            self._lora = vllm_internals.swap_lora(self.llm, self._lora, model.adapter)
        else:
            vllm_internals.reload_merged(self.llm, model, self.dtype)
        vllm_internals.forget_prefixes(self.llm)

    def logprobs(self, sequences: Sequence[Sequence[int]]) -> list[float]:
        """Sum of log-probabilities of each sequence's tokens after the first."""
        sums = [0.0] * len(sequences)
        for index, known in self._known([(ids, 1) for ids in sequences], 0):
            sums[index] = sum(at[token].logprob for at, token in zip(known, sequences[index][1:], strict=True))
        return sums

    def score(self, sequences: Texts, top: int) -> list[Means | None]:
        """Return `likelihood.means` of the tokens from an index on; None where no token could follow."""
        found: list[Means | None] = [None] * len(sequences)
        places = [index for index, (ids, _) in enumerate(sequences) if len(ids) < self.context]
        for number, known in self._known([sequences[index] for index in places], min(top, self.vocabulary)):
            ids, first = sequences[places[number]]
            found[places[number]] = means(known, ids[first:], self.vocabulary)
        return found

    def generate(self, requests: Sequence[Fields], seed: int) -> None:
        """Send an item for each request as it finishes."""
        if self.settings["seeding"] == "wave":
            vllm_internals.seed_everything(self.llm, seed)
        asked = dict(enumerate(requests))
        for index, output in self._outputs(iter([self._jobs(asked)])):
            self._answer(index, requests[index], self._completions(output, requests[index]["stop"]))

    def stream(self) -> None:
        """Send an item for each request of the `add` messages as it finishes, until there is another message."""
        asked: dict[int, Fields] = {}
        for index, output in self._outputs(self._added(asked), STREAM_TICK):
            request = asked.pop(index)
            self._answer(index, request, self._completions(output, request["stop"]))

    def stop(self) -> None:
        """Do nothing: a stream has ended with this message."""

    def sleep(self, level: int) -> None:
        """Drop the key-value cache, and move the weights to host memory (1), or drop them too (2)."""
        self.llm.sleep(level=level)

    def wake_up(self) -> None:
        """Take the memory again; what was dropped is still to be loaded."""
        self.llm.wake_up()
        vllm_internals.forget_prefixes(self.llm)

    def _arguments(self, seed: int) -> dict[str, Any]:
        wanted = self.settings
        arguments: dict[str, Any] = {
            "model": self.base.location, "revision": self.base.revision, "dtype": self._dtype(),
            "trust_remote_code": self.base.trust_remote_code, "seed": seed % 2**32,
            "max_model_len": wanted["max_model_len"] or (FITTING if self.on_cpu else None),
            "gpu_memory_utilization": wanted["gpu_memory_utilization"], "enable_prefix_caching": True,
            "max_logprobs": -1,
            "tensor_parallel_size": wanted["tensor_parallel_size"], "enforce_eager": self.eager,
        }  # fmt: skip
        if wanted["max_num_seqs"] is not None or self.on_cpu:
            arguments["max_num_seqs"] = wanted["max_num_seqs"] or CPU_SLOTS
        if wanted["max_num_batched_tokens"] is not None:
            arguments["max_num_batched_tokens"] = wanted["max_num_batched_tokens"]
        if wanted["thinking_tokens"] is not None:
            arguments["reasoning_config"] = vllm_internals.reasoning(THINKS, THOUGHT)
        if wanted["adapter"] == "lora":
            ranks = vllm_internals.LORA_RANKS
            rank = next((rank for rank in ranks if rank >= wanted["max_lora_rank"]), ranks[-1])
            arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": rank}
        if self.on_cpu:
            space = wanted["cpu_kvcache_space"] or (0.25 if is_small(self.base) else 1.0)
            arguments |= {"kv_cache_memory_bytes": int(space * 2**30), "block_size": CPU_BLOCK}
            if wanted["seeding"] == "request":
                # A CPU generator cannot be rewound, which vLLM does when a seeded request's prefill is chunked.
                arguments["enable_chunked_prefill"] = False
        elif wanted["sleep"]:
            arguments["enable_sleep_mode"] = True
        return arguments | dict(wanted["engine_kwargs"])

    def _dtype(self) -> str:
        return generating_dtype(self.base, self.settings["dtype"])

    def _known(self, sequences: Texts, top: int) -> Iterator[tuple[int, Sequence[Known]]]:
        """(index of the sequence, what is known of each token from `first` on), as they finish."""
        forced = self.settings["adapter"] == "lora"
        return self._forced(sequences, top) if forced else self._prompted(sequences, top)

    def _prompted(self, sequences: Texts, top: int) -> Iterator[tuple[int, Sequence[Known]]]:
        parameters = vllm_internals.sampling(max_tokens=1, temperature=0.0, prompt_logprobs=top, detokenize=False)
        for index, output in self._outputs(iter([[(k, ids, parameters) for k, (ids, _) in enumerate(sequences)]])):
            yield index, output.prompt_logprobs[sequences[index][1] :]

    def _forced(self, sequences: Texts, top: int) -> Iterator[tuple[int, Sequence[Known]]]:
        """Make one request for each token, the only one allowed: vLLM has no prompt log-probabilities with LoRA."""
        places = [(index, at) for index, (ids, first) in enumerate(sequences) for at in range(first, len(ids))]
        jobs = [
            (k, sequences[index][0][:at], vllm_internals.sampling(
                max_tokens=1, temperature=0.0, logprobs=top, allowed_token_ids=[sequences[index][0][at]],
                detokenize=False,
            ))
            for k, (index, at) in enumerate(places)
        ]  # fmt: skip
        known: list[list[Known]] = [[] for _ in sequences]
        for job, output in sorted(self._outputs(iter([jobs])), key=lambda done: done[0]):
            known[places[job][0]].append(output.outputs[0].logprobs[0])
        yield from enumerate(known)

    def _encode(self, prompt: str) -> list[int]:
        from star_loop.models.weights import encode_prompt

        return encode_prompt(self.tokenizer, prompt, self.base.chat)

    def _parameters(self, request: Fields) -> Any:
        greedy = request["temperature"] == 0
        # vLLM seeds sample k with seed + k: spread the requests, or neighbours would share samples.
        seeded = self.settings["seeding"] == "request" and not greedy
        seed = seed_for(request["seed"], "request", bits=62) if seeded else None
        return vllm_internals.sampling(
            n=1 if greedy else request["n"],
            temperature=request["temperature"], top_p=request["top_p"], top_k=request["top_k"], min_p=request["min_p"],
            repetition_penalty=request["repetition_penalty"], max_tokens=request["max_tokens"],
            thinking_token_budget=request["thinking"],
            seed=seed, stop_token_ids=[self.end], stop=list(request["stop"]), detokenize=bool(request["stop"]),
        )  # fmt: skip

    def _added(self, asked: dict[int, Fields]) -> Iterator[vllm_internals.Jobs | None]:
        """Yield what was added since the last step.

        `asked` is what is under way, without which there is time to wait.
        """
        while (messages := self._messages.waiting("add", wait=not asked)) is not None:
            new = {int(index): r for message in messages for index, r in message["requests"].items()}
            jobs = self._jobs(new)
            asked.update((index, new[index]) for index, *_ in jobs)
            if asked:
                yield jobs
        yield None

    def _jobs(self, asked: Mapping[int, Fields]) -> vllm_internals.Jobs:
        """Return what vLLM is to draw; what leaves no room for a completion is answered at once."""
        jobs = []
        for index, request in asked.items():
            ids = self._encode(request["prompt"])
            if len(ids) >= self.context:
                self._answer(index, request, [_completion("", 0, len(ids), "length")])
            else:
                jobs.append((index, ids, self._parameters(request)))
        return jobs

    def _answer(self, index: int, request: Fields, drawn: list[Fields]) -> None:
        copies = request["n"] // len(drawn)  # what cannot differ is drawn once
        self._send(item={"index": index, "completions": drawn * copies})

    def _outputs(
        self, jobs: Iterator[vllm_internals.Jobs | None], tick: float = vllm_internals.TICK
    ) -> vllm_internals.Drawn:
        """(index of the job, vLLM's output), as they finish."""
        return vllm_internals.outputs(self.llm, jobs, self._lora, partial(self._send, item=None), tick)

    def _completions(self, output: Any, stop: Sequence[str]) -> list[Fields]:
        prompt, cached = len(output.prompt_token_ids), output.num_cached_tokens or 0
        completions: list[Fields] = []
        for drawn in output.outputs:
            ended = drawn.finish_reason == "stop" and not isinstance(drawn.stop_reason, str)
            text, ids = read_sampled(self.tokenizer, drawn.token_ids, ended=ended, stop=stop, end=self.end)
            tokens = len(drawn.token_ids)
            completions.append({**_completion(text, tokens, prompt, drawn.finish_reason, cached), "ids": ids})
        return completions

    def _send(self, **content: Any) -> None:
        self._send_anything({"id": self._call, **content})


def _be_eager(wanted: bool | None) -> bool:
    """Tell whether to do without compilation; on a CPU also in vLLM's helpers, one of which would compile for 14 s."""
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
    worker = VllmWorker(messages, send)
    for message in messages:
        worker.run(message)


if __name__ == "__main__":
    main()

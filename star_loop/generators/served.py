"""The model itself on a vLLM server elsewhere, which is given each iteration's adapter."""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from star_loop.generators.devices import dtype_name
from star_loop.generators.openai import sampling_fields, shared
from star_loop.generators.sampled import read_sampled
from star_loop.generators.serving import Sequences, Serving, cut_at_stop
from star_loop.generators.told import telling
from star_loop.models import Model, Pretrained
from star_loop.protocols import Arrived, Engine, EngineError, Generator, Progress
from star_loop.records import Completion, Request, Sampling
from star_loop.seeding import seed_for
from star_loop.servers import Client, Reply, Server
from star_loop.servers.client import COMPLETIONS, Refused
from star_loop.servers.replies import Usage, text_of

logger = logging.getLogger(__name__)

_REMEDY = (
    "start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, --enable-lora and --max-lora-rank no less than trainer.r, "
    "and see that it finds this path: it reads the run directory"
)


class Served(Server, Generator):
    """A vLLM server with the base model, started with `--enable-lora` and `VLLM_ALLOW_RUNTIME_LORA_UPDATING=True`.

    Prompts are sent as token ids, and what comes back is trained on as it was sampled. Each round's adapter is loaded
    by its path, so the server must see the run directory; the canary then proves that it is what generates. Each
    request has its own seed, and what is finished is kept.
    """

    loads_base: ClassVar[bool] = True

    max_lora_rank: int = Field(64, ge=1)
    """The server's `--max-lora-rank`."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """The server's `--dtype`: how exactly the canary is compared; `auto`: that of the base model."""

    def check(self) -> None:
        """The server must answer and have the model.

        Raises:
            ValueError: it does not.
        """
        Client(self).check()

    @property
    def rank_beside(self) -> int:
        """Return `max_lora_rank`."""
        return self.max_lora_rank

    @contextmanager
    def engine(self, base: Pretrained, *, workspace: Path, seed: int) -> Iterator[Engine]:
        """The server; in the end it is left as it was."""
        engine = ServedEngine(self, base, Client(self))
        try:
            yield engine
        finally:
            engine.forget()


class ServedEngine(Serving):
    """A server that generates with the run's model. See `protocols.Engine`."""

    def __init__(self, settings: Served, base: Pretrained, client: Client) -> None:
        super().__init__(base)
        self.settings, self.client = settings, client
        self._name: str | None = None
        """What the server calls the adapter; None: the base generates."""

    def release(self) -> None:
        """Do nothing: the accelerator is the server's own."""

    def load(self, model: Model) -> None:
        """Have the server load the adapter, under a name that its contents give it, and forget the one before."""
        before, self._name = self._name, None
        if model.adapter is not None:
            name, path = _name_of(model.adapter), str(model.adapter.resolve())
            try:
                self.client.command("/load_lora_adapter", {"lora_name": name, "lora_path": path, "load_inplace": True})
            except Refused as refused:
                raise EngineError(f"the server cannot load {path} ({refused.said}): {_REMEDY}") from refused
            self._name = name
        if before is not None and before != self._name:
            self._unload(before)

    def forget(self) -> None:
        """Have the server forget the adapter."""
        if self._name is not None:
            self._unload(self._name)

    def logprobs(self, sequences: Sequences) -> list[float]:
        """Make one request for each token, the only one allowed: vLLM has no prompt log-probabilities with LoRA."""
        places = [(index, at) for index, ids in enumerate(sequences) for at in range(1, len(ids))]
        found = self.client.each([partial(self._logprob, sequences[index], at) for index, at in places])
        sums = [0.0] * len(sequences)
        for (index, _), known in zip(places, found, strict=True):
            sums[index] += known
        return sums

    def dtype(self) -> str:
        """Name the dtype that the server was started with, as far as the configuration knows it."""
        if self.settings.dtype != "auto":
            return self.settings.dtype
        from star_loop.models.weights import weight_dtype

        return dtype_name(weight_dtype(self.base))

    def generate(
        self, requests: Sequence[Request], *, seed: int,
        progress: Progress | None = None, arrived: Arrived | None = None,
    ) -> list[list[Completion]]:  # fmt: skip
        """Ask for all of them; a prompt that fills the context gives empty completions that were cut off."""
        prompts = [self._encode(request.prompt) for request in requests]
        jobs = [partial(self._complete, request, ids) for request, ids in zip(requests, prompts, strict=True)]
        return self.client.each(jobs, telling(arrived, progress))

    def _complete(self, request: Request, ids: Sequence[int]) -> list[Completion]:
        how, room = request.sampling, self._context - len(ids)
        if room <= 0:
            return [Completion(text="", tokens=0, prompt_tokens=len(ids), finish="length")] * request.n
        greedy = how.temperature == 0
        reply = self._ask(
            prompt=list(ids), n=1 if greedy else request.n, max_tokens=min(how.max_tokens, room),
            stop_token_ids=[self._end], seed=seed_for(request.seed, "request", bits=62), return_token_ids=True,
            skip_special_tokens=False, **sampling_fields(how), **_thinking(how),
        )  # fmt: skip
        drawn = self._read(reply, len(ids), how.stop)
        if len(drawn) != (1 if greedy else request.n):
            raise EngineError(f"{self.settings.base_url} returned {len(drawn)} texts where {request.n} were asked for")
        return drawn * request.n if greedy else drawn

    def _read(self, reply: Reply, prompt_tokens: int, stop: Sequence[str]) -> list[Completion]:
        choices = reply["choices"]
        counted = shared(Usage.of(reply).completion_tokens, [text_of(choice) for choice in choices])
        return [
            self._completion(choice, tokens, prompt_tokens, stop)
            for choice, tokens in zip(choices, counted, strict=True)
        ]

    def _completion(
        self, choice: Mapping[str, Any], counted: int, prompt_tokens: int, stop: Sequence[str]
    ) -> Completion:
        finish: Literal["stop", "length"] = "length" if choice.get("finish_reason") == "length" else "stop"
        sampled = choice.get("token_ids")
        if sampled is None:  # no vLLM: the trainer encodes the text
            return Completion(
                text=cut_at_stop(text_of(choice), stop), tokens=counted, prompt_tokens=prompt_tokens, finish=finish
            )
        ended = finish == "stop" and not isinstance(choice.get("stop_reason"), str)
        text, ids = read_sampled(self._tokenizer, sampled, ended=ended, stop=stop, end=self._end)
        return Completion(text=text, tokens=len(sampled), prompt_tokens=prompt_tokens, finish=finish, ids=ids)

    def _logprob(self, ids: Sequence[int], at: int) -> float:
        reply = self._ask(
            remember=False, prompt=list(ids[:at]), max_tokens=1, temperature=0.0, logprobs=0,
            allowed_token_ids=[ids[at]],
        )  # fmt: skip
        return float(reply["choices"][0]["logprobs"]["token_logprobs"][0])

    def _ask(self, *, remember: bool = True, **body: Any) -> Reply:
        whole = {"model": self._name or self.client.model, **body}
        return self.client.ask(COMPLETIONS, whole, remember=remember)

    def _unload(self, name: str) -> None:
        try:
            self.client.command("/unload_lora_adapter", {"lora_name": name})
        except EngineError as error:
            logger.warning("the server keeps the adapter %s: %s", name, error)

    def _encode(self, prompt: str) -> list[int]:
        from star_loop.models.weights import encode_prompt

        return encode_prompt(self._tokenizer, prompt, self.base.chat)

    @cached_property
    def _tokenizer(self) -> Any:
        from star_loop.models.weights import load_tokenizer

        return load_tokenizer(self.base)

    @cached_property
    def _end(self) -> int:
        from star_loop.models import chat

        return chat.end_of_turn(self._tokenizer, self.base)

    @cached_property
    def _context(self) -> int:
        """Tokens of prompt and completion together: the server's limit, else the model's own."""
        from star_loop.models.weights import context_length, load_config

        return self.client.context or context_length(load_config(self.base)) or 2**62


def _thinking(how: Sampling) -> dict[str, Any]:
    return {} if how.thinking is None else {"thinking_token_budget": how.thinking}


def _name_of(adapter: Path) -> str:
    """Return the adapter's name at the server: others' are other ones, whatever run they are of."""
    with (adapter / "adapter_model.safetensors").open("rb") as file:
        return f"star_loop-{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"

"""Rationales from Hugging Face `generate`, in this process: the slower engine that needs nothing else installed."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from star_loop.generators.devices import dtype_name, generating_dtype
from star_loop.generators.sampled import read_sampled
from star_loop.generators.serving import ANY_TOKENS, Sequences, Serving, refuse_no_numbers
from star_loop.generators.thinking import ThinkingBudget
from star_loop.models import Model, Pretrained
from star_loop.models.chat import THINKS, THOUGHT
from star_loop.models.device import device
from star_loop.protocols import Arrived, Engine, EngineError, Generator, Progress
from star_loop.records import Completion, Request, Sampling

if TYPE_CHECKING:
    import torch

UNLIMITED = 2**62


class Transformers(Generator):
    """`model.generate` in batches of similar length, on the GPU if there is one.

    Seeded once for each `generate` call: the seed and the requests determine every token.
    """

    loads_base: ClassVar[bool] = True

    batch_size: int = Field(128, ge=1)
    """Completions that are generated together."""
    adapter: Literal["merge", "lora"] = "merge"
    """`merge`: into a fresh copy of the base. `lora`: applied beside the weights: exact, slower."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the weights that generate; `auto`: that of the base model, or float32 where a CPU is slow in bfloat16."""
    max_model_len: int | None = Field(None, ge=2)
    """Tokens of prompt and completion together; None: what the model declares."""

    @contextmanager
    def engine(self, base: Pretrained, *, workspace: Path, seed: int) -> Iterator[Engine]:
        """The model is loaded when it is first needed."""
        yield TransformersEngine(self, base)


class TransformersEngine(Serving):
    """A live model. See `protocols.Engine`."""

    def __init__(self, settings: Transformers, base: Pretrained) -> None:
        super().__init__(base)
        self.settings = settings
        self._model: Any = None
        self._tokenizer: Any = None

    @property
    def model(self) -> Any:
        """The live model; what is served is loaded if need be."""
        if self._model is None:
            self.load(self.served)
        return self._model

    @property
    def loaded(self) -> bool:
        """Tell whether there is a live model."""
        return self._model is not None

    def load(self, model: Model) -> None:
        """Load the weights afresh, with the adapter merged into them or beside them."""
        import torch
        from transformers import GenerationConfig

        from star_loop.models.weights import end_tokens, load_beside, load_merged, load_tokenizer, sequence_logprobs

        load = load_merged if self.settings.adapter == "merge" else load_beside
        self._model = None  # two copies may not fit
        try:
            loaded = load(model, getattr(torch, generating_dtype(model.base, self.settings.dtype))).to(device())
            refuse_no_numbers(sequence_logprobs(loaded, ANY_TOKENS), dtype_name(loaded.dtype))
            self._tokenizer = load_tokenizer(model.base)
        except ValueError as error:
            raise EngineError(f"cannot serve {model.adapter or model.base.name_or_path}: {error}") from error
        ends = end_tokens(loaded, self._tokenizer, model.base)
        pad = self._tokenizer.pad_token_id
        # A model may bring sampling defaults of its own; only the request's sampling counts here.
        loaded.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=ends[0] if pad is None else pad)
        self._model = loaded

    def logprobs(self, sequences: Sequences) -> list[float]:
        """Measure with one forward pass for each sequence."""
        from star_loop.models.weights import sequence_logprobs

        return sequence_logprobs(self.model, sequences)

    def dtype(self) -> str:
        """Name the dtype of the live weights."""
        return dtype_name(self.model.dtype)

    def release(self) -> None:
        """Drop the weights on a GPU; the next `serve` or `generate` loads them again."""
        import torch

        if torch.cuda.is_available():
            self._model = None
            torch.cuda.empty_cache()

    def generate(
        self, requests: Sequence[Request], *, seed: int,
        progress: Progress | None = None, arrived: Arrived | None = None,
    ) -> list[list[Completion]]:  # fmt: skip
        """Completions in request order; `progress` counts finished requests. Nothing arrives before all is done.

        A prompt that fills the context gives empty completions that were cut off.
        """
        if not requests:
            return []
        context = self._context()
        prompts = [self._encode(request.prompt) for request in requests]
        too_long = {index for index, ids in enumerate(prompts) if len(ids) >= context}
        drawn: list[list[Completion]] = [[] for _ in requests]
        for index in too_long:
            cut = Completion(text="", tokens=0, prompt_tokens=len(prompts[index]), finish="length")
            drawn[index] = [cut] * requests[index].n
        rows = [index for index, request in enumerate(requests) if index not in too_long for _ in range(request.n)]
        with _seeded(seed, self.model.device):
            for batch, room in self._batches(rows, prompts, requests, context):
                sampling = requests[batch[0]].sampling
                completions = self._complete([prompts[index] for index in batch], sampling, room)
                for index, completion in zip(batch, completions, strict=True):
                    drawn[index].append(completion)
                if progress:
                    progress(sum(len(drawn[index]) == requests[index].n for index in set(batch)))
        if progress and too_long:
            progress(len(too_long))
        return drawn

    def _batches(
        self, rows: Sequence[int], prompts: Sequence[Sequence[int]], requests: Sequence[Request], context: int
    ) -> Iterator[tuple[list[int], int]]:
        """Rows that share their sampling and the room for their completions, shortest prompts first."""
        alike: dict[tuple[Sampling, int], list[int]] = defaultdict(list)
        for index in rows:
            sampling = requests[index].sampling
            # Padding to a longer neighbour must not push anybody past the context.
            alike[sampling, min(sampling.max_tokens, context - len(prompts[index]))].append(index)
        for (_, room), group in alike.items():
            group.sort(key=lambda index: len(prompts[index]))
            for start in range(0, len(group), self.settings.batch_size):
                yield group[start : start + self.settings.batch_size], room

    def _complete(self, prompts: Sequence[list[int]], sampling: Sampling, room: int) -> list[Completion]:
        """Complete one batch, padded on the left."""
        import torch
        from transformers import GenerationConfig, StoppingCriteriaList

        width = max(map(len, prompts))
        defaults = self.model.generation_config
        ids = torch.tensor([[defaults.pad_token_id] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        config = GenerationConfig(max_new_tokens=room, **_decoding(sampling))
        stops = _StopStrings(self._tokenizer, sampling.stop, width, len(prompts))
        with torch.inference_mode():
            output = self.model.generate(
                input_ids=ids.to(self.model.device), attention_mask=mask.to(self.model.device),
                generation_config=config, stopping_criteria=StoppingCriteriaList([stops] if sampling.stop else []),
                logits_processor=self._budget(sampling),
            )  # fmt: skip
        rows = output[:, width:].tolist()
        return [
            self._completion(row, stopped, len(prompt), sampling.stop)
            for row, stopped, prompt in zip(rows, stops.lengths, prompts, strict=True)
        ]

    def _completion(self, row: list[int], stopped: int | None, prompt_tokens: int, stop: Sequence[str]) -> Completion:
        ends = self.model.generation_config.eos_token_id
        end = next((length for length, token in enumerate(row, 1) if token in ends), None)
        length = end if stopped is None else stopped
        written = row[:length]
        ended = stopped is None and end is not None
        text, ids = read_sampled(self._tokenizer, written, ended=ended, stop=stop, end=ends[0])
        return Completion(
            text=text, tokens=len(written), prompt_tokens=prompt_tokens, ids=ids,
            finish="length" if length is None else "stop",
        )  # fmt: skip

    def _budget(self, sampling: Sampling) -> Any:
        from transformers import LogitsProcessorList

        begins, ends = (self._tokenizer(t, add_special_tokens=False).input_ids for t in (THINKS, THOUGHT))
        budget = sampling.thinking
        return LogitsProcessorList([] if budget is None else [ThinkingBudget(begins, ends, budget)])

    def _encode(self, prompt: str) -> list[int]:
        from star_loop.models.weights import encode_prompt

        return encode_prompt(self._tokenizer, prompt, self.base.chat)

    def _context(self) -> int:
        from star_loop.models.weights import context_length

        limits = (self.settings.max_model_len, context_length(self.model.config))
        return min((limit for limit in limits if limit is not None), default=UNLIMITED)


def _decoding(sampling: Sampling) -> dict[str, Any]:
    """Return the sampling as `GenerationConfig` spells it."""
    penalty = {"repetition_penalty": sampling.repetition_penalty}
    if sampling.temperature == 0:
        return {"do_sample": False, **penalty}
    shape = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    return {"do_sample": True, **shape, **penalty, **({"min_p": sampling.min_p} if sampling.min_p else {})}


class _StopStrings:
    """Ends the rows that have written a stop string, and remembers after how many tokens."""

    def __init__(self, tokenizer: Any, stop: Sequence[str], width: int, rows: int) -> None:
        self.tokenizer, self.stop, self.width = tokenizer, stop, width
        self.tail = max((len(text.encode()) for text in stop), default=0) + 4  # a token may be a part of a character
        self.lengths: list[int | None] = [None] * rows

    def __call__(self, input_ids: "torch.Tensor", scores: Any, **_: Any) -> "torch.Tensor":
        import torch

        written = input_ids[:, self.width :]
        ends = self.tokenizer.batch_decode(written[:, -self.tail :], clean_up_tokenization_spaces=False)
        for row, text in enumerate(ends):
            if self.lengths[row] is None and any(stop in text for stop in self.stop):
                self.lengths[row] = written.shape[1]
        return torch.tensor([length is not None for length in self.lengths], device=input_ids.device)


@contextmanager
def _seeded(seed: int, device: "torch.device") -> Iterator[None]:
    """Draw from a fresh global generator, and put the old one back."""
    import torch

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield

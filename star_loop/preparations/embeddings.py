"""What a text is about, by a causal language model's own hidden states, or by a sentence encoder."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from star_loop.accounting.cost import Cost
from star_loop.models import Pretrained
from star_loop.models.device import device, give_back
from star_loop.trainers.batches import Encoded, micro_batches

TOKENS = 4096
"""With padding, of one forward pass (or one text)."""


class Embedder:
    """A base model, loaded at the first text, on the GPU if there is one."""

    def __init__(self, base: Pretrained) -> None:
        self.base = base
        self._loaded: tuple[Any, Any] | None = None

    def cost(self) -> Cost:
        """Return what the base costs."""
        return Cost.of(self.base)

    def __call__(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[int]]:
        """(texts, dimensions): the last hidden state, averaged over the tokens of each text; and how many those were.

        Special tokens are not averaged: at the beginning of a sequence the state says nothing of the text.
        What is longer than the model's context is cut off.
        """
        import torch

        from star_loop.models.weights import context_length, encode_prompt

        model, tokenizer = self._load()
        limit, special = context_length(model.config), set(tokenizer.all_special_ids)
        encoded = [Encoded(ids=encode_prompt(tokenizer, text, None)[:limit], prompt=0) for text in texts]
        means: dict[int, NDArray[np.float32]] = {}
        with torch.inference_mode():
            for group in micro_batches(encoded, TOKENS):
                width = max(1, *(len(s.ids) for s in group))
                # Padded on the right: no real token sees what follows it.
                ids = torch.tensor([[*s.ids, *[0] * (width - len(s.ids))] for s in group], device=model.device)
                hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state.float()
                for row, s in enumerate(group):
                    own = [k for k, token in enumerate(s.ids) if token not in special] or [0]
                    means[id(s)] = hidden[row, own].mean(0).cpu().numpy()
        return np.stack([means[id(s)] for s in encoded]), [len(s.ids) for s in encoded]

    def _load(self) -> tuple[Any, Any]:
        from star_loop.models.weights import load_model, load_tokenizer

        if self._loaded is None:
            self._loaded = load_model(self.base).to(device()), load_tokenizer(self.base)
        return self._loaded

    def close(self) -> None:
        """Give the model's memory back; the next text would load it again."""
        if self._loaded is not None:
            give_back(self._loaded[0])
            self._loaded = None


class SentenceEmbedder:
    """A model of the package sentence-transformers, loaded at the first text, on the GPU if there is one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._loaded: Any = None

    def __call__(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[int]]:
        """(texts, dimensions) as the model gives them; and how many tokens of each text it has read."""
        model = self._load()
        found: NDArray[np.float32] = model.encode(list(texts), convert_to_numpy=True, show_progress_bar=False)
        read = model.tokenizer(list(texts), truncation=True, max_length=model.max_seq_length).input_ids
        return np.asarray(found, np.float32), [len(ids) for ids in read]

    def cost(self) -> Cost:
        """Return the cost by its parameters alone: an encoder's matrices are not looked at."""
        return Cost(parameters=sum(parameter.numel() for parameter in self._load().parameters()))

    def _load(self) -> Any:
        if self._loaded is None:
            from sentence_transformers import SentenceTransformer

            try:
                self._loaded = SentenceTransformer(self.name)
            except Exception as error:  # what the library makes of a damaged or missing model is of many kinds
                raise ValueError(
                    f"cannot load preparation.clusters.embedder={self.name!r}: {type(error).__name__}: {error}"
                ) from error
        return self._loaded

    def close(self) -> None:
        """Give the model's memory back; the next text would load it again."""
        if self._loaded is not None:
            give_back(self._loaded)
            self._loaded = None

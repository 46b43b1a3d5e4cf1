"""Reward models of the Hugging Face Hub: one mark for a whole text, or one for each of its steps."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from star_loop.models import Pretrained
from star_loop.models.device import lent
from star_loop.protocols import Engine
from star_loop.records import Observation
from star_loop.rewards import Asked, Reward
from star_loop.verifiers.reply import reply


class Classifier(Pretrained):
    """A model with a head that gives marks."""

    continues: ClassVar[bool] = False


class _WithHead(Reward):
    """A model with a head that classifies, in place of one that writes."""

    model: Classifier
    """The reward model: a Hub id or a directory."""

    def check(self) -> None:
        """Look for the weights.

        Raises:
            ValueError: there are none.
        """
        try:
            self.model.check()
        except ValueError as error:
            raise ValueError(f"reward.{error}" if str(error).startswith("model.") else str(error)) from error

    def marks(self, asked: Asked, *, engine: Engine | None = None, folder: Path | None = None) -> list[float | None]:
        """Load the model, mark each text in one forward pass, and give the memory back; a text that is longer than the
        model's context has no mark.

        Raises:
            ValueError: no such model, or one without the head that gives marks.
        """
        from star_loop.models.weights import context_length, load_config, load_tokenizer

        if not asked:
            return []
        if engine is not None:
            engine.release()
        tokenizer, limit = load_tokenizer(self.model), context_length(load_config(self.model))
        with lent(self._loaded()) as model:
            return [self._mark(model, tokenizer, observation, text, limit) for observation, text in asked]

    @abstractmethod
    def _loaded(self) -> Any:
        """Load the model with its head."""

    @abstractmethod
    def _mark(self, model: Any, tokenizer: Any, observation: Observation, text: str, limit: int | None) -> float | None:
        """Mark one text."""


class RewardModel(_WithHead):
    """A sequence classifier that was trained on preferences: σ(logit) of the question and the reply as a conversation.

    With two classes it is the probability of the second one.
    """

    def _loaded(self) -> Any:
        from transformers import AutoModelForSequenceClassification

        return _with_head(AutoModelForSequenceClassification, self.model, "sequence classification")

    def _mark(self, model: Any, tokenizer: Any, observation: Observation, text: str, limit: int | None) -> float | None:
        import torch

        ids = conversation(tokenizer, observation.question, reply(text).strip())
        if limit is not None and len(ids) > limit:
            return None
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids], device=model.device)).logits[0].double()
        if len(logits) > 2:
            raise ValueError(
                f"{self.model.name_or_path} tells {len(logits)} classes apart: a reward model has one output, or two"
            )
        return float(logits.sigmoid()[0] if len(logits) == 1 else logits.softmax(-1)[1])


class ProcessRewardModel(_WithHead):
    """A token classifier that says of each step how probably it is right, as TRL's `PRMTrainer` trains it.

    Steps are the lines of the reply that are not empty; the class of a step is that of the separator's last token
    (Lightman et al. 2023, arXiv 2305.20050; Wang et al. 2023, arXiv 2312.08935).
    """

    separator: str = "\n"
    """What stands behind each step in the model's training."""
    combine: Literal["min", "product", "mean", "last"] = "min"
    """How the steps' probabilities become one mark."""

    def _loaded(self) -> Any:
        from transformers import AutoModelForTokenClassification

        return _with_head(AutoModelForTokenClassification, self.model, "token classification")

    def _mark(self, model: Any, tokenizer: Any, observation: Observation, text: str, limit: int | None) -> float | None:
        import torch

        steps = [line for line in reply(text).splitlines() if line.strip()]
        ids = list(tokenizer(observation.question + self.separator).input_ids)
        ends = []
        for step in steps:
            ids += tokenizer(step + self.separator, add_special_tokens=False).input_ids
            ends.append(len(ids) - 1)
        if not steps or (limit is not None and len(ids) > limit):
            return None
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids], device=model.device)).logits[0].double()
        if logits.shape[-1] != 2:
            raise ValueError(f"{self.model.name_or_path} tells {logits.shape[-1]} classes of steps apart: two are due")
        return combined(logits.softmax(-1)[ends, 1].tolist(), self.combine)


def combined(steps: Sequence[float], how: Literal["min", "product", "mean", "last"]) -> float:
    """Combine the probabilities that steps are right; there is at least one.

    Example:
        >>> [combined([0.5, 0.8, 1.0], how) for how in ("min", "product", "last")]
        [0.5, 0.4, 1.0]
    """
    return {"min": min(steps), "product": math.prod(steps), "mean": sum(steps) / len(steps), "last": steps[-1]}[how]


def conversation(tokenizer: Any, question: str, answer: str) -> list[int]:
    """Encode a question and its reply with the tokenizer's chat template; without one, in two paragraphs."""
    if getattr(tokenizer, "chat_template", None) is None:
        return list(tokenizer(f"{question}\n\n{answer}").input_ids)
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def _with_head(loader: Any, pretrained: Pretrained, what: str) -> Any:
    """Load a classifier in evaluation mode; the library would give one without a head a random head.

    Raises:
        ValueError: it has none.
    """
    from star_loop.models.weights import load_with, weight_dtype

    model, found = load_with(
        loader, pretrained, "weights", dtype=weight_dtype(pretrained), use_safetensors=True, output_loading_info=True
    )
    if missing := sorted(found["missing_keys"]):
        raise ValueError(
            f"reward.model.name_or_path={pretrained.name_or_path!r} is no model for {what}: its weights lack "
            f"{', '.join(missing[:3])}. Take one that was trained to give marks"
        )
    return model.eval()

"""One round of LoRA fine-tuning: the torch half of `Lora`.

This is a torch module: import it inside functions, never at the top of a module that the loop imports.

Sequences are padded on the right and carry no attention mask: in a causal model no real token sees what follows it. Or
they lie end to end in one row (`trainer.packing`).
Logits are computed only where there is a loss, and in chunks, so a large vocabulary does not fill the memory.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from star_loop.models import Model, Pretrained
from star_loop.models.onednn import by_onednn
from star_loop.models.weights import load_model, sequence_logprobs, write_canary
from star_loop.protocols import Progress, TrainingError
from star_loop.seeding import seed_for
from star_loop.trainers.adapter import continue_from, lora_config, write_adapter
from star_loop.trainers.attention import attending, end_to_end
from star_loop.trainers.batches import Encoded, Step, beginnings
from star_loop.trainers.keys import LoraKeys
from star_loop.trainers.losses import head_losses
from star_loop.trainers.optimizers import optimizer_of
from star_loop.trainers.placement import Placement

logger = logging.getLogger(__name__)

LOGITS_AT_ONCE = 2**24
"""Elements of the largest matrix of logits: 64 MB in float32."""
SAME_LAW = 0.1
"""Nats per token by which the trainer's log-probabilities may differ from the model's own (rounding in bfloat16)."""


def run(
    settings: LoraKeys,
    batches: Sequence[Sequence[Encoded]],
    start: Model,
    into: Path,
    *,
    seed: int,
    progress: Progress | None,
    place: Callable[[Any], Placement] = Placement,
) -> list[Step]:
    """Train on the batches, prove that the adapter and nothing else moved, write it into `into`.

    `place` puts the model where it is trained; of several processes, the first writes.

    Raises:
        ValueError: the base is in float16, or the start adapter has another shape than `settings` ask for.
        TrainingError: see `Lora.train`.
    """
    with (
        _threads(settings.threads), _student(settings, start, seed) as model, by_onednn(model),
        attending(model.get_base_model(), settings.attention, settings.packing),
    ):  # fmt: skip
        student = place(model)
        prompts = beginnings([sequence for batch in batches for sequence in batch])
        frozen, trainable = student.checksums(trainable=False), student.checksums(trainable=True)
        before = student.frozen(sequence_logprobs, prompts)
        student.frozen(_assert_same_law, prompts, before, settings.packing)
        curve = _fit(settings, student, batches, progress)
        if student.somewhere(student.checksums(trainable=False) != frozen):
            load_base.cache_clear()
            raise TrainingError("weights of the frozen base changed in training; the adapter is not usable.")
        if not student.somewhere(student.checksums(trainable=True) != trainable):
            raise TrainingError(
                f"no weight of the adapter moved in {len(curve)} steps (learning_rate={settings.learning_rate}, mean "
                f"gradient norm {sum(step.grad_norm for step in curve) / len(curve):g}): raise trainer.learning_rate."
            )
        after = student.frozen(sequence_logprobs, prompts)
        adapter = student.adapter()
        if student.first:
            write_adapter(model, adapter, start.base, into)
            write_canary(into, prompts, before, after)
    return curve


@lru_cache(maxsize=1)
def load_base(base: Pretrained) -> PreTrainedModel:
    """The frozen base. It stays in the CPU's memory between rounds, so that a GPU is free for generation.

    Raises:
        ValueError: see `load_model`; or float16, whose small gradients vanish.
    """
    model = load_model(base)
    if model.dtype == torch.float16:
        raise ValueError(
            f"the weights of {base.name_or_path!r} are float16, in which small gradients vanish: "
            "set model.dtype to bfloat16 or float32."
        )
    return model.requires_grad_(False)


def token_losses(
    model: Any, batch: Sequence[Encoded], at_once: int = LOGITS_AT_ONCE, packed: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the negative log-likelihood (nats, float32) of every loss token, and whether it was the most probable.

    Args:
        model: a PEFT model.
        batch: B sequences.
        at_once: elements of the largest matrix of logits.
        packed: the sequences lie end to end in one row; the model must be `attending` to that.

    Returns:
        Two tensors of shape [Σ losses], sequence after sequence.
    """
    causal = model.get_base_model()
    head, vocabulary = causal.get_output_embeddings(), causal.config.get_text_config().vocab_size
    cap = getattr(causal.config.get_text_config(), "final_logit_softcapping", None)
    ids, positions, told = (_row if packed else _padded)(batch, causal.device)
    hidden = causal.base_model(input_ids=ids, use_cache=False, **told).last_hidden_state
    hidden, targets = hidden.flatten(0, 1).index_select(0, positions), ids.flatten()[positions + 1]
    return head_losses(head, cap, hidden, targets, max(at_once // vocabulary, 1))


# ---------------------------------------------------------------------------------------------------- the student


@contextmanager
def _threads(wanted: int | None) -> Iterator[None]:
    usual = torch.get_num_threads()
    torch.set_num_threads(wanted or usual)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


@contextmanager
def _student(settings: LoraKeys, start: Model, seed: int) -> Iterator[Any]:
    """The start model with trainable LoRA matrices, on the CPU; the base is there and as it was afterwards."""
    base, config = load_base(start.base), lora_config(settings)
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_available() else []):
        torch.manual_seed(seed_for(seed, "lora"))  # the initial matrices, then dropout
        model = get_peft_model(base, config)
        try:
            if start.adapter is not None:
                continue_from(model, start.adapter, config)
            if settings.gradient_checkpointing:
                base.gradient_checkpointing_enable({"use_reentrant": False})
            yield model.train()
        finally:
            base.gradient_checkpointing_disable()
            model.unload().eval().to("cpu")
            if config.modules_to_save:
                load_base.cache_clear()  # PEFT leaves the trained copies in the place of the base's own modules
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


# -------------------------------------------------------------------------------------------------------- the fit


def _fit(
    settings: LoraKeys, student: Placement, batches: Sequence[Sequence[Encoded]], progress: Progress | None
) -> list[Step]:
    parameters = [parameter for parameter in student.model.parameters() if parameter.requires_grad]
    optimizer = student.optimizer(optimizer_of(settings, student.model))
    budget = settings.max_tokens_per_batch or (4096 if student.model.device.type == "cuda" else 2048)
    curve = []
    for number, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = group["factor"] * settings.rate(number, len(batches))
        loss, correct, budget = _step(student, batch, budget, settings.packing)
        norm = student.clip(parameters, settings.max_grad_norm or math.inf)
        curve.append(Step(loss=float(loss), correct=int(correct), grad_norm=norm))
        if not (math.isfinite(curve[-1].loss) and math.isfinite(curve[-1].grad_norm)):
            raise TrainingError(
                f"step {number + 1} of {len(batches)}: loss {curve[-1].loss}, gradient norm {curve[-1].grad_norm}. "
                "Lower trainer.learning_rate, or set trainer.warmup_steps."
            )
        optimizer.step()
        optimizer.zero_grad()
        if progress:
            progress(1)
    return curve


def _step(student: Placement, batch: Sequence[Encoded], budget: int, packed: bool) -> tuple[Tensor, Tensor, int]:
    """Add up the gradients of one optimiser step, in smaller micro-batches where the memory does not suffice.

    How a step is cut does not change its result, so it is begun again as a whole: a micro-batch that failed may have
    left a part of its gradients.

    Returns:
        The step's loss, its number of correct tokens, and the budget of padded tokens that was enough.

    Raises:
        TrainingError: a single sequence does not fit, or another rank would be left waiting.
    """
    while True:
        try:
            return *_accumulate(student, batch, budget, packed), budget
        except torch.OutOfMemoryError as error:
            longest = max(len(sequence.ids) for sequence in batch)
            if not student.alone or budget <= longest:
                raise TrainingError(
                    f"the memory is exhausted by micro-batches of {budget} tokens (the longest sequence has {longest})"
                    ": lower trainer.max_tokens_per_batch, or set trainer.gradient_checkpointing=true."
                ) from error
        budget = max(budget // 2, longest)
        logger.warning("memory is exhausted: micro-batches of at most %d tokens from now on", budget)
        for parameter in student.model.parameters():
            parameter.grad = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _accumulate(
    student: Placement, batch: Sequence[Encoded], budget: int, packed: bool = False
) -> tuple[Tensor, Tensor]:
    """Add up the gradients of one optimiser step; its loss and its number of correct tokens."""
    model = student.model
    dtype = model.get_base_model().dtype
    losses = sum(sequence.losses for sequence in batch)
    total, correct = torch.zeros((), device=model.device), torch.zeros((), dtype=torch.int64, device=model.device)
    for group in student.share(batch, budget, packed):
        weights = torch.tensor([sequence.weight for sequence in group], device=model.device)
        counts = torch.tensor([sequence.losses for sequence in group], device=model.device)
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            nll, right = student(token_losses, group, LOGITS_AT_ONCE, packed)
        loss = (nll * weights.repeat_interleave(counts)).sum() / losses
        student.backward(loss)
        total += loss.detach()
        correct += right.sum()
    return student.total(total), student.total(correct)


def _row(batch: Sequence[Encoded], device: torch.device) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Token ids [1, Σ T], the positions [Σ losses] whose next token has a loss, and where the sequences begin."""
    lengths = [len(sequence.ids) for sequence in batch]
    starts = accumulate(lengths, initial=0)
    positions = [
        torch.arange(start + sequence.first_target - 1, start + len(sequence.ids) - 1)
        for start, sequence in zip(starts, batch, strict=False)
    ]
    ids = torch.tensor([[token for sequence in batch for token in sequence.ids]], device=device)
    return ids, torch.cat(positions).to(device), end_to_end(lengths, device)


def _padded(batch: Sequence[Encoded], device: torch.device) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Token ids [B, T], the flat positions [Σ losses] whose next token has a loss, and nothing else to tell."""
    width = max(len(sequence.ids) for sequence in batch)
    rows = [[*sequence.ids, *[0] * (width - len(sequence.ids))] for sequence in batch]
    positions = [
        torch.arange(row * width + sequence.first_target - 1, row * width + len(sequence.ids) - 1)
        for row, sequence in enumerate(batch)
    ]
    return torch.tensor(rows, device=device), torch.cat(positions).to(device), {}


@torch.no_grad()
def _assert_same_law(
    model: Any, prompts: Sequence[Sequence[int]], expected: Sequence[float], packed: bool = False
) -> None:
    """The loss must be that of the model's own forward: no other mask, no other treatment of the logits."""
    sequences = [Encoded(ids=ids, prompt=0) for ids in prompts]
    model.eval()
    nll, _ = token_losses(model, sequences, packed=packed)
    model.train()
    sums = [float(part.sum()) for part in torch.split(nll, [sequence.losses for sequence in sequences])]
    apart = sum(abs(one + other) for one, other in zip(sums, expected, strict=True)) / max(len(nll), 1)
    causal = model.get_base_model()
    if not apart <= (SAME_LAW if causal.dtype == torch.bfloat16 else SAME_LAW / 10):
        way = "it mixes the sequences of a row (trainer.packing=false pads them), " if packed else "it "
        raise TrainingError(
            f"the loss of {type(causal).__name__} differs by {apart:.3g} nats per token from its own forward pass: "
            f"{way}is not causal, or scales its logits in a way that trainers/finetuning.py does not know."
        )

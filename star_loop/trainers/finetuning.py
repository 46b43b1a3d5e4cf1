"""One round of fine-tuning: the torch half of `Round`.

This is a torch module: import it inside functions, never at the top of a module that the loop imports.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting
from torch import Tensor

from star_loop.accounting.memory import activations
from star_loop.errors import counted
from star_loop.models import Model
from star_loop.models.device import device, free_memory
from star_loop.models.onednn import by_onednn
from star_loop.models.weights import computing_dtype, sequence_logprobs, write_canary
from star_loop.protocols import Progress, TrainingError
from star_loop.trainers.attention import attending
from star_loop.trainers.batches import Encoded, Step, beginnings
from star_loop.trainers.forward import Forward, logits_at_once, token_losses
from star_loop.trainers.kernels import fused
from star_loop.trainers.keys import RoundKeys
from star_loop.trainers.objectives import LIKELIHOOD, Objective, objective_of
from star_loop.trainers.optimizers import first_spoilt, optimizer_of, spoilt
from star_loop.trainers.placement import Placement
from star_loop.trainers.students import causal_of, kind_of, load_base

PADDED = Forward()

logger = logging.getLogger(__name__)

SAME_LAW = 0.1
"""Nats per token by which the trainer's log-probabilities may differ from the model's own (rounding in bfloat16)."""


def run(
    settings: RoundKeys,
    batches: Sequence[Sequence[Encoded]],
    start: Model,
    into: Path,
    *,
    seed: int,
    progress: Progress | None,
    place: Callable[[Any], Placement] = Placement,
    fit: Callable[[Any, Placement, Sequence[Sequence[Encoded]], Forward, Progress | None], list[Step]] | None = None,
) -> list[Step]:
    """Train on the batches, prove that what is trained moved and nothing else did, write it into `into`.

    `place` puts the model where it is trained; of several processes, the first writes. `fit` does the steps.

    Raises:
        ValueError: the base is in float16, or the start adapter has another shape than `settings` ask for.
        TrainingError: see `Round.train`.
    """
    kind = kind_of(settings)
    kind.check_room(settings, start, into)
    half = computing_dtype(start.base) == torch.bfloat16
    with (
        _threads(settings.threads), kind.student(settings, start, seed) as model, by_onednn(model),
        attending(causal_of(model), settings.attention, settings.packing),
    ):  # fmt: skip
        if _recomputed(settings, causal_of(model), half):
            causal_of(model).gradient_checkpointing_enable({"use_reentrant": False})
        student = place(model)
        forward = Forward(settings.packing, half, logits_at_once(device(), free_memory()))
        prompts = beginnings([sequence for batch in batches for sequence in batch])
        before = student.frozen(sequence_logprobs, prompts)
        with fused(causal_of(model), settings.kernels):
            student.frozen(_assert_same_law, prompts, before, settings.packing)
            with disable_input_dtype_casting(model, active=half):  # autocast casts by itself, and once
                curve = _proven(student, settings, lambda: (fit or _fit)(settings, student, batches, forward, progress))
            after = student.frozen(sequence_logprobs, prompts)
        kind.write(student, start.base, into)
        if student.first:
            write_canary(into, prompts, before, after)
    return curve


def _proven(student: Placement, settings: RoundKeys, train: Callable[[], list[Step]]) -> list[Step]:
    """Train, and prove that what is trained moved and nothing else did.

    Raises:
        TrainingError: it did not, or something else did.
    """
    frozen, trainable = student.checksums(trainable=False), student.checksums(trainable=True)
    curve = train()
    if student.somewhere(student.checksums(trainable=False) != frozen):
        load_base.cache_clear()
        raise TrainingError("weights of the frozen base changed in training; the adapter is not usable.")
    if not student.somewhere(student.checksums(trainable=True) != trainable):
        raise TrainingError(
            f"no weight moved in {counted(len(curve), 'step')} (learning_rate={settings.learning_rate}, mean "
            f"gradient norm {sum(step.grad_norm for step in curve) / len(curve):g}): raise trainer.learning_rate."
        )
    return curve


@contextmanager
def _threads(wanted: int | None) -> Iterator[None]:
    usual = torch.get_num_threads()
    torch.set_num_threads(wanted or usual)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def _budget(settings: RoundKeys, device: str) -> int:
    """Tokens at once."""
    return settings.max_tokens_per_batch or (4096 if device == "cuda" else 2048)


def _recomputed(settings: RoundKeys, causal: Any, half: bool) -> bool:
    """Tell whether activations are computed twice: as the key says, otherwise where they would not fit."""
    if settings.gradient_checkpointing is not None or not causal.supports_gradient_checkpointing:
        return bool(settings.gradient_checkpointing)
    text = causal.config.get_text_config()
    kept = activations(
        tokens=_budget(settings, device()), layers=text.num_hidden_layers, hidden=text.hidden_size,
        bytes_each=2 if half else 4,
    )  # fmt: skip
    return kept > free_memory() / 2


# -------------------------------------------------------------------------------------------------------- the fit


def _fit(
    settings: RoundKeys, student: Placement, batches: Sequence[Sequence[Encoded]], forward: Forward,
    progress: Progress | None,
) -> list[Step]:  # fmt: skip
    parameters = [parameter for parameter in student.model.parameters() if parameter.requires_grad]
    optimizer = student.optimizer(optimizer_of(settings, student.model))
    budget = _budget(settings, student.model.device.type)
    student.model.eval()  # what is compared with is measured without dropout
    objective = objective_of(settings, batches, lambda group: student.frozen(forward, group)[0], budget)
    student.model.train()
    curve = []
    for number, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = group["factor"] * settings.rate(number, len(batches))
        loss, correct, budget = _step(student, batch, budget, forward, objective)
        norm = student.clip(parameters, settings.max_grad_norm or math.inf)
        curve.append(Step(loss=float(loss), correct=int(correct), grad_norm=norm))
        if not (math.isfinite(curve[-1].loss) and math.isfinite(curve[-1].grad_norm)):
            raise TrainingError(
                f"step {number + 1} of {len(batches)}: loss {curve[-1].loss}, gradient norm {curve[-1].grad_norm}. "
                "Lower trainer.learning_rate, or set trainer.warmup_steps."
            )
        optimizer.step()
        if student.somewhere(spoilt(optimizer, student.here)):
            raise TrainingError(
                f"step {number + 1} of {len(batches)}: {first_spoilt(optimizer, student.model)} is not a finite number "
                f"(gradient norm {norm:g}): lower trainer.learning_rate, or set trainer.max_grad_norm=1."
            )
        optimizer.zero_grad()
        if progress:
            progress(1)
    return curve


def _step(
    student: Placement, batch: Sequence[Encoded], budget: int, forward: Forward, objective: Objective
) -> tuple[Tensor, Tensor, int]:
    """Add up the gradients of one optimiser step, in smaller micro-batches where the memory does not suffice.

    How a step is cut does not change its result, so it is begun again as a whole: a micro-batch that failed may have
    left a part of its gradients.

    Returns:
        The step's loss, its number of correct tokens, and the budget of tokens that was enough.

    Raises:
        TrainingError: a single sequence does not fit, or another rank would be left waiting.
    """
    while True:
        try:
            return *_accumulate(student, batch, budget, forward, objective), budget
        except torch.OutOfMemoryError as error:
            longest = max(one.room for one in batch)
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
    student: Placement, batch: Sequence[Encoded], budget: int, forward: Forward = PADDED,
    objective: Objective = LIKELIHOOD,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Add up the gradients of one optimiser step; its loss and its number of correct tokens."""
    device, count = student.model.device, objective.count(batch)
    total, correct = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device)
    for group in student.share(batch, budget, forward.packed):
        nll, right = student(forward, [sequence for one in group for sequence in one.sequences])
        loss = objective(group, nll) / count
        student.backward(loss)
        total += loss.detach()
        correct += right.sum()
    return student.total(total), student.total(correct)


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
    causal = causal_of(model)
    exact = causal.dtype != torch.bfloat16 and not getattr(causal, "is_quantized", False)
    if not apart <= (SAME_LAW / 10 if exact else SAME_LAW):
        way = "it mixes the sequences of a row (trainer.packing=false pads them), " if packed else "it "
        raise TrainingError(
            f"the loss of {type(causal).__name__} differs by {apart:.3g} nats per token from its own forward pass: "
            f"{way}is not causal, or scales its logits in a way that trainers/finetuning.py does not know; or a kernel "
            "is wrong (trainer.kernels)."
        )

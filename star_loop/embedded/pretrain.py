"""Pre-training of the tiny base model on worked solutions.

A torch module. Muon trains the hidden matrices, AdamW the embeddings, the head and the norms.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase
from transformers.utils import logging

from star_loop.embedded.recipe import Pair, Recipe
from star_loop.embedded.tokenizer import BOS, EOS, PAD, VOCABULARY, byte_tokenizer
from star_loop.seeding import seed_for

HEAD = 32
"""Dimension of an attention head, the smallest that vLLM serves on a CPU."""
Report = Callable[[int, float], None]
"""Called with the number of steps done and the loss of the last."""


@dataclass(frozen=True)
class Batch:
    """One optimiser step's examples, padded at the right: int64 tensors of shape (batch, length)."""

    ids: torch.Tensor
    positions: torch.Tensor
    scored: torch.Tensor
    """True where the next token belongs to the completion."""

    @staticmethod
    def of(recipe: Recipe, step: int, tokenizer: PreTrainedTokenizerBase) -> "Batch":
        """Return the examples of one step, encoded."""
        rows = [_encode(pair, tokenizer) for pair in recipe.examples(step)]
        length = max(len(prompt) + len(completion) for prompt, completion in rows)
        ids = torch.full((len(rows), length), PAD)
        scored = torch.zeros((len(rows), length), dtype=torch.bool)
        for i, (prompt, completion) in enumerate(rows):
            total = len(prompt) + len(completion)
            ids[i, :total] = torch.tensor(prompt + completion)
            scored[i, len(prompt) - 1 : total - 1] = True
        return Batch(ids, torch.from_numpy(recipe.positions(step, length)), scored)


def pretrain(recipe: Recipe, report: Report | None = None) -> LlamaForCausalLM:
    """Build and train the model; the same recipe gives the same bits."""
    torch.set_num_threads(recipe.threads)
    model = _new_model(recipe)
    tokenizer = byte_tokenizer(recipe.context)
    optimisers = _optimisers(model, recipe)
    for step in range(recipe.steps):
        loss = _loss(model, Batch.of(recipe, step, tokenizer))
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser, rate in optimisers:
            optimiser.param_groups[0]["lr"] = rate * _schedule(recipe, step)
            optimiser.step()
            optimiser.zero_grad()
        if report:
            report(step + 1, loss.item())
    return model.eval()


def save(model: LlamaForCausalLM, recipe: Recipe, into: Path) -> None:
    """Write weights (safetensors), configuration and tokenizer."""
    logging.disable_progress_bar()
    model.save_pretrained(into)
    byte_tokenizer(recipe.context).save_pretrained(into)


def _new_model(recipe: Recipe) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.hidden // HEAD,
        num_key_value_heads=recipe.hidden // HEAD,
        head_dim=HEAD,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=False,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        dtype="float32",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed_for(recipe.seed, "weights"))
        return LlamaForCausalLM(config).train()


def _encode(pair: Pair, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    prompt, completion = pair
    return tokenizer(prompt).input_ids, [*tokenizer(completion, add_special_tokens=False).input_ids, EOS]


def _loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    # An explicit mask: without one, transformers takes a gap in the position ids for the start of another sequence.
    mask = torch.ones_like(batch.ids)
    hidden = model.model(input_ids=batch.ids, position_ids=batch.positions, attention_mask=mask, use_cache=False)
    logits = model.lm_head(hidden.last_hidden_state[batch.scored])
    return torch.nn.functional.cross_entropy(logits, batch.ids.roll(-1, dims=1)[batch.scored])


def _optimisers(model: LlamaForCausalLM, recipe: Recipe) -> list[tuple[torch.optim.Optimizer, float]]:
    hidden = [p for p in model.model.layers.parameters() if p.ndim == 2]
    matrices = {id(p) for p in hidden}
    others = [p for p in model.parameters() if id(p) not in matrices]
    muon = torch.optim.Muon(hidden, lr=recipe.muon_rate, momentum=0.95, weight_decay=0.01)
    adam = torch.optim.AdamW(others, lr=recipe.adam_rate, betas=(0.9, 0.98), weight_decay=0.0)
    return [(muon, recipe.muon_rate), (adam, recipe.adam_rate)]


def _schedule(recipe: Recipe, step: int) -> float:
    """Linear warm-up, constant, linear decay to zero: the factor of the learning rate at a step."""
    warm = (step + 1) / max(1, recipe.warmup)
    fall = (recipe.steps - step) / max(1.0, recipe.decay * recipe.steps)
    return min(1.0, warm, fall)

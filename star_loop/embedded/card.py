"""The model card of the tiny base model: how it was made, and what it can and cannot do yet. A torch module."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from star_loop.embedded.recipe import Recipe
from star_loop.embedded.tokenizer import byte_tokenizer
from star_loop.records import Observation
from star_loop.tasks.arithmetic import Arithmetic, SkillName

Accuracies = Mapping[SkillName, Mapping[int, float]]
"""Skill -> level -> share of right answers, greedy and zero-shot."""

BEYOND = 4
"""Levels above the highest taught one that the card shows."""


def measure(model: LlamaForCausalLM, recipe: Recipe, per_level: int) -> Accuracies:
    """Measure accuracy on validation problems, from level 2 (level 1 has few) to `BEYOND` levels above those taught."""
    levels = {skill: tuple(range(2, max(taught) + BEYOND + 1)) for skill, taught in recipe.taught.items()}
    task = Arithmetic(
        levels=levels, train_per_level=1, validation_per_level=per_level, test_per_level=1, seed=recipe.seed
    )
    cells = {cell: list(found) for cell, found in groupby(task.validation(), key=lambda o: (o.skill, o.level))}
    return {
        skill: {level: _accuracy(model, cells[skill, level], task, recipe) for level in levels[skill]}
        for skill in levels
    }


def write(into: Path, recipe: Recipe, accuracies: Accuracies, seconds: float, parameters: int) -> None:
    """Write `README.md` beside the weights."""
    (into / "README.md").write_text(_render(recipe, accuracies, seconds, parameters), encoding="utf-8")


@torch.inference_mode()
def _accuracy(model: LlamaForCausalLM, questions: Sequence[Observation], task: Arithmetic, recipe: Recipe) -> float:
    """Share of right greedy completions of questions of one length, which need no padding."""
    tokenizer = byte_tokenizer(recipe.context)
    prompts = tokenizer([task.bare_prompt(o) for o in questions], return_tensors="pt")
    longest = max(len(task.gold_text(o)) for o in questions) + 8
    generated = model.generate(**prompts, do_sample=False, max_new_tokens=longest)
    texts = tokenizer.batch_decode(generated[:, prompts.input_ids.shape[1] :], skip_special_tokens=True)
    return sum(task.verifier.judge(o, text).correct for o, text in zip(questions, texts, strict=True)) / len(questions)


def _render(recipe: Recipe, accuracies: Accuracies, seconds: float, parameters: int) -> str:
    settings = recipe.model_dump(exclude={"taught"})
    return _CARD.format(
        parameters=f"{parameters:,}",
        seconds=f"{seconds:.0f}",
        examples=f"{recipe.steps * recipe.batch:,}",
        settings="\n".join(f"| {key} | {value} |" for key, value in settings.items()),
        taught="\n".join(f"| {skill} | {_taught(levels)} |" for skill, levels in recipe.taught.items()),
        accuracies=_table(accuracies, recipe),
    )


def _taught(levels: Mapping[int, float]) -> str:
    return ", ".join(f"{level} (×{weight:g})" for level, weight in levels.items())


def _table(accuracies: Accuracies, recipe: Recipe) -> str:
    """Write one row for each skill; levels that were taught in bold."""
    if not accuracies:
        return "(not measured)"
    levels = sorted({level for row in accuracies.values() for level in row})
    lines = ["| skill | " + " | ".join(map(str, levels)) + " |", "|---" * (len(levels) + 1) + "|"]
    for skill, row in accuracies.items():
        cells = [
            f"**{row[n]:.2f}**" if n in recipe.taught[skill] else f"{row[n]:.2f}" if n in row else "" for n in levels
        ]
        lines.append(f"| {skill} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


_CARD = """\
# tiny: a base model that has been taught easy column arithmetic

The model of star_loop's default run: a Llama of {parameters} parameters over bytes, small enough to ship, to serve
and to fine-tune on two CPU cores. It was pre-trained on worked solutions of easy questions only; what lies beyond is
for the loop to find out. It knows no language and has no other use. All of its data are generated; licence: Apache-2.0,
like the package.

Build it again from nothing (same versions, same kind of processor: same bits):

    python -m star_loop.embedded --out DIRECTORY

## Architecture
LlamaForCausalLM in float32, heads of 32, input and output embeddings not tied. The tokenizer has one token for each
byte, `<bos>`, `<eos>` and `<pad>`: any UTF-8 text has an encoding and comes back unchanged.

## Training
{examples} examples, each used once, in {seconds} s. The loss is on the worked solution alone. Muon trains the hidden
matrices, AdamW the rest; the learning rates warm up linearly and fall to zero linearly over the last part. A share of
the examples has the answer in the prompt, as rationalization has. In most examples the position ids jump ahead at
random places (in use they are contiguous), and in some the question's columns after the first are shuffled: so digits
are looked up by their letter, which also works in questions longer than any in training.

| setting | value |
|---|---|
{settings}

What was taught, in columns (and how often, relative to each other):

| skill | levels |
|---|---|
{taught}

Whether a problem may be trained on is decided by a hash of its operands: no validation or test question of the task
`arithmetic`, whatever its seed, was seen in pre-training.

## Accuracy
Greedy and zero-shot on validation problems, by skill and number of columns; bold: taught.

{accuracies}
"""

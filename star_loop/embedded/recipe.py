"""How the tiny base model is made: its shape, what it is taught, and how it is trained."""

import re
from collections.abc import Mapping

import numpy as np
from pydantic import Field

from star_loop.config.component import Component
from star_loop.seeding import rng
from star_loop.tasks.arithmetic import Level, SkillName, hinted, split_of
from star_loop.verifiers.columns import Problem, draw

Pair = tuple[str, str]
"""A prompt and its worked solution."""


class Recipe(Component):
    """Everything that the weights depend on, besides the versions of torch and transformers and the machine."""

    seed: int = 0
    """Seed of weights and data."""
    threads: int = Field(default=1, ge=1)
    """Threads of torch: sums split over another number of threads round differently."""

    hidden: int = 96
    """Width of the residual stream."""
    layers: int = 3
    """Transformer blocks."""
    intermediate: int = 256
    """Width of the MLP."""
    context: int = 4096
    """Longest sequence."""

    taught: Mapping[SkillName, Mapping[Level, float]] = {
        "addition": {1: 1, 2: 1, 3: 2, 4: 3, 5: 3},
        "subtraction": {1: 1, 2: 1, 3: 2, 4: 3, 5: 3},
        "multiplication": {1: 1, 2: 1, 3: 2, 4: 3, 5: 3},
        "three_sum": {1: 1, 2: 1, 3: 2, 4: 3},
        "multiply_add": {1: 1, 2: 1, 3: 2, 4: 3},
    }
    """Skill -> level -> how often, relative to the others; skills in equal parts."""
    hint_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the examples that have the answer in the prompt: rationalization needs to know that form."""

    shuffle_share: float = Field(default=0.5, ge=0, le=1)
    """Of the examples, with the question's columns after the first in random order: so the digits of a row are looked
    up by their letter, and not counted off."""

    steps: int = Field(default=1000, ge=1)
    """Optimiser steps."""
    batch: int = Field(default=64, ge=1)
    """Sequences per step."""
    group: int = Field(default=4, ge=1)
    """Steps whose examples are drawn together and then sorted by length, so that little is padding."""
    warmup: int = 40
    """Steps of linear rise."""
    decay: float = Field(default=0.3, ge=0, le=1)
    """Share of the steps over which the learning rate falls to zero at the end."""
    muon_rate: float = 0.03
    """Muon's learning rate, for matrices."""
    adam_rate: float = 4e-3
    """Adam's learning rate, for the rest."""
    max_gap: int = 4
    """The position ids of a training example jump by up to this many at random places, so that questions longer than
    any in training look no different from those."""
    ungapped: float = 0.3
    """Share of examples without any jump."""
    gap_rate: float = 1.0
    """Highest probability of a jump at a token in the others; each of them has its own, uniform from 0."""

    def examples(self, step: int) -> list[Pair]:
        """Return the examples of one optimiser step, of similar length.

        Fresh for each step, from the training split only.
        """
        group, place = divmod(step, self.group)
        generator = rng(self.seed, "pretrain", group)
        pairs = sorted((self._example(generator) for _ in range(self.group * self.batch)), key=_length)
        place = int(generator.permutation(self.group)[place])
        return pairs[place * self.batch : (place + 1) * self.batch]

    def positions(self, step: int, length: int) -> np.ndarray:
        """Draw position ids with random gaps for the examples of one step: int64, (batch, length)."""
        generator = rng(self.seed, "gaps", step)
        rate = generator.uniform(0, self.gap_rate, size=(self.batch, 1))
        rate *= generator.random((self.batch, 1)) >= self.ungapped
        jumps = generator.integers(1, self.max_gap + 1, size=(self.batch, length))
        jumps *= generator.random((self.batch, length)) < rate
        steps = 1 + jumps
        steps[:, 0] = 0
        return steps.cumsum(axis=1)

    def _example(self, generator: np.random.Generator) -> Pair:
        skill = list(self.taught)[generator.integers(len(self.taught))]
        levels, weights = zip(*self.taught[skill].items(), strict=True)
        level = int(generator.choice(levels, p=np.array(weights) / sum(weights)))
        problem = _training_problem(skill, level, generator)
        hint = generator.random() < self.hint_share
        prompt = hinted(problem.question) if hint else problem.question
        if generator.random() < self.shuffle_share:
            prompt = prompt.removesuffix(problem.question) + _shuffled(problem, generator)
        return prompt, problem.rationale


def _length(pair: Pair) -> int:
    return len(pair[0]) + len(pair[1])


def _shuffled(problem: Problem, generator: np.random.Generator) -> str:
    """Return the question with all columns but the first in random order."""
    cells = re.findall("[a-z][0-9]+", problem.question)
    order = [0, *(1 + generator.permutation(len(cells) - 1))]
    sign = problem.question[sum(map(len, cells)) :]
    return "".join(cells[i] for i in order) + sign


def _training_problem(skill: str, level: int, generator: np.random.Generator) -> Problem:
    """Return a problem that no validation and no test set can contain."""
    while split_of(problem := draw(skill, level, generator)) != "train":
        pass
    return problem

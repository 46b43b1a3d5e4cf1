"""Everything a run is made of: the root of the configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from star_loop.accounting.metrics import VOTES
from star_loop.config.component import Component, Words
from star_loop.config.help import parts
from star_loop.evaluation import Evaluation
from star_loop.models import Pretrained
from star_loop.preparations import Preparation
from star_loop.protocols import Allocator, Generator, Sampler, Selector, Task, Tracker, Trainer, Verifier
from star_loop.records import Observation, Sampling
from star_loop.rewards import Reward
from star_loop.run.mirror import Mirror, check_place
from star_loop.schedule import Schedule
from star_loop.scorers import Scorer
from star_loop.searches.balance import Balance
from star_loop.selectors.contrast import Contrast
from star_loop.tasks.splitting import SplitTask


class Experiment(Component):
    """One row of a paper's table, and where to run it."""

    model_config = ConfigDict(coerce_numbers_to_str=True)  # a run may be called 1

    name: str
    """The run directory is `outputs/<name>`."""
    outputs: Path = Path("outputs")
    """The folder of all run directories."""
    seed: int = Field(0, ge=0)
    """Of every random draw."""
    iterations: int = Field(8, ge=0)
    """After how many the run is complete; iteration 0 is the base model."""
    start_from: Literal["base", "previous"] = "previous"
    """What each round fine-tunes: the base model again (STaR), or the previous model (STaR-Acc, AdaSTaR)."""
    second_try: Literal["none", "resample", "rationalize"] = "none"
    """For observations whose first try failed: one more draw, without or with the answer shown as a hint."""
    resume: Literal["if_available", "always", "never"] = "if_available"
    """`if_available`: continue a run that is there; `always`: only that; `never`: refuse it."""
    keep: Literal["all", "best"] = "all"
    """Which adapters stay; `best`: of the first iteration, of the best on validation and of the last two."""
    fork: str | None = None
    """`<run>/iterations/<NNNN>`: begin with that run's iterations up to this one; of a mirror, as a URL."""
    mirror: str | None = None
    """`s3://bucket/folder`, `file:///folder`, …: copy what is committed to `<mirror>/<name>` (fsspec)."""
    tags: Words = ()
    """By which trackers and the report find the run again: `tags=[baseline,7b]`."""
    notes: str | None = None
    """What is to be remembered of it, for trackers and the report."""
    task: Task
    """Where questions and prompts come from."""
    model: Pretrained
    """The base model."""
    schedule: Schedule
    """How much each iteration collects and trains."""
    preparation: Mapping[str, Preparation] = Field(default_factory=dict)
    """What is learned about the observations once, before the first iteration, in order."""
    search: Balance | None = None
    """Which temperature to sample with, before each iteration; None: the generator's own."""
    reward: Reward | None = None
    """Marks collected rationales, for selectors and B-STaR's search; None: only the verifier does."""
    sampler: Sampler
    """Which observations are asked, in which order."""
    allocator: Allocator
    """How many rollouts each observation gets."""
    scorer: Scorer | None = None
    """Scores the correct rationales for selectors that want it."""
    selectors: Mapping[str, Selector]
    """Applied in order."""
    generator: Generator
    """What generates rationales."""
    trainer: Trainer
    """What fine-tunes the model."""
    evaluation: Evaluation
    """How a model is measured."""
    tracker: Mapping[str, Tracker]
    """Who is told how the run goes, by name."""

    @model_validator(mode="before")
    @classmethod
    def _with_rows(cls, keys: Any) -> Any:
        task, reward = keys.get("task"), keys.get("reward")
        rows = isinstance(task, Task) and isinstance(reward, Reward) and reward.rows
        return {**keys, "task": task.with_rows()} if rows else keys

    @model_validator(mode="before")
    @classmethod
    def _ask_the_model(cls, keys: Any) -> Any:
        task, model = keys.get("task"), keys.get("model")
        known = isinstance(task, SplitTask) and isinstance(model, Pretrained)
        return {**keys, "task": task.in_turns(model.chat_template)} if known else keys

    def check(self) -> None:
        """Look for a selector that wants scores and has no scorer, or weighs for a trainer that does not heed weights,
        for a scorer whose engine cannot tell, for turns without a chat template, for a model that has no weights or
        that the trainer cannot train, and for the mirror's place.

        Raises:
            ValueError: names it.
        """
        if self.mirror is not None:
            check_place(self.mirror, self.outputs)
        if self.task.turns and not self.model.chat_template:
            raise ValueError("task.turns=true needs a model with a chat template: set model.chat_template=true")
        if self.scorer is not None and self.scorer.asks_engine and not self.generator.scores:
            raise ValueError("scorer=engine asks vLLM for probabilities: take generator=vllm, or scorer=student")
        self._check_selectors()
        self._check_contrast()
        if self.task.labels == "majority":
            self._check_votes()
        if self.model.weightless:
            self._check_weightless()
        self.trainer.check_base(self.model)
        if (rank := self.generator.rank_beside) is not None:
            self.trainer.check_beside(rank)

    def _check_weightless(self) -> None:
        made_of = [key for key, part in parts(self) if part.needs_base]
        # A preparation may not need what it is made of, and says so itself.
        keys = [key for key in made_of if not key.startswith("preparation.") or key.count(".") == 1]
        if self.model.chat_template:
            keys.append("model.chat_template")
        if keys:
            take = (f"{key}=scripted" if key in ("generator", "trainer", "scorer") else f"no {key}" for key in keys)
            raise ValueError(
                f"model=scripted has no weights and no tokenizer for {', '.join(keys)}: take {', '.join(take)}, or "
                "another model="
            )

    def _check_selectors(self) -> None:
        for name, selector in self.selectors.items():
            parts = selector.parts.items() if isinstance(selector, Contrast) else ()
            for key, part in ((name, selector), *((f"{name}.{inner}", part) for inner, part in parts)):
                if part.scored and self.scorer is None:
                    raise ValueError(f"selectors.{key} weighs rationales by their scores: add scorer=student")
                if part.weighs and not self.trainer.heeds_weights:
                    raise ValueError(
                        f"selectors.{key} gives rationales different weights, of which the trainer knows nothing: take "
                        "trainer=lora, or selectors that do not weigh"
                    )

    def _check_contrast(self) -> None:
        """Wrong rationales are trained on where they are meant, and nowhere else."""
        loss = getattr(self.trainer, "loss", None)  # a trainer that has no such key takes what it is given
        kept = [name for name, selector in self.selectors.items() if isinstance(selector, Contrast)]
        if kept and loss == "nll":
            raise ValueError(
                f"selectors.{kept[0]} keeps wrong rationales, which trainer.loss=nll cannot use: set trainer.loss=rift "
                "or dpo"
            )
        if not kept and loss not in (None, "nll"):
            raise ValueError(
                f"trainer.loss={loss} uses wrong rationales, and no selector keeps any: take selectors="
                f"{'pairs' if loss == 'dpo' else 'contrast'}"
            )

    def _check_votes(self) -> None:
        for key, part in parts(self.task, "task"):
            within = key.startswith("task.verifier.")  # what a verifier is made of
            if isinstance(part, Verifier) and not within and not part.takes_labels:
                raise ValueError(
                    f"{key}: {type(part).__name__} judges by something else than the gold answer, in whose place "
                    "task.labels=majority puts another: take task.labels=gold, or a verifier that compares answers"
                )
        if self.second_try == "rationalize":
            raise ValueError(
                "second_try=rationalize shows the gold answers, which task.labels=majority does without: take "
                "second_try=none or resample"
            )
        if (rollouts := getattr(self.allocator, "rollouts", VOTES)) < VOTES:
            raise ValueError(
                f"task.labels=majority counts the answers of a question, and allocator.rollouts={rollouts} draws no "
                "more: give allocator.rollouts=8"
            )

    @property
    def listeners(self) -> dict[str, Tracker]:
        """Return who is told of commits: the trackers, and the mirror."""
        mirror = {} if self.mirror is None else {"mirror": Mirror(url=self.mirror, outputs=self.outputs)}
        return {**self.tracker, **mirror}

    def sampling(self, observation: Observation) -> Sampling:
        """Return how rationales about an observation are drawn."""
        g = self.generator
        return Sampling(
            temperature=g.temperature, max_tokens=g.max_tokens, top_p=g.top_p, top_k=g.top_k, min_p=g.min_p,
            repetition_penalty=g.repetition_penalty, stop=self.task.stop_of(observation), thinking=g.thinking_tokens,
        )  # fmt: skip

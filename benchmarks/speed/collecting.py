"""Collecting as the loop does it: a stream that is judged, journalled and written, beside bare generation."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from benchmarks.speed.generation import Bare, started
from benchmarks.speed.measuring import Row, alternated, ratios, seconds
from benchmarks.speed.sizes import Size, model, questions
from star_loop.config.build import build
from star_loop.config.hydra import composed
from star_loop.generators.vllm import Vllm
from star_loop.models import Pretrained
from star_loop.protocols import Engine, Session
from star_loop.records import Observation, Rollout
from star_loop.run.directory import RunDirectory
from star_loop.stages import load
from star_loop.stages.checkpoint import first_checkpoint
from star_loop.stages.collect import collect
from star_loop.stages.live import LiveRun

QUOTAS = 8
"""A quota is this part of the questions, so that the pass stops in their middle."""


class Collecting:
    """One iteration's collection after the other, each of the base model and in a run directory of its own.

    Args:
        quota: correct rationales wanted; None: as many as the questions give. What fails is tried again.
    """

    def __init__(
        self, engine: Engine, base: Pretrained, questions: Sequence[Observation], tokens: int, work: Path,
        quota: int | None = None,
    ) -> None:  # fmt: skip
        wanted = ("sampler=uniform", f"generator.max_tokens={tokens}", f"schedule.quota={quota or 'null'}")
        experiment = build(composed([*wanted, "second_try=resample"]))
        self._experiment = experiment.model_copy(update={"model": base})
        self._engine, self._questions, self._work, self._numbers = engine, questions, work, count()
        self.surplus: list[float] = []
        """Of each collection, rollouts that were begun in vain over all."""
        self.accepted: list[int] = []
        """Of each collection, correct rationales."""

    def __call__(self) -> float:
        """Collect once.

        Returns:
            Tokens a second of what is learned from.
        """
        number, experiment = next(self._numbers), self._experiment
        run = RunDirectory(self._work / str(number))
        run.path.mkdir(parents=True)
        live = LiveRun(
            experiment=experiment.model_copy(update={"seed": number}), run=run, engine=self._engine, session=Session(),
            splits={"train": self._questions, "validation": [], "test": []}, shots=False,
        )  # fmt: skip
        before = first_checkpoint(experiment, len(self._questions), load.columns(self._questions))
        found: list[Rollout] = []
        took = seconds(lambda: found.extend(collect(live, run.iteration(1), before, before.beliefs, None)[0].rollouts))
        surplus = sum(entry.get("surplus", 0) for entry in run.timings(1))
        self.surplus.append(surplus / (surplus + len(found)))
        self.accepted.append(sum(rollout.correct for rollout in found))
        return sum(rollout.tokens for rollout in found) / took


def rows(size: Size, work: Path) -> Iterator[Row]:
    """Collect in turn with bare generation: all that the questions give, and up to a quota that the model can fill."""
    base, asked = model(size, work), questions(size.requests)
    with ExitStack() as stack:
        engine = started(stack, Vllm(engines=1), base, work / "engine")
        bare = Bare(stack, base, asked, size.tokens, work / "bare")
        whole = Collecting(engine, base, asked, size.tokens, work / "whole")
        ours, theirs = alternated(whole, bare)
        yield Row(
            what="collecting as a stream, second tries included, tokens/s",
            against="bare `LLM.generate`, same prompts and settings",
            ours=ours, theirs=theirs, unit="tokens/s", figures=ratios(ours, theirs), goal=0.95,
            obstacle="judging and writing take their part of the same cores", remark="judged, journalled and written",
        )  # fmt: skip
        quota = len(asked) // QUOTAS
        if min(whole.accepted) >= quota:
            yield from towards(quota, Collecting(engine, base, asked, size.tokens, work / "stopped", quota), bare)


def towards(quota: int, stopped: Collecting, bare: Bare) -> Iterator[Row]:
    """Collect until a quota, in turn with bare generation."""
    useful, theirs = alternated(stopped, bare)
    yield Row(
        what="collecting until a quota, second tries included, tokens/s", against="the same",
        ours=useful, theirs=theirs, unit="tokens/s", figures=ratios(useful, theirs), goal=0.95,
        obstacle="towards a quota, the last texts and their second tries leave the engine half empty",
        remark=f"{quota} rationales; what was begun in vain is not counted",
    )  # fmt: skip
    surplus = [100 * share for share in stopped.surplus[1:]]
    yield Row(
        what="rollouts begun in vain, of all", against="", ours=surplus, unit="%", figures=surplus, per="%", goal=5.0,
        at_least=False,
    )  # fmt: skip

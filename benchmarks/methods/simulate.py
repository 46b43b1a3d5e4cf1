"""A simulation of schedules and orders, never evidence: the real samplers and quotas on a learner of a few lines.

python -m benchmarks.methods.simulate [seeds]     200 seeds by default, in about 80 seconds

The learner has one logit for each level. A rationale of level j that is trained on raises the logit of level l in
proportion to SPREAD^|j-l|, with diminishing returns. It shows what follows from the order alone: it forgets nothing,
accepts no wrong rationale and makes all observations of a level alike. A ninth level is never solved, and not measured.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.methods.analysis import cost_to, interval, paired
from benchmarks.methods.page import points, ratio, table_head, table_line
from benchmarks.methods.runs import RESULTS, Point
from star_loop.accounting.statistics import concatenate, filling_prefix, first
from star_loop.protocols import Sampler
from star_loop.records import Outcome
from star_loop.samplers.adastar import AdaStar
from star_loop.samplers.cures import Cures
from star_loop.samplers.grouped import Grouped
from star_loop.samplers.peers import Peers
from star_loop.samplers.skill_it import Stratified
from star_loop.samplers.space import Space
from star_loop.samplers.uniform import Uniform
from star_loop.schedule import Schedule
from star_loop.seeding import rng

LOGITS = np.linspace(3.0, -6.0, 8)
"""Of the base model, from level 1 to level 8: success rates from .95 to .002."""
SPREAD, RATE = 0.5, 0.6
WAVE = 64
TARGETS = (0.6, 0.7)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A pool of observations and a schedule."""

    name: str
    shares: tuple[int, ...]
    """Observations of each level, and of what is out of reach."""
    schedule: Schedule
    iterations: int


WORLDS = (
    World(name="balanced", shares=(360,) * 8, schedule=Schedule(steps=20, wave=WAVE), iterations=12),
    World(
        name="imbalanced, constant quota",
        shares=(900, 450, 225, 112, 56, 28, 14, 7),
        schedule=Schedule(steps=40, growth=1.0, wave=WAVE),
        iterations=16,
    ),
    World(
        name="three in eight out of reach, constant quota",
        shares=(225,) * 8 + (1080,),
        schedule=Schedule(steps=40, growth=1.0, wave=WAVE),
        iterations=12,
    ),
)
ORDERS: Mapping[str, Sampler] = {
    "random": Uniform(),
    "AdaSTaR": AdaStar(),
    "AdaD": AdaStar(power=0.0),
    "hardest first": AdaStar(power=0.0, priority="win_then_last"),
    "peers": Peers(),
    "CurES prompts": Cures(),
    "SPaCe": Grouped(mixture=Space(), within=Uniform()),
    "stratified": Grouped(mixture=Stratified(), within=Uniform()),
}


def simulated(world: World, sampler: Sampler, seed: int) -> list[Point]:
    """Mean success rate over the levels and rollouts so far, after each iteration."""
    levels = np.repeat(np.arange(len(world.shares)), world.shares)
    levels = rng(seed, "simulation", "pool").permutation(levels)
    columns = {"skill": levels.astype(np.int32), "length": np.zeros(len(levels), np.int32)}
    state, learned = sampler.init(columns, rng(seed, "sampler")), np.zeros(len(LOGITS))
    curve, spent = [{"accuracy": rates(learned).mean(), "rollouts": 0.0}], 0
    for t in range(1, world.iterations + 1):
        quota, waves = world.schedule.quota_at(t), list[Outcome]()
        assert quota is not None
        while True:
            proposal, state = sampler.propose(state, WAVE, rng(seed, "sampler", t))
            if not len(proposal.positions):
                break
            luck = rng(seed, "simulation", "rollouts", t, len(waves))
            p = np.append(rates(learned), 0.0)[levels[proposal.positions]]
            waves.append(asked(t, proposal.positions, p, luck))
            state = sampler.observe(state, waves[-1])
            if filling_prefix(concatenate(waves), quota, 1) is not None:
                break
        spent += sum(int(wave.attempts.sum()) for wave in waves)
        outcome = concatenate(waves)
        if (m := filling_prefix(outcome, quota, 1)) is not None:
            outcome = first(outcome, m)
        state = sampler.learn(state, outcome)
        kept = np.bincount(levels[outcome.positions[outcome.accepted]], minlength=len(LOGITS))[: len(LOGITS)]
        learned = learned + gains(kept)
        curve.append({"accuracy": float(rates(learned).mean()), "rollouts": float(spent)})
    return curve


def asked(t: int, positions: NDArray[np.int64], p: NDArray[np.float64], luck: np.random.Generator) -> Outcome:
    """A first try of each, and a second where it failed."""
    one, two = luck.random(len(p)) < p, luck.random(len(p)) < p
    none = np.zeros(len(p), np.int64)
    return Outcome(
        iteration=t, positions=positions, metrics={}, attempts=2 - one, wins=np.where(one, 1, two).astype(np.int64),
        hinted_attempts=none, hinted_wins=none, first_attempts=none + 1, first_wins=one.astype(np.int64),
    )  # fmt: skip


def rates(learned: NDArray[np.float64]) -> NDArray[np.float64]:
    """Success rate of each level."""
    share: NDArray[np.float64] = 1 / (1 + np.exp(-(LOGITS + learned)))
    return share


def gains(kept: NDArray[np.int64]) -> NDArray[np.float64]:
    """What a round on so many rationales of each level adds to the logits."""
    near = SPREAD ** np.abs(np.subtract.outer(np.arange(len(LOGITS)), np.arange(len(LOGITS))))
    gained: NDArray[np.float64] = RATE * np.log1p(near @ kept / 40)
    return gained


def main() -> None:
    """Print the tables and keep them."""
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
    text = ["# Simulation of orders\n", "Not evidence: " + (__doc__ or "").partition("\n\n")[2].partition("\n\n")[2]]
    for world in WORLDS:
        curves = {name: {seed: simulated(world, sampler, seed) for seed in seeds} for name, sampler in ORDERS.items()}
        text += [f"## {world.name}, {len(seeds)} seeds\n"]
        head = [f"rollouts to {100 * target:.0f} %, ratio to random" for target in TARGETS]
        text += [table_head("order", "accuracy, end", "against random", "rollouts, ratio to random", *head)]
        for name, found in curves.items():
            ends = {seed: curve[-1]["accuracy"] for seed, curve in found.items()}
            base = {seed: curve[-1]["accuracy"] for seed, curve in curves["random"].items()}
            cells = [points(interval(list(ends.values()))), points(paired(ends, base), signed=True)]
            spent, usual = (
                {seed: curve[-1]["rollouts"] for seed, curve in c.items()} for c in (found, curves["random"])
            )
            cells.append(ratio(paired(spent, usual, ratio=True)))
            for target in TARGETS:
                ours, theirs = (
                    {seed: cost_to(curve, target, "rollouts") for seed, curve in c.items()}
                    for c in (found, curves["random"])
                )
                cells.append(ratio(paired(ours, theirs, ratio=True)))
            text.append(table_line(name, *cells))
        text.append("")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "simulation.md").write_text("\n".join(text), encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()

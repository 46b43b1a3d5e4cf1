"""What samplers cost as the observations grow: CPU seconds of a proposal plus learning, and peak memory.

python -m benchmarks.samplers [largest]     10⁴ … 10⁷ observations by default, each size in a process of its own
"""

import subprocess
import sys
from time import process_time

import numpy as np

from benchmarks.speed.measuring import resident
from star_loop.accounting.statistics import Statistics
from star_loop.protocols import Sampler
from star_loop.records import Outcome, State
from star_loop.samplers.adastar import AdaStar
from star_loop.samplers.cures import Cures
from star_loop.samplers.grouped import Grouped
from star_loop.samplers.skill_it import SkillIt
from star_loop.samplers.space import Space
from star_loop.samplers.uniform import Uniform
from star_loop.seeding import rng

VISITED = 4096
"""Observations of the iteration that is measured."""
SKILLS = 10


def samplers() -> dict[str, Sampler]:
    """By the name that is printed."""
    return {
        "uniform": Uniform(),
        "adastar": AdaStar(),
        "cures": Cures(),
        "cures, pilots": Cures(subsets=15, pilot_rollouts=4),
        "space": Grouped(mixture=Space(), within=Uniform()),
        "skill_it": Grouped(mixture=SkillIt(), within=Uniform()),
        "skill_it × adastar": Grouped(mixture=SkillIt(), within=AdaStar()),
        "space × cures": Grouped(mixture=Space(), within=Cures()),
    }


def measure(name: str, n: int) -> None:
    """Print one line: the second of two iterations, facts included."""
    sampler: Sampler = samplers()[name]
    luck = rng(0, "benchmark")
    columns = {"skill": luck.integers(0, SKILLS, n, np.int32), "length": np.zeros(n, np.int32)}
    state, facts = sampler.init(columns, rng(0)), Statistics.empty(n)
    seconds = 0.0
    for t in (1, 2):
        began = process_time()
        state = piloted(sampler, state, t, luck)
        proposal, during = sampler.propose(state, VISITED, rng(0, "sampler", t))
        outcome = outcome_of(t, proposal.positions, luck)
        state, facts = sampler.learn(during, outcome), facts.add(outcome)
        seconds = process_time() - began
    print(f"{name:20} {n:>10,} observations {seconds:8.3f} s {resident('VmHWM'):6.2f} GB", flush=True)


def piloted(sampler: Sampler, state: State, t: int, luck: np.random.Generator) -> State:
    """After the pilots that it wants."""
    draws = sampler.pilots(state)
    return state if draws is None else sampler.piloted(state, outcome_of(t, np.flatnonzero(draws), luck))


def outcome_of(t: int, positions: np.ndarray, luck: np.random.Generator) -> Outcome:
    """Two rollouts of each, half of them right."""
    n = len(positions)
    none, wins = np.zeros(n, np.int64), luck.integers(0, 3, n)
    return Outcome(
        iteration=t, positions=positions, attempts=none + 2, wins=wins, hinted_attempts=none, hinted_wins=none,
        first_attempts=none + 2, first_wins=wins,
    )  # fmt: skip


def main(largest: int) -> None:
    """Every sampler at every size."""
    for name in samplers():
        for n in (10**k for k in range(4, 8) if 10**k <= largest):
            subprocess.run([sys.executable, "-m", "benchmarks.samplers", name, str(n)], check=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(sys.argv[1], int(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 10**7)

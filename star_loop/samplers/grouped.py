"""Group mass times order within the group: what Skill-It and SPaCe share, and how they compose with any other sampler.

A mixture says how much of each group is asked; any sampler, with beliefs of its own for each group, says which
observations of the group come first. So AdaSTaR within skills has m and α of each skill.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from star_loop.protocols import BootstrapError, Sampler
from star_loop.records import Columns, Metrics, Outcome, Positions, Proposal, State
from star_loop.samplers.mixture import Floats, Mixture, Visits
from star_loop.samplers.order import HEAD, enough
from star_loop.samplers.uniform import take

logger = logging.getLogger(__name__)

Members = NDArray[np.int32]
"""Positions, of which there may be ten million."""
TABLES = ("skill_names", "skill_graph", "graph_names")
"""Columns that are about skills instead of observations."""
PASSING = ("members", "mass", "starts", "order", "cursor")
"""Entries of the state that last for one iteration, with all below `now/` and `queue/`."""


class Grouped(Sampler):
    """Groups by mass, observations of a group in the order of `within`.

    Stratified: every prefix of the order holds the groups in their shares, to within 1 + (mass · groups) observations,
    until one is used up; then the others share in proportion.
    """

    by: tuple[str, ...] = Field(("skill",), min_length=1)
    """The columns whose values make a group: `skill`, `level`, or what a preparation adds."""
    mixture: Mixture
    """How much of each group."""
    within: Sampler
    """The order within a group."""
    without: tuple[str, ...] = ()
    """Groups that are never asked, such as `no_cluster`: what is not in the core-set of `preparation=clusters`."""

    def init(self, columns: Columns, rng: np.random.Generator) -> State:
        """Return `group` of each observation, `names` and `sizes` of the groups, and the beliefs of every part.

        Raises:
            ValueError: no such column, or no such group, or no group is left.
        """
        group, names = label(columns, self.by)
        if (unknown := sorted(set(self.without) - set(names))) or not set(names) - set(self.without):
            wrong = f"there is no group {unknown[0]!r}" if unknown else "no group is left"
            raise ValueError(f"sampler.without: {wrong}, found {names}")
        parts = [
            self.within.init({k: v if k in TABLES else v[inside] for k, v in columns.items()}, rng)
            for inside in members(group, len(names))
        ]
        return {
            "group": group,
            "names": np.array(names, np.str_),
            "sizes": np.bincount(group, minlength=len(names)),
            **_prefixed("mixture", self.mixture.init(names, columns)),
            **{key: value for g, part in enumerate(parts) for key, value in _prefixed(str(g), part).items()},
        }

    def pilots(self, state: State) -> NDArray[np.int64] | None:
        """Return what the order within each group wants."""
        wanted = [self.within.pilots(_part(state, str(g))) for g in range(len(state["names"]))]
        if all(draws is None for draws in wanted):
            return None
        total = np.zeros(len(state["group"]), np.int64)
        for name, draws, inside in zip(state["names"], wanted, _members(state), strict=True):
            if draws is not None and name not in self.without:
                total[inside] = draws
        return total

    def piloted(self, state: State, outcome: Outcome) -> State:
        """Give each group's part to its own sampler."""
        told = dict(state)
        for g, part in self._split({**state, "members": np.concatenate(_members(state))}, outcome):
            told |= _prefixed(str(g), self.within.piloted(_part(state, str(g)), part))
        return told

    def propose(self, state: State, n: int, rng: np.random.Generator) -> tuple[Proposal, State]:
        """Move a cursor over the merged order, which is frozen at the iteration's first call, as far as it is read."""
        if "order" not in state:
            state = self._freeze(state, rng)
        end, known = int(state["cursor"][0]) + n, len(state["order"])
        if end > known == enough(known):  # with fewer, the groups are used up
            state = self._merge(self._read(state, enough(end), rng), enough(end))
        return take(state, n)

    def observe(self, state: State, wave: Outcome) -> State:
        """Give each group's part of the wave to its own sampler."""
        told = dict(state)
        for g, part in self._split(state, wave):
            told |= _prefixed(f"now/{g}", self.within.observe(_part(state, f"now/{g}"), part))
        return told

    @property
    def lookahead(self) -> int | None:
        """That of the sampler within."""
        return self.within.lookahead

    def learn(self, state: State, outcome: Outcome) -> State:
        """Let every visited group learn from its own visits; what was not visited keeps its beliefs.

        Raises:
            BootstrapError: every visited group gave up. One that gives up alone is left as it was.
        """
        stored = {
            key: value for key, value in state.items() if key not in PASSING and not key.startswith(("now/", "queue/"))
        }
        visited, errors = list(self._split(state, outcome)), []
        for g, part in visited:
            try:
                stored |= _prefixed(str(g), self.within.learn(_part(state, f"now/{g}"), part))
            except BootstrapError as error:
                logger.warning("group %s: %s", state["names"][g], error)
                errors.append(error)
        if errors and len(errors) == len(visited):
            raise errors[0]
        return stored | _prefixed("mixture", self.mixture.learn(_part(state, "mixture"), self._visits(state, outcome)))

    def metrics(self, state: State, outcome: Outcome) -> Metrics:
        """Return each group's mass and realised share, the entropy of the mass (1 = uniform), and every part's."""
        names, mass, visits = (
            state["names"].tolist(),
            np.asarray(state["mass"], np.float64),
            self._visits(state, outcome),
        )
        asked = visits.visited / max(visits.visited.sum(), 1)
        positive = mass[mass > 0]
        entropy = -(positive * np.log(positive)).sum() / np.log(len(names)) if len(names) > 1 else 1.0
        figures = {"entropy": float(entropy)}
        figures |= {f"mass/{name}": float(mass[g]) for g, name in enumerate(names)}
        figures |= {f"asked/{name}": float(asked[g]) for g, name in enumerate(names)}
        figures |= self.mixture.metrics(_part(state, "mixture"), visits)
        for g, part in self._split(state, outcome):
            figures |= {f"{names[g]}/{k}": v for k, v in self.within.metrics(_part(state, f"now/{g}"), part).items()}
        return figures

    def _freeze(self, state: State, rng: np.random.Generator) -> State:
        k = len(state["names"])
        everyone = np.concatenate(_members(state))
        nothing = {f"queue/{g}": np.zeros(0, np.int32) for g in range(k)}
        now = {key: value for g in range(k) for key, value in _prefixed(f"now/{g}", _part(state, str(g))).items()}
        state = self._read({**state, **now, **nothing, "members": everyone}, HEAD, rng)
        mass = self.mixture.mass(_part(state, "mixture"), rng)
        if self.without:
            mass = _confined(mass, np.isin(state["names"], self.without, invert=True))
        return self._merge({**state, "mass": mass, "starts": rng.random(k), "cursor": np.zeros(1, np.int64)}, HEAD)

    def _read(self, state: State, size: int, rng: np.random.Generator) -> State:
        """Queue the first `size` of every group, which holds the first `size` of the merged order, however it is."""
        told, ends = dict(state), np.cumsum(np.asarray(state["sizes"]))
        for g, end in enumerate(ends.tolist()):
            queue, inside = state[f"queue/{g}"], state["members"][end - int(state["sizes"][g]) : end]
            if (wanted := min(size, len(inside)) - len(queue)) <= 0:
                continue
            proposal, part = self.within.propose(_part(state, f"now/{g}"), wanted, rng)
            if proposal.rollouts is not None:
                raise ValueError(f"{type(self.within).__name__} sets numbers of rollouts: it cannot order a group")
            told |= _prefixed(f"now/{g}", part)
            told[f"queue/{g}"] = np.concatenate([queue, inside[proposal.positions]])
        return told

    @staticmethod
    def _merge(state: State, size: int) -> State:
        """`order`: the first `size` of the merged order, or all."""
        queues = [np.asarray(state[f"queue/{g}"], np.int32) for g in range(len(state["names"]))]
        mass, starts = (np.asarray(state[name], np.float64) for name in ("mass", "starts"))
        queued, times = clock(queues, mass, starts)
        return {**state, "order": queued[np.argsort(times, kind="stable")[:size]]}

    def _split(self, state: State, outcome: Outcome) -> Iterator[tuple[int, Outcome]]:
        """Yield the visited groups, and the outcome of each with positions counted within the group."""
        everyone, sizes = np.asarray(state["members"]), np.asarray(state["sizes"])
        group = np.asarray(state["group"])[outcome.positions]
        names = [f.name for f in fields(outcome) if f.name not in ("iteration", "metrics", "gradients")]
        for g in np.unique(group).tolist():
            columns = {name: getattr(outcome, name)[group == g] for name in names}
            gradients = {name: found[group == g] for name, found in outcome.gradients.items()}
            inside = everyone[sizes[:g].sum() : sizes[: g + 1].sum()]
            columns["positions"] = np.searchsorted(inside, columns["positions"])
            yield g, replace(outcome, gradients=gradients, **columns)

    def _visits(self, state: State, outcome: Outcome) -> Visits:
        names = state["names"].tolist()
        group = np.asarray(state["group"])[outcome.positions]
        ones = np.ones_like(outcome.wins)
        counts = {"visited": ones, "attempts": outcome.attempts, "wins": outcome.wins, "accepted": outcome.accepted}
        totals = {
            name: np.bincount(group, weights=count, minlength=len(names)).astype(np.int64)
            for name, count in counts.items()
        }
        p = outcome.wins / np.maximum(outcome.attempts, 1)
        advantages = np.bincount(group, weights=2 * np.sqrt(p * (1 - p)), minlength=len(names))
        advantage = advantages / np.maximum(totals["visited"], 1)
        return Visits(names=names, metrics=outcome.metrics, advantage=advantage, **totals)


def label(columns: Columns, by: Sequence[str], wanted: str = "sampler.by") -> tuple[NDArray[np.int32], list[str]]:
    """Return the group of each observation, and the groups' names: `addition`, `level_3`, `addition/level_3`, ….

    Raises:
        ValueError: no such column; `wanted` says where.
    """
    if unknown := [name for name in by if name not in columns or name in TABLES]:
        raise ValueError(f"{wanted}: there is no column {unknown[0]!r}, found {sorted(columns)}")
    chosen = [np.asarray(columns[name], np.int64) for name in by]
    key = np.zeros(len(chosen[0]), np.int64)
    for column in chosen:
        key = key * (int(column.max(initial=-1)) + 2) + column + 1
    _, firsts, group = np.unique(key, return_index=True, return_inverse=True)
    skills = columns.get("skill_names", np.zeros(0, np.str_)).tolist()
    names = ["/".join(_name(n, int(c[k]), skills) for n, c in zip(by, chosen, strict=True)) for k in firsts.tolist()]
    return group.astype(np.int32), names


def members(group: NDArray[np.int32], k: int) -> list[Members]:
    """Return the positions of each of k groups, ascending."""
    # A radix sort where 16 bits are enough.
    order = np.argsort(group.astype(np.int16) if k < 2**15 else group, kind="stable")
    return np.split(order.astype(np.int32), np.cumsum(np.bincount(group, minlength=k))[:-1])


def _members(state: State) -> list[Members]:
    return members(np.asarray(state["group"]), len(state["names"]))


def clock(queues: Sequence[Members], mass: Floats, starts: Floats) -> tuple[Members, Floats]:
    """Return all queued positions and when each is due: systematic sampling, the r-th of queue g at (r + u_g) / mass_g,
    with starts u_g in [0, 1). Queues without mass are left out."""
    used = [g for g in range(len(queues)) if mass[g] > 0]
    times = [(np.arange(len(queues[g])) + starts[g]) / mass[g] for g in used]
    return np.concatenate([queues[g] for g in used]), np.concatenate(times)


def column(state: State, name: str, positions: Positions) -> Floats | None:
    """Return a belief about some observations, whoever holds it: the sampler, or in an iteration those of the groups.

    None: nobody does.
    """
    if name in state:
        return np.asarray(state[name][positions], np.float64)
    if f"now/0/{name}" not in state:
        return None
    group, ends = np.asarray(state["group"])[positions], np.cumsum(np.asarray(state["sizes"]))
    found = np.zeros(len(positions))
    for g in np.unique(group).tolist():
        inside = state["members"][ends[g] - int(state["sizes"][g]) : ends[g]]
        found[group == g] = state[f"now/{g}/{name}"][np.searchsorted(inside, positions[group == g])]
    return found


def _confined(mass: Floats, asked: NDArray[np.bool_]) -> Floats:
    kept: Floats = np.where(asked, mass, 0.0)
    kept = kept if kept.any() else asked.astype(np.float64)
    share: Floats = kept / kept.sum()
    return share


def _name(column: str, value: int, skills: list[str]) -> str:
    if value < 0:
        return f"no_{column}"
    return skills[value] if column == "skill" and skills else f"{column}_{value}"


def _prefixed(prefix: str, state: State) -> dict[str, NDArray[np.generic]]:
    return {f"{prefix}/{key}": value for key, value in state.items()}


def _part(state: State, prefix: str) -> State:
    return {k.removeprefix(f"{prefix}/"): v for k, v in state.items() if k.startswith(f"{prefix}/")}

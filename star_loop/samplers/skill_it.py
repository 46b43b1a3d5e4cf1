"""Skill-It: a mixture over skills that knows which skill helps which (arXiv 2307.14430, section 4 and Algorithm 1)."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from star_loop.records import Columns, Metrics, State
from star_loop.samplers.mixture import NOTHING, Floats, Mixture, Visits

Edges = Mapping[str, Mapping[str, Annotated[float, Field(allow_inf_nan=False)]]]


class Stratified(Mixture):
    """Every group alike: the paper's skill-stratified sampling, which it finds to bring most of the gain."""

    def init(self, names: Sequence[str], columns: Columns = NOTHING) -> State:
        """Return how many groups there are."""
        return {"groups": np.array([len(names)], np.int64)}

    def mass(self, state: State, rng: np.random.Generator) -> Floats:
        """Return 1/k each."""
        k = int(state["groups"][0])
        return np.full(k, 1 / k)

    def learn(self, state: State, visits: Visits) -> State:
        """Learn nothing."""
        return state


class SkillIt(Mixture):
    """p_{t+1}^i ∝ exp(η Σ_τ Σ_j A_ij L_j(f_τ)) over the last `window` iterations τ; p_1^i ∝ exp(η Σ_j A_ij).

    That is Algorithm 1, the windowed form of equation 4. A_ij says how much learning skill i helps skill j, and L_j is
    the model's error rate on skill j: the paper takes the cross-entropy and allows any metric. Negative edges count as
    none and the largest is scaled to 1. The authors' code counts the window in evaluations within training, and sums
    means instead of sums over target skills.

    Rejection sampling keeps hard skills less often than it asks them, so the mixture that is trained on is not the one
    that was asked. `yield_cap` corrects this (our addition): a skill is asked in proportion to p_i / yield_i.
    """

    eta: float = Field(0.5, ge=0)
    """η; 0 is stratified sampling. The paper's values lie between 0.1 and 0.8, for losses in nats."""
    window: int = Field(3, ge=1, le=10_000)
    """w, in iterations."""
    loss: Literal["train", "validation", "validation_after"] = "train"
    """`validation`: 1 - accuracy on held-out observations of the group, of the model that the round starts from
    (Algorithm 1). `validation_after`: of the model that the round makes. `train`: the share of wrong rollouts in
    collecting, by the model that the round starts from, which costs nothing."""
    graph: Literal["identity", "complete", "learned"] | Edges = "identity"
    """A by names, `{from: {to: strength}}`, where what is not named is 0. `identity`: every skill helps itself
    only. `complete`: all help all, which makes the mixture uniform. `learned`: what a preparation brought, from short
    training runs as in the paper (`preparation=skill_graph`) or from a file (`preparation=graph_file`)."""
    targets: tuple[str, ...] = ()
    """The skills that count (S_eval); empty: all."""
    floor: float = Field(0.01, ge=0, le=1)
    """Share of the mass that is spread evenly, so that no skill is forgotten."""
    yield_cap: float = Field(4.0, ge=1)
    """Greatest correction for a low yield; 1: none."""

    def init(self, names: Sequence[str], columns: Columns = NOTHING) -> State:
        """Return `graph` A (k, k), `losses` (window, k), of which the last `rounds` count, and `yields` (k,).

        Raises:
            ValueError: the graph or the targets name an unknown skill, or no graph was learned of these groups.
        """
        return {
            "graph": self._matrix(list(names), columns),
            "losses": np.ones((self.window, len(names))),
            "rounds": np.zeros(1, np.int64),
            "yields": np.ones(len(names)),
        }

    def mass(self, state: State, rng: np.random.Generator) -> Floats:
        """Return what to ask: the mixture p, corrected for the yield."""
        wanted = self.mixture(state) / np.maximum(np.asarray(state["yields"], np.float64), 1 / self.yield_cap)
        share: Floats = wanted / wanted.sum()
        return share

    def mixture(self, state: State) -> Floats:
        """Return p: what to train on."""
        # Before there is a loss, one row of ones: p_1.
        known = np.asarray(state["losses"], np.float64)[-max(int(state["rounds"][0]), 1) :]
        scores = self.eta * np.asarray(state["graph"], np.float64) @ known.sum(axis=0)
        p = np.exp(scores - scores.max())
        share: Floats = (1 - self.floor) * p / p.sum() + self.floor / len(p)
        return share

    def learn(self, state: State, visits: Visits) -> State:
        """Shift the window by this iteration's losses; what was not visited keeps its last loss (at first: 1)."""
        losses, yields = np.asarray(state["losses"], np.float64), np.asarray(state["yields"], np.float64)
        if self.loss != "train":
            now = self._validation(visits)
        else:
            now = np.where(visits.attempts > 0, 1 - visits.wins / np.maximum(visits.attempts, 1), losses[-1])
        return {
            "graph": state["graph"],
            "losses": np.vstack([losses[1:], now]),
            "rounds": np.minimum(np.asarray(state["rounds"], np.int64) + 1, self.window),
            "yields": np.where(visits.visited > 0, visits.accepted / np.maximum(visits.visited, 1), yields),
        }

    def metrics(self, state: State, visits: Visits) -> Metrics:
        """Return the mixture wanted, and the one realised among the accepted."""
        p, accepted = self.mixture(state), visits.accepted / max(visits.accepted.sum(), 1)
        figures = {f"wanted/{name}": float(p[i]) for i, name in enumerate(visits.names)}
        return figures | {f"realised/{name}": float(accepted[i]) for i, name in enumerate(visits.names)}

    def _validation(self, visits: Visits) -> Floats:
        prefix = "validation" if self.loss == "validation_after" else "before/validation"
        keys = [f"{prefix}/{name}" for name in visits.names]
        if missing := [key for key in keys if key not in visits.metrics]:
            raise ValueError(
                f"sampler.mixture.loss={self.loss} needs {missing[0]}, and the validation split has no such group: "
                "take loss=train, or add validation observations of every skill"
            )
        return np.array([1 - visits.metrics[key] for key in keys])

    def _matrix(self, names: list[str], columns: Columns) -> Floats:
        graph = self.graph if not isinstance(self.graph, str) else {}
        mentioned = {*graph, *(to for edges in graph.values() for to in edges), *self.targets}
        if unknown := sorted(mentioned - set(names)):
            raise ValueError(f"sampler.mixture: there is no group {unknown[0]!r}, found {names}")
        a = np.ones((len(names), len(names))) if self.graph == "complete" else np.eye(len(names))
        if self.graph == "learned":
            a = _learned(names, columns)
        elif not isinstance(self.graph, str):
            a = np.array([[max(self.graph.get(i, {}).get(j, 0.0), 0.0) for j in names] for i in names])
        a *= np.array([not self.targets or name in self.targets for name in names])
        return a / a.max() if a.max() > 0 else a


def _learned(names: list[str], columns: Columns) -> Floats:
    if "skill_graph" not in columns:
        raise ValueError("sampler.mixture.graph=learned, but none was: add preparation=skill_graph")
    known = columns["graph_names"].tolist()
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(
            f"sampler.mixture.graph=learned: the graph knows no group {unknown[0]!r}, only {known}: take the "
            "sampler.by that it was learned by"
        )
    order = [known.index(name) for name in names]
    graph: Floats = np.maximum(np.array(columns["skill_graph"], np.float64)[np.ix_(order, order)], 0.0)
    return graph

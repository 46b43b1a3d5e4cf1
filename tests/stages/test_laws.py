"""Policies of somebody else's that break the laws of their protocols, in a whole run."""

import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from star_loop.allocators.fixed import Fixed
from star_loop.protocols import PolicyError, Selector
from star_loop.records import Candidate, Columns, Outcome, Proposal, State
from star_loop.run.directory import RunDirectory
from star_loop.samplers.uniform import Uniform
from tests.quiz import QUIZ, play
from tests.test_end_to_end import ROOT

QUESTIONS = 12


class Wild(Uniform):
    """Breaks the law that it is told to."""

    law: str

    POSITIONS: ClassVar[dict[str, Callable[[np.ndarray], Any]]] = {
        "twice": lambda p: np.array([p[0], p[0]]), "known": lambda p: p + 1000, "positive": lambda p: p - 1000,
        "at most n": lambda p: np.arange(QUESTIONS), "whole": lambda p: p.astype(float), "array": lambda p: p.tolist(),
    }  # fmt: skip
    STATES: ClassVar[dict[str, Any]] = {
        "set": {1, 2},
        "none": None,
        "large": 2**64,
        "mapping": {"a": 1},
        "objects": np.array([None]),
        "ragged": [[1], [1, 2]],
    }
    FIGURES: ClassVar[dict[str, Any]] = {
        "text": "x", "no figure": None, "endless": 10**400, "undefined": math.nan, "infinite": np.float32("inf"),
        "complex": 1j, "several": np.ones(2), "single": np.float32(0.5), "truth": np.bool_(True), "count": np.int64(3),
    }  # fmt: skip

    def init(self, columns: Columns, rng: np.random.Generator) -> State:
        return {**super().init(columns, rng), **({"odd": None} if self.law == "first" else {})}

    def pilots(self, state: State) -> Any:
        return np.full(QUESTIONS, -1 if self.law == "pilots" else 1) if "pilot" in self.law else None

    def piloted(self, state: State, outcome: Outcome) -> Any:
        return None if self.law == "nothing piloted" else state

    def propose(self, state: State, n: int, rng: np.random.Generator) -> Any:
        proposal, state = super().propose(state, n, rng)
        odd = {"no pair": proposal, "no proposal": (proposal.positions, state), "no state": (proposal, None)}
        if self.law in odd:
            return odd[self.law]
        if self.law == "rollouts":
            return replace(proposal, rollouts=np.full(len(proposal.positions), -1)), state
        if self.law == "no more" and not len(proposal.positions):
            return Proposal(positions=np.array([])), state
        if self.law == "again" and not len(proposal.positions):
            return Proposal(positions=np.array([0])), state
        if self.law == "boom":
            raise RuntimeError("boom")
        if self.law == "exit":
            sys.exit(0)
        if self.law in self.POSITIONS and len(proposal.positions):
            return Proposal(positions=self.POSITIONS[self.law](proposal.positions)), state
        return proposal, state

    def learn(self, state: State, outcome: Outcome) -> Any:
        learned = super().learn(state, outcome)
        if self.law == "nothing learned":
            return None
        return {**learned, "odd": self.STATES[self.law]} if self.law in self.STATES else learned

    def metrics(self, state: State, outcome: Outcome) -> Any:
        if self.law == "nothing told":
            return None
        return {"odd": self.FIGURES[self.law]} if self.law in self.FIGURES else {}


class Unfair(Fixed):
    """Gives draws that no machine can draw."""

    GIVEN: ClassVar[dict[str, Callable[[int], Any]]] = {
        "one too many": lambda n: np.ones(n + 1, int), "negative": lambda n: np.full(n, -1), "a list": lambda n: [1] * n,
        "nothing": lambda n: None, "many": lambda n: np.full(n, 2**40), "parts": lambda n: np.full(n, 0.5),
        "zeros": lambda n: np.zeros(n, int),
    }  # fmt: skip
    law: str
    later: bool = False

    def allocate(self, proposal: Proposal, state: State, rng: np.random.Generator) -> Any:
        given = super().allocate(proposal, state, rng)
        return given if self.later else self.GIVEN[self.law](len(given))

    def again(self, attempts: np.ndarray, wins: np.ndarray, number: int) -> Any:
        return self.GIVEN[self.law](len(attempts)) if self.later else super().again(attempts, wins, number)


class Greedy(Selector):
    """Keeps what was never there, or as it was never judged."""

    law: str

    def select(self, candidates: Sequence[Candidate], context: Any, rng: np.random.Generator) -> Any:
        right = [one for one in candidates if one.rollout.correct]
        return {
            "each twice": [one for one in right for _ in range(2)], "turned": right[::-1],
            "as wrong": [replace(one, weight=-1.0) for one in right],
            "undefined": [replace(one, weight=math.nan) for one in right], "texts": [one.rollout.text for one in right],
            "others": [replace(one, rollout=replace(one.rollout)) for one in right], "nothing": None,
        }[self.law]  # fmt: skip


@pytest.mark.parametrize(
    ("law", "said"),
    [
        ("twice", r"propose gave position \d+ again: each comes once in an iteration"),
        ("again", r"propose gave position 0 again: each comes once in an iteration"),
        ("known", r"propose gave position 1\d\d\d: there are 0 to 11"),
        ("positive", r"propose gave position -\d+: there are 0 to 11"),
        ("at most n", r"propose gave 12 observations: at most 4 were asked for"),
        ("whole", r"propose gave an array of float64, 1-dimensional: a one-dimensional numpy array of whole numbers"),
        ("array", r"propose gave \[\d+, .*: a one-dimensional numpy array of whole numbers is wanted"),
        *(
            (law, rf"learn gave 'odd', {kind} .*: arrays of numbers, truth values or texts can be stored")
            for law, kind in (
                ("set", "set"), ("none", "NoneType"), ("large", "int"), ("mapping", "dict"), ("objects", "ndarray"),
                ("ragged", "list"),
            )
        ),
        ("first", r"init gave 'odd', NoneType None: arrays of numbers"),
        ("no pair", r"propose gave Proposal.*: a pair of a Proposal and the state is wanted"),
        ("no proposal", r"propose gave \(array.*: a pair of a Proposal and the state is wanted"),
        ("no state", r"propose gave None: a mapping of names to values is wanted"),
        ("nothing learned", r"learn gave None: a mapping of names to values is wanted"),
        ("nothing told", r"metrics gave None: a mapping of names to values is wanted"),
        ("nothing piloted", r"piloted gave None: a mapping of names to values is wanted"),
        ("pilots", r"pilots gave -1 draws of an observation: 0 to 1,000,000 are possible"),
        ("rollouts", r"propose gave -1 draws of an observation: 0 to 1,000,000 are possible"),
    ],
)  # fmt: skip
def test_what_a_sampler_may_not_give_is_named(tmp_path: Path, law: str, said: str) -> None:
    with pytest.raises(PolicyError, match=rf"^tests\.stages\.test_laws\.Wild: {said}"):
        play(tmp_path, "sampler._target_=tests.stages.test_laws.Wild", f"+sampler.law={law}", "schedule.quota=null")
    assert not (tmp_path / "iterations/0001/state.json").exists()


def test_an_empty_proposal_of_any_kind_ends_the_pass(tmp_path: Path) -> None:
    play(tmp_path, "sampler._target_=tests.stages.test_laws.Wild", "+sampler.law=no more", "schedule.quota=null")
    assert RunDirectory(tmp_path).iteration(1).metrics()["collect/observations"] == QUESTIONS


class Folding(Wild):
    """Forgets what it has seen of a wave."""

    def observe(self, state: State, wave: Outcome) -> Any:
        return None


def test_what_is_observed_is_a_state_too(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"Folding: observe gave None: a mapping of names to values is wanted"):
        play(tmp_path, "sampler._target_=tests.stages.test_laws.Folding", "+sampler.law=none at all")


@pytest.mark.parametrize("law", Wild.FIGURES)
def test_a_figure_is_a_finite_number_whoever_gives_it(tmp_path: Path, law: str) -> None:
    keys = ("sampler._target_=tests.stages.test_laws.Wild", f"+sampler.law={law}")
    if law in ("single", "truth", "count"):
        play(tmp_path, *keys)
        assert RunDirectory(tmp_path).iteration(1).metrics()["sampler/odd"] == float(Wild.FIGURES[law])
        return
    with pytest.raises(PolicyError, match=r"^the figure sampler/odd is .* \(\w+\): a finite number is wanted"):
        play(tmp_path, *keys)
    assert not (tmp_path / "iterations/0001/state.json").exists()


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("law", "said"),
    [
        ("one too many", r"\d+ numbers: \d+ are wanted"), ("negative", r"-1 draws of an observation: 0 to 1,000,000 are"),
        ("a list", r"\[1.*: a one-dimensional numpy array"), ("nothing", r"None: a one-dimensional numpy array"),
        ("many", r"1,099,511,627,776 draws of an observation: 0 to"), ("parts", r"an array of float64, 1-dimensional"),
    ],
)  # fmt: skip
def test_what_an_allocator_may_not_give_is_named(tmp_path: Path, law: str, said: str, later: bool) -> None:
    keys = (f"+allocator.law={law}", f"+allocator.later={later}")
    what = "again" if later else "allocate"
    with pytest.raises(PolicyError, match=rf"^tests\.stages\.test_laws\.Unfair: {what} gave {said}"):
        play(tmp_path, "allocator._target_=tests.stages.test_laws.Unfair", *keys)


def test_where_nothing_is_drawn_there_is_nothing_to_train_on(tmp_path: Path) -> None:
    from star_loop.protocols import BootstrapError

    with pytest.raises(BootstrapError, match="nothing to train on: 0 of 0 rollouts of 12 observations were correct"):
        play(tmp_path, "allocator._target_=tests.stages.test_laws.Unfair", "+allocator.law=zeros", "second_try=none")


@pytest.mark.parametrize(
    ("law", "said"),
    [
        ("each twice", r"train/\d+, sample 0: each of the candidates may be kept once, in their order"),
        ("turned", r"train/\d+, sample 0: each of the candidates may be kept once, in their order"),
        ("others", r"train/\d+, sample 0: each of the candidates may be kept once, in their order"),
        ("as wrong", r"weight -1\.0 of train/\d+: weights are finite, and those of right rationales not below 0"),
        ("undefined", r"weight nan of train/\d+: weights are finite"), ("texts", r"\[.*: a list of candidates is wanted"),
        ("nothing", r"None: a list of candidates is wanted"),
    ],
)  # fmt: skip
def test_what_a_selector_may_not_keep_is_named(tmp_path: Path, law: str, said: str) -> None:
    keys = ("+selectors.greedy._target_=tests.stages.test_laws.Greedy", f"+selectors.greedy.law={law}")
    with pytest.raises(PolicyError, match=rf"^tests\.stages\.test_laws\.Greedy: select gave {said}"):
        play(tmp_path, *keys)
    assert not (tmp_path / "iterations/0001/examples.jsonl").exists()


@pytest.mark.parametrize(("law", "said"), [("boom", "RuntimeError: boom"), ("exit", "SystemExit: 0")])
def test_an_error_of_ones_own_component_is_not_called_a_bug_of_this_package(
    tmp_path: Path, law: str, said: str
) -> None:
    keys = ("sampler._target_=tests.stages.test_laws.Wild", f"+sampler.law={law}", f"outputs={tmp_path}", "name=run")
    done = subprocess.run(
        [sys.executable, "-m", "star_loop", *QUIZ, *keys], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and said in done.stderr
    assert f"this comes from {Path(__file__)}, or from what it calls" in done.stderr
    assert "bug in star_loop" not in done.stderr

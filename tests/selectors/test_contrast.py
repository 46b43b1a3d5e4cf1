"""Wrong rationales are kept where they are meant to be, and the loop's statistics do not see it."""

from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_loop.config.build import build
from star_loop.export.files import export
from star_loop.run.directory import RunDirectory
from star_loop.seeding import rng
from star_loop.selectors.contrast import Contrast
from star_loop.selectors.family import Cap
from tests.quiz import QUIZ, configure, play
from tests.test_policies import CONTEXT, candidates


@given(candidates, st.integers(1, 3), st.booleans())
def test_each_side_is_chosen_by_its_own_selectors(items, limit: int, paired: bool) -> None:
    contrast = Contrast(right={"cap": Cap(limit=limit)}, wrong={"cap": Cap(limit=1)}, weight=0.25, paired=paired)
    expected = []
    for k, item in enumerate(items):
        alike = [c for c in items if c.rollout.position == item.rollout.position]
        same = [c for c in items[:k] if c.rollout.position == item.rollout.position]
        before = sum(c.rollout.correct == item.rollout.correct for c in same)
        if before < (limit if item.rollout.correct else 1) and (
            not paired or len({c.rollout.correct for c in alike}) == 2
        ):
            expected.append((item.rollout, 1.0 if item.rollout.correct else -0.25))
    kept = contrast.select(items, CONTEXT, rng(0))
    assert [(id(c.rollout), c.weight) for c in kept] == [(id(rollout), weight) for rollout, weight in expected]


def test_what_was_hinted_or_cut_off_is_not_wrong_on_its_own_account() -> None:
    from dataclasses import replace

    from tests.test_policies import candidate

    wrong = candidate(0, 0, False, "c")
    hinted = replace(wrong, rollout=replace(wrong.rollout, hinted=True))
    cut = replace(wrong, rollout=replace(wrong.rollout, finish="length"))
    kept = Contrast(right={}).select([hinted, wrong, cut], CONTEXT, rng(0))
    assert [c.rollout for c in kept] == [wrong.rollout]


def test_statistics_and_what_is_exported_are_those_of_a_run_without_them(tmp_path: Path) -> None:
    """Draws that fail, the same seed, and a scripted model that learns from right rationales alone."""
    for name, selectors in (("right", "all_correct"), ("both", "contrast")):
        play(tmp_path / name, f"selectors={selectors}", "allocator.rollouts=4", "iterations=2")
    right, both = (RunDirectory(tmp_path / name).iteration(2) for name in ("right", "both"))
    assert both.metrics()["select/wrong"] > 0
    examples = both.examples(list)
    assert [e for e in examples if e.weight > 0] == right.examples(list)
    assert sum(e.weight < 0 for e in examples) == both.metrics()["select/wrong"]
    for name, column in right.statistics().columns().items():
        assert (column == both.statistics().columns()[name]).all(), name
    written = [
        parquet.read_table(export(tmp_path / name, "last", ["data"]) / "data/rationales.parquet")
        for name in ("right", "both")
    ]
    assert written[0].equals(written[1])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (("selectors=contrast",), r"selectors\.contrast keeps wrong rationales.*: set trainer\.loss=rift or dpo"),
        (("trainer.loss=dpo",), r"trainer\.loss=dpo uses wrong rationales.*: take selectors=pairs"),
        (("trainer.loss=rift",), r"trainer\.loss=rift uses wrong rationales.*: take selectors=contrast"),
        (
            ("trainer.loss=rift", "selectors=contrast", "selectors@selectors.contrast.right=confident"),
            r"selectors\.contrast\.right\.confident weighs rationales by their scores: add scorer=student",
        ),
        (
            ("model=tiny", "trainer=accelerate", "trainer.loss=dpo", "selectors=pairs"),
            r"trainer\.loss=dpo is for one process",
        ),
    ],
)
def test_a_loss_and_selectors_that_do_not_fit_are_refused_before_the_run(keys: tuple[str, ...], said: str) -> None:
    experiment = build(configure(*QUIZ, "trainer=lora", *keys))
    with pytest.raises(ValueError, match=said):
        experiment.check()
        experiment.trainer.check()

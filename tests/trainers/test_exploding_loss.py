"""A loss that explodes ends the round, not the run: the last good model is kept, and a fork goes on from it."""

from pathlib import Path

import pytest

from star_loop.config.build import build
from star_loop.generators.pool import write_golds
from star_loop.launch import launch
from star_loop.protocols import TrainingError
from star_loop.run.directory import RunDirectory
from tests.quiz import configure, contents

pytestmark = pytest.mark.engine

SMALL = (
    "generator=pool", "selectors=first_correct", "task.levels={addition:[2]}", "task.train_per_level=24",
    "task.validation_per_level=4", "task.test_per_level=4", "schedule.steps=3", "schedule.batch=2", "schedule.wave=8",
    "second_try=none", "trainer.threads=1", "trainer.r=2", "~tracker.console", "~tracker.tensorboard", "~generator.max_tokens",
)  # fmt: skip


def test_a_loss_that_explodes_keeps_the_last_good_model_and_a_fork_goes_on(tmp_path: Path) -> None:
    task = build(configure(*SMALL)).task
    write_golds(task, [*task.train(), *task.validation(), *task.test()], tmp_path / "golds.jsonl")
    common = (*SMALL, f"generator.path={tmp_path / 'golds.jsonl'}")
    launch(configure(*common, "iterations=1"), tmp_path / "run")
    good = f"fork={tmp_path}/run/iterations/0001"

    wild = configure(*common, "iterations=2", good, "trainer.learning_rate=1e30", "trainer.max_grad_norm=null")
    for _ in range(2):  # as often as it is launched
        with pytest.raises(TrainingError, match=r"loss (nan|inf).*Lower trainer\.learning_rate"):
            launch(wild, tmp_path / "wild")
        latest = RunDirectory(tmp_path / "wild").latest()
        assert latest is not None and latest.number == 1
        assert contents(latest.path) == contents(tmp_path / "run/iterations/0001")
        assert not (tmp_path / "wild/iterations/0002/adapter").exists()

    standing = launch(
        configure(*common, "iterations=2", f"fork={latest.path}", "trainer.learning_rate=1e-3"), tmp_path / "calm"
    )
    assert standing.iteration == 2
    assert standing.model.adapter is not None and standing.model.adapter.exists()

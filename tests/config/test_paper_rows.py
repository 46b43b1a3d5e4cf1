"""AdaSTaR's model × benchmark rows compose with every method of its table, the row first and the method after it."""

import pytest

from star_loop.config.build import build
from star_loop.config.hydra import CONF
from tests.quiz import configure

ROWS = sorted(path.stem for path in (CONF / "experiment/paper").glob("*_*.yaml"))
METHODS = {
    "star": ("base", "hinted", 1), "star_full": ("base", "hinted", 1), "star_acc": ("previous", "hinted", 1),
    "star_acc_full": ("previous", "hinted", 1), "star_acc_full_k": ("previous", "none", 5), "rest_em": ("base", "none", 11),
    "b_star": ("previous", "none", 5), "adastar": ("previous", "hinted", 1),
}  # fmt: skip


def test_the_rows_are_those_of_the_paper() -> None:
    assert len(ROWS) == 11
    assert {row.partition("_")[0] for row in ROWS} == {"llama-3.2-3b", "qwen2.5-3b", "gemma-7b"}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_sets_model_task_and_how_to_train(row: str) -> None:
    model, _, task = row.partition("_")
    x = build(configure(f"experiment=[paper/{row},adastar]"))
    assert (x.model.name_or_path.lower().endswith(model), type(x.task).__name__.lower()) == (
        True,
        task.replace("_", ""),
    )
    assert x.second_try == ("resample" if task in ("gsm8k", "svamp") else "rationalize")
    assert x.sampler.win_rate == "reference"  # which counts a second try, hinted or not, as half
    assert [x.schedule.beta(t) for t in (1, 2, 3)] == [320, 384, 456]
    assert (x.generator.temperature, x.trainer.r, x.iterations) == (1.0, 32, 46)
    assert x.trainer.learning_rate == (1e-5 if model == "gemma-7b" else 2e-4)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_method_after_it_sets_the_rest(method: str) -> None:
    row, (start, second, rollouts) = "llama-3.2-3b_cladder", METHODS[method]
    x = build(configure(f"experiment=[paper/{row},{method}]"))
    assert (str(x.outputs), x.name, x.start_from) == (f"outputs/{row}", method, start)
    assert (x.second_try, x.allocator.rollouts) == ("none" if second == "none" else "rationalize", rollouts)

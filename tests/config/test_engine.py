"""Where vLLM has no wheel, the default goes on with transformers; an engine that was named stays."""

from typing import Any

import pytest

from star_loop.config.build import build
from star_loop.config.engine import runnable
from star_loop.config.hydra import composed
from star_loop.generators.transformers import Transformers
from star_loop.generators.vllm import Vllm


def engine(*overrides: str, **options: Any) -> Any:
    config = composed(overrides)
    chosen = "scripted" if "experiment=smoke" in overrides else "vllm"
    return build(runnable(config, chosen, list(overrides), **options)).generator


def test_the_default_takes_transformers_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        taken = engine("seed=1", has_wheel=False)
    assert isinstance(taken, Transformers) and "generator=transformers takes its place" in caplog.text
    assert taken.max_tokens == engine().max_tokens


@pytest.mark.parametrize("override", ["generator=vllm", "generator.max_num_seqs=8", "experiment=smoke"])
def test_what_was_named_stays(override: str) -> None:
    assert engine(override, has_wheel=False) == engine(override)


def test_where_it_has_one_nothing_changes() -> None:
    assert isinstance(engine(has_wheel=True), Vllm) and isinstance(engine(), Vllm)

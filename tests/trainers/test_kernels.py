"""Liger's kernels: refused in a sentence where they cannot run, and asked for as transformers has it."""

import inspect
from pathlib import Path

import pytest
import torch
from transformers.integrations.liger import apply_liger_kernel

from star_loop.models import Pretrained
from star_loop.trainers.full import Full
from star_loop.trainers.kernels import fused
from star_loop.trainers.lora import Lora
from tests.small_models import write_llama


@pytest.mark.parametrize("kind", [Lora, Full])
def test_kernels_that_cannot_run_are_refused_before_the_run(kind: type[Lora] | type[Full], tmp_path: Path) -> None:
    """On a machine without a GPU that is the reason; with one, that the library is missing."""
    base = Pretrained(name_or_path=str(write_llama(tmp_path)))
    kind().check_base(base)
    missing = "needs Liger: pip install" if torch.cuda.is_available() else "needs a GPU, and torch sees none here"
    with pytest.raises(ValueError, match=rf"^trainer\.kernels=liger.*{missing}.*leave trainer\.kernels out$"):
        kind(kernels="liger").check_base(base)


def test_transformers_takes_the_call() -> None:
    assert list(inspect.signature(apply_liger_kernel).parameters) == ["model", "kernel_config"]
    with fused(torch.nn.Linear(1, 1), None):  # nothing is asked for, and nothing is imported
        pass

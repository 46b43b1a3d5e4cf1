"""Where weights go: never to the CPU without a word where there is a GPU, and never kept after use."""

from pathlib import Path

import pytest
import torch

from star_loop.models.device import Gpu, device, give_back, gpus, lent


@pytest.fixture
def a_card_without_a_driver_for_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`nvidia-smi` lists a GPU, and torch, here built for CPUs, cannot use it."""
    if torch.cuda.is_available():
        pytest.fail("this test is written for machines without a GPU")
    query = tmp_path / "nvidia-smi"
    query.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 81559'\n")
    query.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("a_card_without_a_driver_for_torch")
def test_a_gpu_that_torch_cannot_use_is_no_reason_to_compute_for_days(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpus() == [Gpu("NVIDIA H100 80GB HBM3", 81559 * 2**20)]
    with pytest.raises(ValueError, match=r"lists 1 GPUs \(NVIDIA H100.*can use none.*CUDA_VISIBLE_DEVICES= to"):
        device()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert device() == "cpu"


def test_a_lent_model_gives_its_memory_back_whatever_happens() -> None:
    model = torch.nn.Linear(3, 3)
    with pytest.raises(ZeroDivisionError), lent(model) as placed:
        assert placed.weight.device.type == device()
        _ = 1 / 0
    assert model.weight.is_meta
    give_back(model)  # and a second time without harm

"""LoRA rounds over ranks: `accelerate launch` on two processes of a CPU, compared with the single process."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from star_loop.models import Model, Pretrained
from star_loop.protocols import TrainingError
from star_loop.records import Example
from star_loop.trainers.accelerate import LAUNCHER, WORKER, Accelerate
from star_loop.trainers.batches import Encoded, micro_batches
from star_loop.trainers.distributed import IDLE, shares
from star_loop.trainers.lora import Lora
from tests.small_models import write_adapter, write_llama
from tests.test_end_to_end import heed_interrupts, living
from tests.trainers.test_lora import example

ROUND = {
    "r": 8, "lora_alpha": 8, "learning_rate": 1e-2, "batch_size": 7, "warmup_steps": 1, "weight_decay": 0.1,
    "max_grad_norm": 0.5, "max_tokens_per_batch": 40, "threads": 1, "gradient_checkpointing": True,
}  # fmt: skip
EXAMPLES = [example(i, weight=1.0 + i % 3) for i in range(20)]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """An earlier round's model: in a continued round every matrix has a gradient from the first step."""
    folder = tmp_path_factory.mktemp("models")
    base = write_llama(folder / "base")
    return Model(base=Pretrained(name_or_path=str(base)), adapter=write_adapter(base, folder / "adapter", scale=0.05))


def train(trainer: Lora, start: Model, into: Path, steps: int = 3, examples: Sequence[Example] = EXAMPLES):
    into.mkdir()
    told: list[int] = []
    metrics = trainer.train(examples, start, into, steps=steps, seed=0, progress=told.append)
    assert sum(told) == steps
    return metrics


@pytest.mark.engine
@pytest.mark.parametrize(
    ("strategy", "loss"), [("ddp", "nll"), ("fsdp2", "rift"), ("zero-1", "rift"), ("zero-2", "nll")]
)
def test_two_ranks_train_what_one_process_trains(
    strategy: str, loss: str, start: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step has 6 sequences for 2 ranks, cut into micro-batches of at most 40 tokens."""
    keys = ROUND | {"loss": loss}
    examples = EXAMPLES if loss == "nll" else [example(i, weight=-0.3 if i % 3 else 1.0 + i % 2) for i in range(20)]
    expected = train(Lora(**keys), start, tmp_path / "alone", examples=examples)
    matrices = load_file(tmp_path / "alone/adapter_model.safetensors")
    ranks = Accelerate(**keys, processes=2, **spread(strategy, tmp_path, monkeypatch))
    metrics = train(ranks, start, tmp_path / "adapter", examples=examples)
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, rel=1e-4), name
    written = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert written.keys() == matrices.keys()
    before = load_file(start.adapter / "adapter_model.safetensors")
    moved = max(float((matrices[name] - before[name]).abs().max()) for name in matrices)
    for name, value in matrices.items():
        torch.testing.assert_close(written[name], value, rtol=0, atol=0.02 * moved)
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "canary.json"
    }  # fmt: skip


def spread(strategy: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The settings of a strategy; DeepSpeed is not among the dependencies."""
    kind, _, stage = strategy.partition("-")
    if kind != "zero":
        return {"strategy": strategy}
    pytest.importorskip("deepspeed")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    config = {
        "compute_environment": "LOCAL_MACHINE", "distributed_type": "DEEPSPEED",
        "deepspeed_config": {"zero_stage": int(stage), "offload_optimizer_device": "none"},
    }  # fmt: skip
    (folder / "accelerate.json").write_text(json.dumps(config))
    return {"strategy": "deepspeed", "config_file": folder / "accelerate.json"}


@given(st.lists(st.integers(2, 40), min_size=1, max_size=24), st.integers(1, 6), st.integers(1, 100))
def test_every_sequence_is_dealt_once_and_no_rank_waits_for_another(
    lengths: list[int], ranks: int, max_tokens: int
) -> None:
    batch = [Encoded(ids=[k] * length, prompt=1) for k, length in enumerate(lengths)]
    dealt = shares(batch, ranks, max_tokens)
    assert len(dealt) == ranks and len({len(groups) for groups in dealt}) == 1
    given_out = [sequence for groups in dealt for group in groups for sequence in group if sequence is not IDLE]
    assert sorted(sequence.ids[0] for sequence in given_out) == list(range(len(lengths)))
    sizes = [sum(s is not IDLE for group in groups for s in group) for groups in dealt]
    assert max(sizes) - min(sizes) <= 1
    assert shares(batch, 1, max_tokens)[0] == micro_batches(batch, max_tokens)


def test_an_idle_token_has_no_loss_and_moves_nothing(start: Model) -> None:
    from star_loop.trainers.forward import token_losses
    from star_loop.trainers.students import Adapted

    with Adapted().student(Lora(**ROUND), start, 0) as model:
        nll, right = token_losses(model, [IDLE])
        nll.sum().backward()
        assert len(nll) == len(right) == 0
        assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_memory_that_the_engine_did_not_give_back_is_found_with_figures() -> None:
    from star_loop.trainers.placement import refuse_without_room

    refuse_without_room(6 * 2**30, 6 * 2**30, 80 * 2**30)
    with pytest.raises(TrainingError, match=r"need 6\.0 GiB, and 2\.0 of the GPU's 80\.0 GiB are free.*sleep=false"):
        refuse_without_room(6 * 2**30, 2 * 2**30, 80 * 2**30)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"config_file": "nowhere.yaml"}, "nowhere.yaml: no such file"),
        ({"strategy": "deepspeed"}, "DeepSpeed is not installed|needs trainer.config_file"),
    ],
)
def test_what_is_missing_is_said_before_anything_starts(keys: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Accelerate(**keys).check()


# ------------------------------------------------------------------------------------------------- ranks that fail


def ranks(folder: Path) -> list[int]:
    """Process ids of the ranks of a round."""
    said = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in living(folder)}
    return [pid for pid, line in said.items() if WORKER in line and LAUNCHER not in line]


def wait_until_gone(folder: Path) -> None:
    """A process that was killed is there until its parent has been told."""
    for pid in living(folder):
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ended, _, _ = select.select([descriptor], [], [], 60)
        os.close(descriptor)
        assert ended, pid
    assert not living(folder)


@pytest.mark.engine
@pytest.mark.reliability
@pytest.mark.parametrize(
    ("kill", "said"), [(signal.SIGKILL, r"died \(exit code 1\)"), (signal.SIGSTOP, r"60 s \(trainer\.timeout\)")]
)
def test_a_rank_that_dies_or_hangs_ends_the_round_and_leaves_nobody(
    kill: signal.Signals, said: str, start: Model, tmp_path: Path
) -> None:
    into, hurt = tmp_path / "adapter", []

    def progress(steps: int) -> None:
        if not hurt:
            hurt.append(ranks(into)[-1])
            os.kill(hurt[0], kill)

    into.mkdir()
    trainer = Accelerate(**ROUND, processes=2, timeout=60)
    with pytest.raises(TrainingError, match=rf"(?s)2 ranks \(ddp\) did not end: accelerate\.commands\.launch.*{said}"):
        trainer.train(EXAMPLES, start, into, steps=10_000, seed=0, progress=progress)
    wait_until_gone(into)
    assert [path.name for path in into.iterdir()] == [".ranks"], "nothing is published, and the log stays to be read"


@pytest.mark.engine
@pytest.mark.reliability
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_ranks_do_not_outlive_their_launch(kill: signal.Signals, start: Model, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from star_loop.models import Pretrained; "
        "from star_loop.models import Model; from tests.trainers.test_accelerate import *; "
        "start = Model(base=Pretrained(name_or_path=sys.argv[1]), adapter=Path(sys.argv[2])); into = Path(sys.argv[3]); "
        "Accelerate(**ROUND, processes=2).train(EXAMPLES, start, into, steps=10_000, seed=0, "
        f"progress=lambda steps: os.kill(os.getpid(), {int(kill)}))"
    )
    into = tmp_path / "adapter"
    into.mkdir()
    command = [sys.executable, "-c", script, start.base.name_or_path, str(start.adapter), str(into)]
    ended = subprocess.run(command, check=False, capture_output=True, preexec_fn=heed_interrupts)
    assert ended.returncode == -kill
    wait_until_gone(into)

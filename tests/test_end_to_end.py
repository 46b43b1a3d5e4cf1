"""The real thing, small: the shipped base model, vLLM in its worker, PEFT, the command line; killed and continued."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.generators.test_generators import gone
from tests.quiz import contents

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parent.parent
SMALL = (
    "name=run", "iterations=2", "task.levels={addition:[3,6],subtraction:[6]}", "task.train_per_level=40",
    "task.validation_per_level=10", "task.test_per_level=10", "schedule.steps=2", "schedule.batch=8", "schedule.wave=16",
    "schedule.train_by=epochs", "second_try=rationalize", "generator.threads=1", "trainer.threads=1",
    "~tracker.tensorboard",
)  # fmt: skip


def start(directory: Path, *overrides: str) -> subprocess.Popen[str]:
    (directory / "tmp").mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TMPDIR": str(directory / "tmp")}
    return subprocess.Popen(
        [sys.executable, "-m", "star_loop", *SMALL, f"outputs={directory}", *overrides],
        cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=heed_interrupts,
    )  # fmt: skip


def heed_interrupts() -> None:
    """As in a terminal: what a shell starts in the background ignores Ctrl-C, and so does all that it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def living(directory: Path) -> list[int]:
    """Processes of the launches in a folder: they and all that they start have a temporary directory below it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = path.read_bytes()
        except OSError:  # gone, or somebody else's
            continue
        if f"TMPDIR={directory}/".encode() in environment:
            found.append(int(path.parent.name))
    return found


def finish(directory: Path, *overrides: str) -> str:
    process = start(directory, *overrides)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    return output


def end_at(phase: str, number: signal.Signals, directory: Path) -> None:
    """Send the main process a signal as soon as it announces a phase; its engine goes with it and leaves nothing."""
    process = start(directory)
    assert process.stdout is not None
    for line in process.stdout:
        if phase in line:
            break
    started = living(directory)
    assert len(started) > 1
    process.send_signal(number)
    said = process.communicate()[0]
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number and "the same command continues" in said, said
    assert all(gone(pid) for pid in started) and living(directory) == []
    assert not (directory / "run/.engine/tmp").exists() and not list((directory / "tmp").iterdir())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole")
    finish(directory)
    return directory / "run"


def metrics(run: Path, t: int) -> dict[str, float]:
    return json.loads((run / f"iterations/{t:04d}/metrics.json").read_text())


def test_a_real_model_generates_is_judged_and_learns(uninterrupted: Path) -> None:
    base, last = metrics(uninterrupted, 0), metrics(uninterrupted, 2)
    assert base["evaluation/addition/level_3"] > 0.8
    assert last["collect/correct"] > 0
    assert last["train/loss"] > 0
    assert last["flops/cumulative"] > metrics(uninterrupted, 1)["flops/cumulative"] > 0
    assert last["flops_exact/cumulative"] > 0
    assert 0 < last["collect/faithful"] <= 1
    assert last["machine/peak_flops"] > 0
    assert last["machine/utilisation_generate"] > 0
    assert last["machine/utilisation_train"] > 0
    adapter = uninterrupted / "iterations/0002/adapter"
    assert {"adapter_model.safetensors", "adapter_config.json", "canary.json"} <= {p.name for p in adapter.iterdir()}
    assert (uninterrupted / "report.html").stat().st_size > 10_000


def test_nothing_is_left_of_the_engine(uninterrupted: Path) -> None:
    left = [p.name for p in (uninterrupted / ".engine").rglob("*") if p.is_file()]
    assert all(name.endswith(".log") for name in left), left
    assert not list((uninterrupted.parent / "tmp").iterdir())
    assert living(uninterrupted.parent) == []


def test_the_adapter_is_peft_and_changes_the_base(uninterrupted: Path) -> None:
    from peft import PeftModel

    from star_loop.models import Pretrained
    from star_loop.models.weights import load_model, load_tokenizer

    base = Pretrained(name_or_path="tiny")
    inputs = load_tokenizer(base)("q540r870=", return_tensors="pt")
    before = load_model(base)(**inputs).logits
    tuned = PeftModel.from_pretrained(load_model(base), str(uninterrupted / "iterations/0002/adapter"))
    assert not before.equal(tuned(**inputs).logits)


def test_killed_stopped_and_launched_again_a_real_run_ends_with_the_same_bytes(
    uninterrupted: Path, tmp_path: Path
) -> None:
    end_at("iteration=0 name=", signal.SIGTERM, tmp_path)
    end_at("iteration=1 name=train", signal.SIGKILL, tmp_path)
    end_at("iteration=2 name=test", signal.SIGINT, tmp_path)
    finish(tmp_path)
    ours, whole = contents(tmp_path / "run"), contents(uninterrupted)
    ours.pop("config.yaml"), whole.pop("config.yaml")  # `outputs` is another folder
    assert ours.keys() == whole.keys()
    assert [name for name in whole if ours[name] != whole[name]] == []

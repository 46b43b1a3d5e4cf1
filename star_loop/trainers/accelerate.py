"""LoRA rounds over several processes: `accelerate launch` of a worker on a job file."""

import importlib.util
import json
import os
import shutil
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from star_loop.generators.devices import cores
from star_loop.generators.process import WorkerError, WorkerProcess
from star_loop.models import Model, Pretrained
from star_loop.protocols import Progress, TrainingError
from star_loop.trainers.batches import Encoded, Step
from star_loop.trainers.lora import Lora

LAUNCHER = "accelerate.commands.launch"
WORKER = "star_loop.trainers.accelerate_worker"
JOB = 0
"""The only call that the ranks answer."""


class Accelerate(Lora):
    """`Lora` over the ranks of one machine: the same steps on the same sequences, with the same loss but for rounding.

    Each optimiser step's sequences are dealt to the ranks; its loss is divided by the loss tokens of all of them. The
    processes live for one round, so all their memory is given back.

    Example:
        >>> Accelerate(processes=2, strategy="fsdp2", batch_size=32).batch_size_of(100)
        32
    """

    processes: int | None = Field(None, ge=1)
    """Ranks; null: one for each GPU, or one."""
    strategy: Literal["ddp", "fsdp2", "deepspeed"] = "ddp"
    """`ddp`: every rank holds the base; `fsdp2`: it is sharded over them; `deepspeed`: as `config_file` says, ZeRO
    stage 1 or 2."""
    config_file: Path | None = None
    """Accelerate's own configuration (`accelerate config`), for what is not a key here; `deepspeed` needs it."""
    timeout: float = Field(1800.0, gt=0)
    """Seconds without any sign of life (a step, a line in the log) after which a round counts as hung."""

    def check(self) -> None:
        """Look for DeepSpeed and for the configuration file.

        Raises:
            ValueError: one of them is missing; or a loss on pairs, which one process must see whole; or another method
                than LoRA.
        """
        if self.method != "LORA":
            raise ValueError(f"trainer.peft.peft_type={self.method} is for one process: take trainer=lora")
        if self.loss == "dpo":
            raise ValueError("trainer.loss=dpo is for one process: take trainer=lora, or trainer.loss=rift")
        if self.config_file is not None and not self.config_file.is_file():
            raise ValueError(f"trainer.config_file={self.config_file}: no such file; `accelerate config` writes one")
        if self.strategy != "deepspeed":
            return
        if importlib.util.find_spec("deepspeed") is None:
            raise ValueError(
                "trainer.strategy=deepspeed, but DeepSpeed is not installed: pip install deepspeed, or take "
                "trainer.strategy=fsdp2, which shards the weights and needs nothing else."
            )
        if self.config_file is None:
            raise ValueError("trainer.strategy=deepspeed needs trainer.config_file: `accelerate config` writes one")

    def check_base(self, base: Pretrained) -> None:
        """Look at what `Lora` does, and refuse a quantised base."""
        if base.quantization:
            raise ValueError(f"model.quantization={base.quantization} is for one process: take trainer=lora")
        super().check_base(base)

    def carry_out(
        self, batches: Sequence[Sequence[Encoded]], start: Model, into: Path, *, seed: int, progress: Progress | None
    ) -> Sequence[Step]:
        """Return the round in ranks. Their files are in `into` until they have ended: it is published without them.

        Raises:
            ValueError, TrainingError: see `Lora.train`; or a rank died or hung.
        """
        workspace = into / ".ranks"
        workspace.mkdir()
        job = workspace / "job.json"
        job.write_text(json.dumps(self._job(batches, start, into, seed)), encoding="utf-8")
        answer = self._launch(job, progress)
        if "refused" in answer:
            raise {"ValueError": ValueError, "TrainingError": TrainingError}[answer["refused"]](answer["why"])
        shutil.rmtree(workspace)
        return [Step(loss=loss, correct=correct, grad_norm=norm) for loss, correct, norm in answer["curve"]]

    def _job(self, batches: Sequence[Sequence[Encoded]], start: Model, into: Path, seed: int) -> dict[str, Any]:
        """Return what the ranks need; a sequence that comes in every pass is written once."""
        distinct = {id(sequence): sequence for sequence in chain.from_iterable(batches)}
        place = {name: k for k, name in enumerate(distinct)}
        return {
            "trainer": self.model_dump(mode="json") | {"gradient_checkpointing": bool(self.gradient_checkpointing)},
            "base": start.base.model_dump(mode="json"),
            "adapter": str(start.adapter.resolve()) if start.adapter else None,
            "into": str(into.resolve()),
            "seed": seed,
            "sequences": [[list(s.ids), s.prompt, s.weight] for s in distinct.values()],
            "batches": [[place[id(sequence)] for sequence in batch] for batch in batches],
        }

    def _launch(self, job: Path, progress: Progress | None) -> dict[str, Any]:
        gpus = _gpus()
        processes = self.processes or gpus or 1
        if gpus and processes > gpus:
            raise ValueError(f"trainer.processes={processes}, but this machine has {gpus} GPUs: one for each rank")
        threads = self.threads or max(cores() // processes, 1)
        worker = WorkerProcess(
            LAUNCHER,
            arguments=[*self._options(processes), "-m", WORKER, str(job.resolve())],
            workspace=job.parent,
            environment={"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))},
            timeout=self.timeout,
            key="trainer.timeout",
        )
        try:
            found: dict[str, Any] = worker.result(JOB, progress)
            return found
        except WorkerError as error:
            raise TrainingError(f"a round of {processes} ranks ({self.strategy}) did not end: {error}") from error
        finally:
            worker.close()

    def _options(self, processes: int) -> list[str]:
        options = {
            "num_processes": processes, "num_machines": 1, "main_process_port": 0,
            "mixed_precision": "no", "dynamo_backend": "no",
        }  # fmt: skip
        spread = ["--use_deepspeed"] if self.strategy == "deepspeed" else ["--multi_gpu"] if processes > 1 else []
        chosen = [] if self.config_file is None else [f"--config_file={self.config_file.resolve()}"]
        return [*spread, *chosen, *(f"--{name}={value}" for name, value in options.items())]


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()

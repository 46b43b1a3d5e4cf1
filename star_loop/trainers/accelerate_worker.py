"""One rank of a round, started by `accelerate launch … -m star_loop.trainers.accelerate_worker <job file>`.

A rank knows neither Hydra nor the run: the job file says all. It ends when the launch does: its standard input ends, or
(Linux) its parent is gone. The first rank tells the launch of every step and of the result; any rank may tell why there
is none.
"""

import json
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from star_loop.generators.process import Send, connect_to_parent, end_with_parent
from star_loop.models import Model, Pretrained
from star_loop.protocols import TrainingError
from star_loop.trainers.accelerate import JOB, Accelerate
from star_loop.trainers.batches import Encoded


def main() -> None:
    """Train, as the job file says."""
    messages, send = connect_to_parent()
    end_with_parent(signal.SIGKILL)  # which is killed itself: a rank that is stopped hears nothing else
    try:
        train(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), send)
    except (TrainingError, ValueError) as error:
        kind = "TrainingError" if isinstance(error, TrainingError) else "ValueError"
        send({"id": JOB, "result": {"refused": kind, "why": str(error)}})
    next(iter(messages))  # nothing comes; at the end of the launch's attention the process ends


def train(job: Mapping[str, Any], send: Send) -> None:
    """This rank's part of the round."""
    import torch
    from accelerate import Accelerator, PartialState

    from star_loop.trainers import finetuning
    from star_loop.trainers.distributed import placements

    settings = Accelerate(**job["trainer"])
    sequences = [Encoded(ids=ids, prompt=prompt, weight=weight) for ids, prompt, weight in job["sequences"]]
    on_cpu = not torch.cuda.is_available()
    PartialState(cpu=on_cpu)  # first, since Accelerate knows no DeepSpeed where it is told that there is no GPU
    accelerator = Accelerator(cpu=on_cpu and settings.strategy != "deepspeed")
    first = accelerator.is_main_process
    curve = finetuning.run(
        settings,
        [[sequences[k] for k in batch] for batch in job["batches"]],
        Model(base=Pretrained(**job["base"]), adapter=Path(job["adapter"]) if job["adapter"] else None),
        Path(job["into"]),
        seed=job["seed"],
        progress=(lambda steps: send({"id": JOB, "item": steps})) if first else None,
        place=partial(placements[settings.strategy], accelerator, settings),
    )
    if first:
        send({"id": JOB, "result": {"curve": [[step.loss, step.correct, step.grad_norm] for step in curve]}})


if __name__ == "__main__":
    main()

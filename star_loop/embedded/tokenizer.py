"""The byte-level tokenizer: any UTF-8 text has an encoding, one token for each byte, and comes back unchanged."""

from transformers import PreTrainedTokenizerFast

BYTES = 256
BOS, EOS, PAD = BYTES, BYTES + 1, BYTES + 2
VOCABULARY = BYTES + 3


def byte_tokenizer(context: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer without merges; prompts start with `<bos>`, and special tokens spelt out in a text are text.

    Args:
        context: tokens that the model can hold.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    specials = {"<bos>": BOS, "<eos>": EOS, "<pad>": PAD}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(alphabet)} | specials
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
        model_max_length=context,
    )

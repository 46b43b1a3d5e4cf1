"""`python -m star_loop.models.gguf FILE DIRECTORY`: a GGUF file as a directory that transformers and vLLM load.

What llama.cpp reads holds a whole model: quantised weights, tokenizer, chat template. transformers gives back the
weights in float32, and what it gives cannot be saved as it is, so the weights move into a fresh model that is written
in bfloat16. What quantisation took away stays away.

The directory appears whole or not at all. Its `provenance.json` says what it was made from.
"""

import argparse
import importlib.util
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from star_loop.config.screen import conclude, outlive_screen
from star_loop.errors import a_path
from star_loop.models.provenance import write_provenance

_TOLD = ("name", "license", "license.link", "author", "organization", "url", "source.url", "base_model.0.repo_url")


def convert(source: Path, into: Path) -> Path:
    """Write the model in the GGUF file `source` as the directory `into`, which must not exist.

    Returns:
        `into`.

    Raises:
        ValueError: the file is no whole GGUF, its architecture or its tokenizer is unknown, or `into` exists.
    """
    if into.exists():
        raise ValueError(f"{into} exists: give a directory that does not, or delete it")
    facts = read_facts(source)
    unfinished = into.with_name(f"{into.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        _write(source, facts, unfinished)
        unfinished.rename(into)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return into


def read_facts(source: Path) -> Mapping[str, Any]:
    """Return the metadata of a GGUF file, by key; of a list, how long it is.

    Raises:
        ValueError: the package gguf is not installed, the file is not a whole GGUF file, or transformers does not read
            its architecture.
    """
    if importlib.util.find_spec("gguf") is None:
        raise ValueError('a GGUF file needs the package gguf: pip install "star_loop[smollm]"')
    if not source.is_file():
        raise ValueError(f"there is no file {source}: give the path of a GGUF file")
    from gguf import GGUFReader
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    try:
        fields = GGUFReader(source).fields
        facts = {key: field.contents() if len(field.data) == 1 else len(field.data) for key, field in fields.items()}
        architecture = str(facts["general.architecture"])
    except Exception as error:  # what the library makes of a damaged file is of many kinds
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{source} is not a whole GGUF file ({what}): download it again") from error
    if architecture not in GGUF_SUPPORTED_ARCHITECTURES:
        known = ", ".join(sorted(GGUF_SUPPORTED_ARCHITECTURES))
        raise ValueError(
            f"{source} holds a model of the architecture {architecture!r}, which transformers does not read from GGUF "
            f"(it reads {known}): take the model's own safetensors"
        )
    return facts


def _write(source: Path, facts: Mapping[str, Any], into: Path) -> None:
    tokenizer = _tokenizer(source, facts)
    model = _model(source)
    rows, tokens = model.get_input_embeddings().num_embeddings, facts["tokenizer.ggml.tokens"]
    if rows < tokens:
        raise ValueError(f"{source} has {tokens} tokens and embeddings of {rows} only: take the model's own files")
    model.save_pretrained(str(into))
    tokenizer.save_pretrained(str(into))
    told = {key: facts[f"general.{key}"] for key in _TOLD if f"general.{key}" in facts}
    write_provenance(into, source, told)


def _tokenizer(source: Path, facts: Mapping[str, Any]) -> Any:
    """Return the tokenizer, which puts a BOS in front where the file says so (transformers forgets it)."""
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name)
        sample = "Hello, 12 + 5 = 17."
        if tokenizer.decode(tokenizer(sample).input_ids, skip_special_tokens=True).strip() != sample:
            raise ValueError(f"it does not give {sample!r} back")
    except Exception as error:  # of many kinds
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"the tokenizer in {source} cannot be rebuilt ({what}): take the model's own files") from error
    kind, bos = facts.get("tokenizer.ggml.model"), tokenizer.bos_token
    if bos is not None and facts.get("tokenizer.ggml.add_bos_token", kind == "llama"):
        template = TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)])
        tokenizer.backend_tokenizer.post_processor = template
    return tokenizer


def _model(source: Path) -> Any:
    """Return the dequantised weights in a model that can be saved, in bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        loaded = AutoModelForCausalLM.from_pretrained(
            str(source.parent), gguf_file=source.name, dtype=torch.float32, use_safetensors=False
        )
    except Exception as error:  # of many kinds
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"the weights in {source} cannot be read ({what}): take the model's safetensors") from error
    settings = {name: value for name, value in loaded.config.to_dict().items() if name != "quantization_config"}
    settings |= {"architectures": [type(loaded).__name__], "dtype": torch.bfloat16}
    with torch.device("meta"):
        model = type(loaded)(type(loaded.config).from_dict(settings))
    model.load_state_dict(loaded.to(torch.bfloat16).state_dict(), assign=True)
    model.tie_weights()
    return model


def main() -> int:
    """Convert the file that the command line names; what is wrong with it is said in one line.

    Returns:
        0, or 2 where it cannot be converted.
    """
    parser = argparse.ArgumentParser(prog="python -m star_loop.models.gguf", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=a_path, help="a GGUF file of a causal language model")
    parser.add_argument("directory", type=a_path, help="where its model is written; it must not exist")
    wanted = parser.parse_args()
    try:
        print(f"written: {convert(wanted.file, wanted.directory)}")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"star_loop: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    outlive_screen()
    conclude(main)

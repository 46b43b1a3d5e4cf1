"""A GGUF file becomes a directory whose model computes what the file's did; a bad file becomes one message."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gguf import GGUFWriter, TokenType

from star_loop.models import Pretrained
from star_loop.models.gguf import convert
from star_loop.models.packaged import find, home, obtain
from star_loop.models.weights import encode_completion, encode_prompt, load_model, load_tokenizer
from tests.small_models import byte_tokenizer, write_llama

TEXT = "Ann has 12 apples."
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
"""Of a layer's weights: transformers' name -> llama.cpp's."""


def llama_cpp_name(name: str) -> str:
    if name.startswith("model.layers."):
        _, _, layer, *rest = name.split(".")
        return f"blk.{layer}.{NAMES['.'.join(rest[:-1])]}.weight"
    fixed = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    return f"{fixed[name.removesuffix('.weight')]}.weight"


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """llama.cpp rotates neighbours where transformers rotates halves."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def write_gguf(
    model: Path, into: Path, *, architecture: str = "llama", add_bos: bool = True, tokenizer: str = "gpt2"
) -> Path:
    """A Llama directory as llama.cpp's own converter would write it, unquantised."""
    loaded = load_model(Pretrained(name_or_path=str(model)))
    config, tokens = loaded.config, load_tokenizer(Pretrained(name_or_path=str(model)))
    writer = GGUFWriter(into, architecture)
    writer.add_name("small")
    writer.add_license("apache-2.0")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model(tokenizer)
    writer.add_tokenizer_pre("default")
    letters = tokens.convert_ids_to_tokens(list(range(len(tokens))))
    letters[255] = "ĠĠ"  # a file without merges cannot be written
    writer.add_token_list(letters)
    writer.add_token_types([TokenType.NORMAL] * 256 + [TokenType.CONTROL] * (len(tokens) - 256))
    writer.add_token_merges(["Ġ Ġ"])
    writer.add_bos_token_id(tokens.bos_token_id)
    writer.add_eos_token_id(tokens.eos_token_id)
    writer.add_add_bos_token(add_bos)
    writer.add_chat_template("{% for m in messages %}[{{ m.content }}]{% endfor %}")
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in loaded.state_dict().items():
        rotated = heads.get(name.split(".")[-2])
        plain = permuted(weight, rotated) if rotated else weight
        writer.add_tensor(llama_cpp_name(name), plain.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return into


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def file(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(llama, tmp_path_factory.mktemp("gguf") / "small.gguf")


@torch.no_grad()
def test_the_directory_computes_what_the_file_did(llama: Path, file: Path, tmp_path: Path) -> None:
    made = Pretrained(name_or_path=str(convert(file, tmp_path / "made")), chat_template=True)
    made.check()
    original = Pretrained(name_or_path=str(llama))
    ids = encode_prompt(load_tokenizer(original), TEXT, None)
    assert encode_prompt(load_tokenizer(made), TEXT, None) == ids
    model = load_model(made)
    assert model.dtype == torch.bfloat16
    expected = load_model(original, torch.bfloat16)(torch.tensor([ids])).logits
    torch.testing.assert_close(model(torch.tensor([ids])).logits, expected)
    provenance = json.loads((tmp_path / "made" / "provenance.json").read_text())
    assert provenance["source"] == "small.gguf" and provenance["license"] == "apache-2.0"
    assert made.provenance == provenance and not original.provenance


def test_a_bos_stands_in_front_only_where_the_file_says_so(llama: Path, file: Path, tmp_path: Path) -> None:
    bare = write_gguf(llama, tmp_path / "bare.gguf", add_bos=False)
    for source, begins in ((file, True), (bare, False)):
        tokenizer = load_tokenizer(Pretrained(name_or_path=str(convert(source, tmp_path / source.stem))))
        assert (encode_prompt(tokenizer, TEXT, None)[0] == tokenizer.bos_token_id) == begins
        assert encode_completion(tokenizer, TEXT)[-1] == tokenizer.eos_token_id


def test_rows_that_no_token_has_stay(tmp_path: Path) -> None:
    larger = write_llama(tmp_path / "larger", spare=5)
    made = Pretrained(name_or_path=str(convert(write_gguf(larger, tmp_path / "larger.gguf"), tmp_path / "made")))
    assert load_model(made).get_input_embeddings().num_embeddings == 259 + 5
    assert encode_prompt(load_tokenizer(made), TEXT, None) == encode_prompt(byte_tokenizer(), TEXT, None)


def test_where_there_is_no_file_a_path_is_wanted(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "x y"):
        with pytest.raises(ValueError, match=f"there is no file {source}: give the path of a GGUF file"):
            convert(source, tmp_path / "made")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_file_that_is_cut_off_leaves_a_message_and_nothing_else(file: Path, tmp_path: Path, share: float) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(ValueError, match=r"cut\.gguf is not a whole GGUF file .*download it again"):
        convert(cut, tmp_path / "made")
    assert sorted(tmp_path.iterdir()) == [cut]


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"architecture": "mamba9"}, "'mamba9', which transformers does not read"),
        ({"tokenizer": "rwkv"}, r"the tokenizer in .* cannot be rebuilt"),
    ],
)
def test_what_transformers_does_not_read_leaves_a_message_and_nothing_else(
    llama: Path, tmp_path: Path, odd: dict[str, str], message: str
) -> None:
    source = write_gguf(llama, tmp_path / "odd.gguf", **odd)
    with pytest.raises(ValueError, match=message):
        convert(source, tmp_path / "made")
    assert sorted(tmp_path.iterdir()) == [source]


def test_the_command_says_it_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_text("no")
    command = [sys.executable, "-m", "star_loop.models.gguf", str(tmp_path / "no.gguf"), str(tmp_path / "made")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("star_loop: ") and len(done.stderr.splitlines()) == 1


def test_a_package_s_model_is_converted_once(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "small_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('its dependencies are not installed')\n")
    (package / "small.gguf").write_bytes(file.read_bytes())
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    home.cache_clear()
    source = find("small_package/small.gguf")
    assert source is not None and find("small_package/other.gguf") is None and find("no_package/small.gguf") is None
    named = Pretrained(name_or_path="nobody/nothing", package="small_package/small.gguf")
    named.check()
    written = (home(source) / "config.json").stat().st_mtime_ns
    assert obtain(source) == named.directory == home(source)
    assert (home(source) / "config.json").stat().st_mtime_ns == written


def test_without_the_package_the_message_names_it() -> None:
    absent = Pretrained(name_or_path="nobody/nothing", package="no_package/small.gguf")
    with pytest.raises(ValueError, match="install the package with no_package/small"):
        absent.check()


def test_a_gguf_file_as_a_model_names_the_command() -> None:
    with pytest.raises(ValueError, match=r"python -m star_loop\.models\.gguf my\.gguf"):
        Pretrained(name_or_path="my.gguf").check()

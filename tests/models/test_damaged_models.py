"""Model folders and adapters that were cut off, overwritten or spoilt: each is refused by name."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from star_loop.accounting.flops import shapes_of
from star_loop.config.build import build
from star_loop.errors import ConfigError
from star_loop.generators.serving import Canary
from star_loop.generators.transformers import Transformers
from star_loop.launch import EXPECTED
from star_loop.models import Model, Pretrained, fingerprint
from star_loop.models.weights import load_beside, load_merged, load_model, load_tokenizer
from star_loop.protocols import EngineError
from star_loop.records import Example
from star_loop.stages.load import check
from star_loop.trainers.lora import Lora
from tests.generators.test_generators import ask
from tests.quiz import configure
from tests.small_models import write_adapter, write_llama


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sound")
    write_llama(directory / "base")
    write_adapter(directory / "base", directory / "adapter")
    return directory


def edited(**changes: Any) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        fields = {name: value for name, value in (json.loads(data) | changes).items() if value != "absent"}
        return json.dumps(fields).encode()

    return change


def header(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """Another safetensors header before the same numbers."""

    def rewrite(data: bytes) -> bytes:
        length = int.from_bytes(data[:8], "little")
        fields = json.loads(data[8 : 8 + length])
        written = json.dumps(change(fields) or fields).encode()
        return len(written).to_bytes(8, "little") + written + data[8 + length :]

    return rewrite


def first(fields: dict[str, Any]) -> dict[str, Any]:
    return fields[sorted(name for name in fields if name != "__metadata__")[0]]


TEXTS = {
    "empty": lambda data: b"",
    "cut in half": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "not UTF-8": lambda data: b"\xff" + data,
    "a list": lambda data: b"[]",
    "a number": lambda data: b"3",
    "null": lambda data: b"null",
    "200,000 brackets": lambda data: b"[" * 200_000,
}
WEIGHTS = {
    "empty": lambda data: b"",
    "eight bytes": lambda data: data[:8],
    "cut in half": lambda data: data[: len(data) // 2],
    "last byte cut": lambda data: data[:-1],
    "one byte more": lambda data: data + b"\x00",
    "zeros": lambda data: bytes(len(data)),
    "a header of 2**63 bytes": lambda data: (2**63).to_bytes(8, "little") + data[8:],
    "a header that is no JSON": lambda data: data[:8] + b"x" + data[9:],
    "a header that is a list": header(lambda fields: ["x"]),
    "another dtype": header(lambda fields: first(fields).update(dtype="F64")),
    "no such dtype": header(lambda fields: first(fields).update(dtype="F7")),
    "another shape": header(lambda fields: first(fields).update(shape=[1, 2, 3])),
    "a negative shape": header(lambda fields: first(fields).update(shape=[-1])),
    "overlapping numbers": header(lambda fields: first(fields).update(data_offsets=[0, 4])),
}
BASE = {
    **{f"config.json {how}": ("config.json", change) for how, change in TEXTS.items()},
    **{f"weights {how}": ("model.safetensors", change) for how, change in WEIGHTS.items()},
    "no layer": ("config.json", edited(num_hidden_layers=3)),
    "a layer too many": ("config.json", edited(num_hidden_layers=1)),
    "layers below nothing": ("config.json", edited(num_hidden_layers=-1)),
    "layers in words": ("config.json", edited(num_hidden_layers="two")),
    "heads of nothing": ("config.json", edited(num_attention_heads=0)),
    "a wider model": ("config.json", edited(hidden_size=128)),
    "a longer vocabulary": ("config.json", edited(vocab_size=1000)),
    "no such architecture": ("config.json", edited(model_type="oracle")),
    "no architecture": ("config.json", edited(model_type="absent", architectures="absent")),
    "no such activation": ("config.json", edited(hidden_act="hope")),
}


@pytest.mark.parametrize(("name", "change"), BASE.values(), ids=BASE)
def test_a_base_model_that_cannot_be_loaded_is_named(
    sound: Path, tmp_path: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    directory = Path(shutil.copytree(sound / "base", tmp_path / "base"))
    (directory / name).write_bytes(change((directory / name).read_bytes()))
    pretrained = Pretrained(name_or_path=str(directory))
    with pytest.raises(EXPECTED, match=str(directory)):
        load_model(pretrained)
    if name == "config.json":
        try:
            shapes_of(pretrained)  # what a launch looks at first: sound, or the same message
        except EXPECTED as error:
            assert str(directory) in str(error)


@pytest.mark.parametrize("how", ["empty", "cut in half", "zeros", "not UTF-8"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_was_cut_off_is_found_before_anything_starts(sound: Path, tmp_path: Path, name: str, how: str) -> None:
    directory = Path(shutil.copytree(sound / "base", tmp_path / "base"))
    (directory / name).write_bytes(TEXTS[how]((directory / name).read_bytes()))
    with pytest.raises(ValueError, match=name):
        Pretrained(name_or_path=str(directory)).check()


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [("config.json", edited(num_hidden_layers=1), r"have model\.layers\.1\..*, a layer too many"),
     ("config.json", edited(hidden_size=128), r"have lm_head\.weight, .* in another shape"),
     ("config.json", edited(model_type="oracle"), r"does not recognize this architecture"),
     ("tokenizer.json", TEXTS["cut in half"], r"cannot load the tokenizer")],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_a_directory_is_bound(
    sound: Path, tmp_path: Path, name: str, change: Callable[[bytes], bytes], said: str
) -> None:
    directory = Path(shutil.copytree(sound / "base", tmp_path / "base"))
    (directory / name).write_bytes(change((directory / name).read_bytes()))
    with pytest.raises(ConfigError, match=said):
        check(build(configure("experiment=smoke", "model=tiny", f"model.name_or_path={directory}")))


TOKENIZERS = {
    **{f"tokenizer.json {how}": ("tokenizer.json", change) for how, change in TEXTS.items()},
    "no end of sequence": ("tokenizer_config.json", edited(eos_token="absent")),
    "no model": ("tokenizer.json", edited(model="absent")),
    "no such model": ("tokenizer.json", edited(model={"type": "Oracle"})),
}


@pytest.mark.parametrize(("name", "change"), TOKENIZERS.values(), ids=TOKENIZERS)
def test_a_tokenizer_that_cannot_be_used_is_named(
    sound: Path, tmp_path: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    directory = Path(shutil.copytree(sound / "base", tmp_path / "base"))
    (directory / name).write_bytes(change((directory / name).read_bytes()))
    with pytest.raises(ValueError, match=str(directory)):
        load_tokenizer(Pretrained(name_or_path=str(directory)))


def spoilt(value: float) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        weights = load_file(path)
        weights[sorted(weights)[0]].view(-1)[0] = value
        save_file(weights, path)

    return spoil


def reshaped(path: Path) -> None:
    weights = load_file(path)
    save_file({name: torch.cat([tensor, tensor]).contiguous() for name, tensor in weights.items()}, path)


def rewritten(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: (path.write_bytes(change(path.read_bytes())), None)[1]


ADAPTERS = {
    **{f"weights {how}": ("adapter_model.safetensors", rewritten(change)) for how, change in WEIGHTS.items()},
    **{f"configuration {how}": ("adapter_config.json", rewritten(change)) for how, change in TEXTS.items()},
    "NaN": ("adapter_model.safetensors", spoilt(math.nan)),
    "infinite": ("adapter_model.safetensors", spoilt(math.inf)),
    "another shape": ("adapter_model.safetensors", reshaped),
    "another rank": ("adapter_config.json", rewritten(edited(r=4))),
    "a rank in words": ("adapter_config.json", rewritten(edited(r="eight"))),
    "modules that are not there": ("adapter_config.json", rewritten(edited(target_modules=["oracle"]))),
    "no such method": ("adapter_config.json", rewritten(edited(peft_type="ORACLE"))),
    "weights deleted": ("adapter_model.safetensors", Path.unlink),
    "configuration deleted": ("adapter_config.json", Path.unlink),
}


@pytest.mark.parametrize(("name", "change"), ADAPTERS.values(), ids=ADAPTERS)
def test_an_adapter_that_cannot_be_loaded_is_named(
    sound: Path, tmp_path: Path, name: str, change: Callable[[Path], None]
) -> None:
    directory = Path(shutil.copytree(sound / "adapter", tmp_path / "adapter"))
    change(directory / name)
    model = Model(base=Pretrained(name_or_path=str(sound / "base")), adapter=directory)
    for load in (load_merged, load_beside):
        with pytest.raises(ValueError, match=str(directory)):
            load(model)


@pytest.mark.parametrize(
    "how", ["weights cut in half", "configuration empty", "NaN", "another shape", "a rank in words"]
)
def test_nor_is_training_continued_from_it(sound: Path, tmp_path: Path, how: str) -> None:
    directory = Path(shutil.copytree(sound / "adapter", tmp_path / "adapter"))
    name, change = ADAPTERS[how]
    change(directory / name)
    start = Model(base=Pretrained(name_or_path=str(sound / "base")), adapter=directory)
    examples = [Example(position=0, id="a", prompt="1+1=", completion="2")]
    (tmp_path / "next").mkdir()
    with pytest.raises(ValueError, match=str(directory)):
        Lora(r=8, lora_alpha=8, threads=1).train(examples, start, tmp_path / "next", steps=1, seed=0)
    assert not list((tmp_path / "next").iterdir())


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_a_base_of_no_numbers_is_named_before_anything_is_generated(
    sound: Path, tmp_path: Path, kind: torch.dtype, value: float | None
) -> None:
    directory = Path(shutil.copytree(sound / "base", tmp_path / "base"))
    weights = {name: tensor.to(kind) for name, tensor in load_file(directory / "model.safetensors").items()}
    last = sorted(weights)[-1]
    weights[last].view(-1)[-1] = torch.finfo(kind).max if value is None else value
    save_file(weights, directory / "model.safetensors")
    pretrained = Pretrained(name_or_path=str(directory))
    if value is None:
        fingerprint(pretrained)
    else:
        with pytest.raises(
            ValueError, match=rf"model\.safetensors has numbers that are not finite \(first in {last}\)"
        ):
            fingerprint(pretrained)


def test_numbers_that_overflow_in_a_product_are_named_before_anything_is_generated(sound: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(sound / "base", tmp_path / "base"))
    weights = load_file(directory / "model.safetensors")
    for name in ("model.norm.weight", "lm_head.weight"):
        weights[name] *= 1e30
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    base = Pretrained(name_or_path=str(directory))
    with (
        Transformers().engine(base, workspace=tmp_path, seed=0) as engine,
        pytest.raises(EngineError, match=rf"cannot serve {directory}: what the model computes is no number in float32"),
    ):
        engine.generate(ask(), seed=0)


def test_so_is_one_of_the_hubs_cache(sound: Path, tmp_path: Path) -> None:
    """A launch that has the snapshot on disk reads it before anything is generated, and names what is cut off."""
    cached = tmp_path / "models--mine--small"
    weights = shutil.copytree(sound / "base", cached / "snapshots/abc") / "model.safetensors"
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text("abc")
    keys = ["model.name_or_path=mine/small", "generator=transformers", "iterations=0"]

    def launched() -> str:
        line = [sys.executable, "-m", "star_loop", *keys, f"outputs={tmp_path}", "name=x"]
        environment = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 2 and not list(tmp_path.glob("x/iterations")), done.stderr
        return done.stderr

    spoilt(math.nan)(weights)
    assert re.match(rf"star_loop: {weights} has numbers that are not finite \(first in \S+\)", launched())
    os.truncate(weights, weights.stat().st_size - 1)
    assert launched().startswith(f"star_loop: {weights} is not whole")


def test_weights_are_read_once_at_the_start(sound: Path) -> None:
    """The fingerprint is that of the bytes, and nothing else looks at all of them."""
    reads: list[str] = []
    sys.addaudithook(lambda event, given: reads.append(str(given[0])) if event == "open" and not done else None)
    done = False
    experiment = build(configure(f"model.name_or_path={sound}/base"))
    check(experiment)
    fingerprint(experiment.model)
    done = True
    assert [name for name in reads if name.endswith(".safetensors")] == [f"{sound}/base/model.safetensors"]


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"architectures": ["BertForMaskedLM"]}, "says BertForMaskedLM, which does not continue texts"),
        ({"architectures": ["Qwen2ForSequenceClassification"]}, "says Qwen2ForSequenceClassification"),
        ({"architectures": None, "is_encoder_decoder": True}, "says a model of an encoder and a decoder"),
        ({"architectures": ["GPT2LMHeadModel"]}, None),
        ({"architectures": None}, None),
    ],
)
def test_another_architecture_is_named(sound: Path, tmp_path: Path, changes: dict[str, Any], said: str | None) -> None:
    directory = Path(shutil.copytree(sound / "base", tmp_path / "base"))
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | changes))
    if said is None:
        return Pretrained(name_or_path=str(directory)).check()
    with pytest.raises(ValueError, match=said):
        Pretrained(name_or_path=str(directory)).check()


def test_an_adapter_is_no_base(sound: Path) -> None:
    with pytest.raises(ValueError, match="is a PEFT adapter, without the base that it belongs to"):
        Pretrained(name_or_path=str(sound / "adapter")).check()


def test_weights_that_make_no_numbers_do_not_pass_for_new_ones() -> None:
    with pytest.raises(EngineError, match="nan nats"):
        Canary(prompts=[[1, 2, 3]], before=[-10.0], after=[-5.0]).verify([-10.0], [math.nan], "float32")

"""Which language model: a Hugging Face causal LM by name or path. No torch here; `weights.py` loads it."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from star_loop.config.component import Component
from star_loop.models.finite import digest
from star_loop.models.packaged import find, home, obtain
from star_loop.models.provenance import read_provenance

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_OTHERS = re.compile(
    r"For(MaskedLM|PreTraining|NextSentencePrediction|MultipleChoice|\w*(Classification|Answering|Detection|Segmentation))$"
)
"""Architectures that do not write: `transformers` would load some of them all the same, as decoders."""
_IDENTITY = (".json", ".safetensors", ".model", ".txt", ".jinja", ".py")


class Pretrained(Component):
    """The base model.

    Example:
        >>> Pretrained(name_or_path="Qwen/Qwen2.5-3B", dtype="bfloat16").chat_template
        False
    """

    continues: ClassVar[bool] = True
    """Whether it must be a model that continues texts, not one with another head."""

    weightless: ClassVar[bool] = False
    """Whether there is nothing to load: `model=scripted`."""

    name_or_path: str
    """A Hub id, a local directory, or `tiny`: the model that ships with the package."""
    revision: str | None = None
    """A branch, tag or commit of a Hub repository; None: its main branch."""
    package: str | None = None
    """`<module>/<file>`: a GGUF file in an installed Python package that stands in where the Hub's weights are not
    cached. It is converted once, into `~/.cache/star_loop` (or below `XDG_CACHE_HOME`)."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the weights in training; `auto`: as they were saved. A CPU that is slow in bfloat16 computes in float32."""
    quantization: Literal["nf4", "int8"] | None = None
    """Of the frozen base in a round, by bitsandbytes: 4 or 8 bits for each weight of a linear layer. The engine serves
    the base as it is on disk; how far the two are apart is measured after each round."""
    chat_template: bool = False
    """Wrap each prompt as a user's message in the tokenizer's chat template, and end a reply as the template does."""
    system_prompt: str | None = None
    """With `chat_template`: the system's message before the user's; None: the template's own, if it has one."""
    template_arguments: Mapping[str, Any] = {}
    """With `chat_template`: what the template takes by name, such as `enable_thinking: false`."""
    trust_remote_code: bool = False
    """Let a Hub repository's own Python code build the model."""

    def __hash__(self) -> int:
        """Hash all fields; a mapping has no hash of its own."""
        return hash(self.model_dump_json())

    @property
    def chat(self) -> "Pretrained | None":
        """Return what wraps prompts: this model, or None without a chat template."""
        return self if self.chat_template else None

    @property
    def directory(self) -> Path | None:
        """The local directory with the weights; None: a Hub id."""
        if self.name_or_path == "tiny":
            from star_loop.embedded import TINY

            return TINY
        if (packaged := self._packaged()) is not None:
            return home(packaged)
        path = Path(self.name_or_path).expanduser()
        return path if path.is_dir() else None

    @property
    def present(self) -> bool:
        """Tell whether the weights are on this machine already."""
        return self.directory is not None or bool(_cached_weights(self))

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Return what a converted directory says it was made from: `source`, `sha256`, `license`; otherwise nothing."""
        return read_provenance(self.directory) if self.directory else {}

    @property
    def location(self) -> str:
        """Return what `from_pretrained` is given: the directory or the Hub id."""
        return str(self.directory or self.name_or_path)

    def check(self) -> None:
        """Look for the weights without loading them; those of a package are converted if they never were.

        Raises:
            ValueError: a path that does not exist, or a directory without whole configuration or weights; offline,
                a Hub model that is not in the local cache; what belongs to a chat template, without one.
        """
        if not self.chat_template and (self.system_prompt is not None or self.template_arguments):
            raise ValueError("model.system_prompt and model.template_arguments need model.chat_template=true")
        if (packaged := self._packaged()) is not None:
            obtain(packaged)
        directory = self.directory
        if directory is not None:
            _check_directory(directory, self.name_or_path, continues=self.continues)
        elif self.name_or_path.endswith(".gguf"):
            raise ValueError(
                f"model.name_or_path={self.name_or_path!r}: a GGUF file is converted first: "
                f"python -m star_loop.models.gguf {self.name_or_path} DIRECTORY"
            )
        elif not _HUB_ID.fullmatch(self.name_or_path):
            raise ValueError(
                f"model.name_or_path: no directory {self.name_or_path!r}. "
                "Give a directory with config.json and *.safetensors, or a Hub id such as Qwen/Qwen2.5-3B."
            )
        else:
            _check_cache(self)

    def _packaged(self) -> Path | None:
        """Return the file that stands in for the Hub's weights; None: they are cached, or there is none."""
        return None if self.package is None or _cached(self) else find(self.package)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The model to generate with and to train from: a base, and the adapter that turns it into this iteration's."""

    base: Pretrained
    adapter: Path | None = None
    """What a round has written: a PEFT adapter, or a whole model of the base's architecture; None: the base itself."""

    @property
    def root(self) -> Pretrained:
        """Where the full weights are: of a model that was trained whole its own directory, otherwise the base."""
        if self.adapter is None or not is_whole(self.adapter):
            return self.base
        return self.base.model_copy(update={"name_or_path": str(self.adapter), "revision": None, "package": None})

    @property
    def iteration(self) -> int:
        """Return the iteration that trained it, after which its adapter's folder is called; 0: none did."""
        folder = "" if self.adapter is None else self.adapter.parent.name
        return int(folder) if folder.isdecimal() else 0

    @property
    def update(self) -> Path | None:
        """The adapter that is added to `root`; None: nothing is."""
        return self.adapter if self.root is self.base else None


def is_whole(directory: Path) -> bool:
    """Tell whether a round has written a whole model there, and no adapter."""
    return (directory / "config.json").is_file()


def fingerprint(pretrained: Pretrained) -> str:
    """Identify the base weights, which are read once: SHA-256 over a directory's files; of a Hub id, name and revision.

    Raises:
        ValueError: weights that are cut off, or with numbers that are not finite.
    """
    directory = pretrained.directory
    if directory is None:
        for path in _cached_weights(pretrained):
            digest(path)
        return f"{pretrained.name_or_path}@{pretrained.revision or 'main'}"
    total = hashlib.sha256()
    for path in sorted(path for path in directory.iterdir() if path.suffix in _IDENTITY):
        total.update(f"{path.name} {_digest(path)}\n".encode())
    return total.hexdigest()


def _digest(path: Path) -> str:
    if path.suffix == ".safetensors":
        _check_header(path)
        return digest(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_directory(directory: Path, name: str, *, continues: bool) -> None:
    found = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
    missing = [] if "config.json" in found else ["config.json"]
    if not any(file.endswith(".safetensors") for file in found):
        missing.append("*.safetensors")
    if missing:
        listing = ", ".join(found[:8]) or "nothing"
        if "adapter_config.json" in found:
            raise ValueError(
                f"model.name_or_path={name!r}: {directory} is a PEFT adapter, without the base that it belongs to: "
                "give the whole model, such as merged/ of an export"
            )
        raise ValueError(
            f"model.name_or_path={name!r}: {directory} has no {' and no '.join(missing)} (found: {listing}). "
            "Save the model there with save_pretrained(), which writes both."
        )
    _check_configuration(directory / "config.json", continues=continues)
    for file in found:
        if file.endswith(".safetensors"):
            _check_header(directory / file)


def _check_configuration(path: Path, *, continues: bool) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}): download or save the model again") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not a JSON object: download or save the model again")
    named = [name for name in _listed(found.get("architectures")) if _OTHERS.search(name)]
    if continues and (named or found.get("is_encoder_decoder") is True):
        what = named[0] if named else "a model of an encoder and a decoder"
        raise ValueError(
            f"{path} says {what}, which does not continue texts: take a causal language model (…ForCausalLM)"
        )


def _listed(names: Any) -> list[str]:
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _check_header(path: Path) -> None:
    """It says how long the file is, so a download that broke off is found before anything starts."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            return
    except SafetensorError as error:
        raise ValueError(f"{path} is not whole ({error}): download or save the model again") from error


def _cached(pretrained: Pretrained) -> bool:
    return isinstance(_cached_configuration(pretrained), str)


def _cached_configuration(pretrained: Pretrained) -> Any:
    from huggingface_hub import try_to_load_from_cache

    return try_to_load_from_cache(pretrained.name_or_path, "config.json", revision=pretrained.revision)


def _cached_weights(pretrained: Pretrained) -> list[Path]:
    """What the Hub's cache holds of the weights already; what it lacks is downloaded whole or not at all."""
    cached = _cached_configuration(pretrained)
    found = sorted(Path(cached).parent.glob("*.safetensors")) if isinstance(cached, str) else []
    return [path for path in found if path.is_file()]


def _check_cache(pretrained: Pretrained) -> None:
    from huggingface_hub import constants

    if isinstance(cached := _cached_configuration(pretrained), str):
        _check_configuration(Path(cached), continues=pretrained.continues)
        for path in _cached_weights(pretrained):
            _check_header(path)
        return
    if not constants.HF_HUB_OFFLINE:
        return
    raise ValueError(
        f"model.name_or_path={pretrained.name_or_path!r} is neither a directory nor in the Hub cache, "
        "and HF_HUB_OFFLINE is set. Check the spelling, or download it first (hf download)"
        + (f", or install the package with {pretrained.package}." if pretrained.package else ".")
    )

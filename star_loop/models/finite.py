"""Weights that are no numbers, found while the files are read for their fingerprint: once, before anything starts."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

_EXPONENTS: dict[str, tuple[type[np.unsignedinteger[Any]], int]] = {
    "F64": (np.uint64, 0x7FF0_0000_0000_0000),
    "F32": (np.uint32, 0x7F80_0000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}
"""Kind of number -> its bits as an integer, and those of its exponent: all of them are set in NaN and infinity."""
_CHUNK = 1 << 26
"""Bytes that are looked at together."""


def digest(path: Path) -> str:
    """Return the SHA-256 of a safetensors file, all of whose numbers are looked at on the way.

    Raises:
        ValueError: names the file and the first tensor in it with a number that is not finite.
    """
    total = hashlib.sha256()
    with path.open("rb") as file:  # length, header, numbers without a gap: see safetensors' format
        total.update(length := file.read(8))
        total.update(header := file.read(int.from_bytes(length, "little")))
        tensors = [(found["data_offsets"], name, found["dtype"]) for name, found in _listed(header)]
        for (first, last), name, kind in sorted(tensors):
            for at in range(first, last, _CHUNK):
                total.update(numbers := file.read(min(_CHUNK, last - at)))
                if kind in _EXPONENTS and _spoilt(numbers, *_EXPONENTS[kind]):
                    raise ValueError(
                        f"{path} has numbers that are not finite (first in {name}), so nothing that it generates would "
                        "mean anything: download or save the model again"
                    )
        total.update(file.read())
    return total.hexdigest()


def _listed(header: bytes) -> list[tuple[str, dict[str, Any]]]:
    return [(name, found) for name, found in json.loads(header).items() if name != "__metadata__"]


def _spoilt(numbers: bytes, kind: type[np.unsignedinteger[Any]], exponent: int) -> bool:
    return bool(((np.frombuffer(numbers, kind) & kind(exponent)) == kind(exponent)).any())

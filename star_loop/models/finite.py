"""Weights that are no numbers, found in the files before anything is generated with them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from star_loop.models.pretrained import Pretrained

_EXPONENTS: dict[str, tuple[type[np.unsignedinteger[Any]], int]] = {
    "F64": (np.uint64, 0x7FF0_0000_0000_0000),
    "F32": (np.uint32, 0x7F80_0000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}
"""Kind of number -> its bits as an integer, and those of its exponent: all of them are set in NaN and infinity."""
_CHUNK = 1 << 26
"""Bytes that are looked at together."""


def check_finite(pretrained: Pretrained) -> None:
    """Read all weights of a local directory once; of a Hub id nothing, since it was downloaded whole or not at all.

    Raises:
        ValueError: names the file and the first tensor in it with a number that is not finite.
    """
    for path in sorted(pretrained.directory.glob("*.safetensors")) if pretrained.directory else ():
        if (name := next(_spoilt(path), None)) is not None:
            raise ValueError(
                f"{path} has numbers that are not finite (first in {name}), so nothing that it generates would mean "
                "anything: download or save the model again"
            )


def _spoilt(path: Path) -> Iterator[str]:
    """Yield the tensors with a NaN or an infinity; see safetensors' format: length, header, numbers."""
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(start - 8))
        for name, tensor in header.items():
            if name == "__metadata__" or tensor["dtype"] not in _EXPONENTS:
                continue
            kind, exponent = _EXPONENTS[tensor["dtype"]]
            first, last = tensor["data_offsets"]
            file.seek(start + first)
            for size in (min(_CHUNK, last - at) for at in range(first, last, _CHUNK)):
                bits = np.frombuffer(file.read(size), kind)
                if ((bits & kind(exponent)) == kind(exponent)).any():
                    yield name
                    break

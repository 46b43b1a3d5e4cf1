"""What has arrived of the wave under way, so that a kill loses only the requests in flight.

Under `seeding: request` a completion depends on its request alone: one that was kept is the one that would come again.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any

from star_loop.records import Completion, Request, Sampling
from star_loop.run.disk import Disk

logger = logging.getLogger(__name__)

BATCH = 64
"""Lines between two waits for the device: what a power cut may lose. A kill of the process loses no line."""

_FIELDS = tuple(field.name for field in fields(Completion))

Row = tuple[str, str, list[Completion]]
"""(wave, name of the request, its completions)"""


class Arrivals:
    """`arrived.jsonl`: completions of one wave (or pilots, or a split), each appended as it arrives; then discarded.

    A line begins with the checksum of its rest. One that is torn or damaged does not count: its request is asked again.

    Args:
        path: the file, which exists only while something is under way.
        disk: what writes it.
    """

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path, self.disk = path, disk
        self._wave = ""
        self._known: dict[str, list[Completion]] = {}
        self._lines = 0

    def turn_to(self, wave: str) -> None:
        """Go on with the wave of this name. What is left of another is discarded: it is finished."""
        if wave != self._wave:
            self._wave, self._known = wave, self._read(wave)

    def known(self, request: Request) -> list[Completion] | None:
        """Return the completions of this request of the wave, if an earlier launch has had them."""
        return self._known.get(_name(request))

    def add(self, request: Request, completions: Sequence[Completion]) -> None:
        """Keep the completions of a request of the wave."""
        # `asdict` would copy every token id by itself.
        drawn = [{name: getattr(completion, name) for name in _FIELDS} for completion in completions]
        row = [self._wave, _name(request), drawn]
        self.disk.append(self.path, _sealed(json.dumps(row).encode()) + b"\n")
        self._lines += 1
        if self._lines % BATCH == 0:
            self.disk.flush(self.path)

    def discard(self) -> None:
        """Discard what arrived: nothing is under way any more."""
        self._wave, self._known = "", {}
        if self.path.exists():
            self.disk.discard(self.path)

    def _read(self, wave: str) -> dict[str, list[Completion]]:
        """Read what the file holds of this wave. Nothing else is left in it, so that a line can be appended."""
        if not self.path.exists():
            return {}
        data = self.path.read_bytes()
        *lines, torn = data.split(b"\n")
        rows = [_row(line) for line in lines]
        if damaged := rows.count(None):
            logger.warning("%s: %d lines are damaged: what they held is generated again", self.path, damaged)
        kept = [line for line, row in zip(lines, rows, strict=True) if row is not None and row[0] == wave]
        if not kept:
            self.disk.discard(self.path)
        elif torn or len(kept) < len(lines):
            self.disk.publish(self.path, b"".join(line + b"\n" for line in kept))
        return {row[1]: row[2] for row in rows if row is not None and row[0] == wave}


def _name(request: Request) -> str:
    """Name a request by all that its completions may depend on besides the model."""
    plain = {name: getattr(request, name) for name in ("prompt", "n", "seed", "hinted")}
    asked = {**plain, "id": request.observation.id, "sampling": _sampling(request.sampling)}
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


@cache
def _sampling(sampling: Sampling) -> dict[str, Any]:
    """Return what a pass asks thousands of times."""
    return asdict(sampling)


def _sealed(row: bytes) -> bytes:
    return hashlib.sha256(row).hexdigest().encode() + b" " + row


def _row(line: bytes) -> Row | None:
    """Return what was sealed in a line; None: the line is not what this version has written."""
    row = line.partition(b" ")[2]
    if line != _sealed(row):
        return None
    try:
        wave, name, completions = json.loads(row)
        return str(wave), str(name), [Completion(**fields) for fields in completions]
    except (ValueError, TypeError, RecursionError):
        return None

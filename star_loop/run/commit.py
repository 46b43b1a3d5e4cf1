"""`state.json`, the commit of an iteration: what it is made of, sealed by a digest."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from star_loop.records.encoding import Record, RecordError, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class IterationState(Record):
    """The commit: everything that says an iteration is complete, and from where the next one starts."""

    format: int
    """Version of the run-directory format."""
    iteration: int
    predecessor: str | None
    """The digest of the commit before; None: iteration 0 has none."""
    adapter: str | None
    """The model after this iteration, relative to the run directory; None: the base model."""
    files: Mapping[str, str]
    """Every other file of the iteration, relative to its directory -> SHA-256 of its bytes."""
    kept: tuple[int, ...] | None = None
    """Iterations whose adapters stay from here on; None: all."""
    made_of: Mapping[str, Any] = field(default_factory=dict)
    """What the run is made from, as in `identity.json`: by it a commit knows its run, and a fork what it must share."""
    digest: str = ""
    """SHA-256 of this record without it."""

    def sealed(self) -> "IterationState":
        """This record with its digest."""
        return dataclasses.replace(self, digest=_digest(json.loads(self.to_json())))

    @classmethod
    def unsealed(cls, line: str) -> "IterationState":
        """Return the record that was sealed and written.

        Raises:
            RecordError: it is not what was written.
        """
        row = parse(line)
        if not isinstance(row, dict) or row.get("digest") != _digest(row):
            raise RecordError("its bytes are not those that were committed")
        return cls.from_json(line)


def _digest(row: Mapping[str, Any]) -> str:
    bare = json.dumps({**row, "digest": ""}, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(bare.encode("utf-8", "surrogatepass")).hexdigest()

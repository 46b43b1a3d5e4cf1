"""Where converted weights come from: the file beside them that says so."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FILE = "provenance.json"


def checksum(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_provenance(directory: Path, source: Path, told: Mapping[str, Any]) -> None:
    """Say in the directory what file it was made from (`source`, `sha256`, `size` in bytes), and what it told."""
    facts = {"source": source.name, "sha256": checksum(source), "size": source.stat().st_size, **told}
    (directory / _FILE).write_text(json.dumps(facts, indent=2, default=str) + "\n", encoding="utf-8")


def read_provenance(directory: Path) -> Mapping[str, Any]:
    """Return what was written there; empty where nothing was."""
    path = directory / _FILE
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found

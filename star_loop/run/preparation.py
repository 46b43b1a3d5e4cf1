"""What was prepared before the first iteration: files that are made once and never changed."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from star_loop.records import Metrics
from star_loop.run.checksums import Ledger
from star_loop.run.disk import Disk, json_bytes, npz_bytes, read_json

Arrays = Mapping[str, NDArray[np.generic]]


class Folder:
    """`preparation/<name>/`: files that are made once and never changed."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path = path
        self.ledger = Ledger(
            path, disk, lambda: f"Restore it, or move {path} away: the same command makes the same one again"
        )

    def has(self, name: str) -> bool:
        """Tell whether the file is there, and then it is whole."""
        return (self.path / f"{name}.npz").exists()

    def arrays(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """Return the named arrays of `<name>.npz`, made only if the file is not there yet.

        Raises:
            RunError: its bytes are not those that were published.
        """
        if not self.has(name):
            self.ledger.publish(f"{name}.npz", npz_bytes(compute()))
        with np.load(io.BytesIO(self.ledger.read(f"{name}.npz")), allow_pickle=False) as stored:
            return dict(stored)

    def metrics(self, found: Metrics | None = None) -> Metrics:
        """`metrics.json`: published where some are given, else read.

        Raises:
            RunError: its bytes are not those that were published.
        """
        if found is not None:
            self.ledger.publish("metrics.json", json_bytes(found))
        return read_json(self.ledger.check("metrics.json"))

    def directory(self, name: str, fill: Callable[[Path], None]) -> Path:
        """Return a directory, filled only if it is not there yet."""
        if not (self.path / name).exists():
            self.ledger.publish_directory(name, fill)
        return self.ledger.check(name)

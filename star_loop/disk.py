"""Atomic publishing, checksums of what was published, and its encodings."""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class RunError(ValueError):
    """A run directory that cannot be used as it is; names the file or key, what was found and what to do."""


class Disk:
    """Every effect on the file system, one method each, so that a test can fail any of them."""

    def write(self, path: Path, data: bytes) -> None:
        """Create or replace a file."""
        with naming(path):
            path.write_bytes(data)

    def append(self, path: Path, line: bytes) -> None:
        """Add to a journal in one write."""
        with naming(path), path.open("ab", buffering=0) as journal:
            journal.write(line)

    def flush(self, path: Path) -> None:
        """Force a file, or a directory's entries, to the device."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            with naming(path):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Atomically move within one file system."""
        source.replace(target)

    def publish(self, path: Path, data: bytes) -> None:
        """A whole file, or none."""
        self.publish_file(path, lambda unfinished: self.write(unfinished, data))

    def publish_file(self, path: Path, fill: Callable[[Path], None]) -> None:
        """A whole file that `fill` writes, or none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.unfinished")
        with naming(unfinished):
            fill(unfinished)
        self.flush(unfinished)
        self.rename(unfinished, path)
        self.flush(path.parent)

    def publish_directory(self, path: Path, fill: Callable[[Path], None]) -> None:
        """A whole directory, or none. Left-overs of an interrupted attempt are discarded."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.unfinished")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir()
        fill(unfinished)
        for item in sorted(unfinished.rglob("*")):
            self.flush(item)
        self.flush(unfinished)
        self.rename(unfinished, path)
        self.flush(path.parent)

    def discard(self, path: Path) -> None:
        """Take a file away that nothing needs any more."""
        path.unlink()

    def remove(self, path: Path) -> None:
        """Take a directory away; what is left of it after an interruption has a hidden name."""
        removed = path.with_name(f".{path.name}.removed")
        if removed.exists():
            shutil.rmtree(removed)
        if path.exists():
            self.rename(path, removed)
            shutil.rmtree(removed)


class Ledger:
    """`checksums.txt` of a folder: the SHA-256 of each file published in it, as `sha256sum -c` reads them.

    A checksum is written before its file, so a file in its place has one; a checksum without its file means that the
    file is still to be made, or made again. The last line is the checksum of the lines above.

    Args:
        folder: what the names are relative to.
        remedy: what to do about a damaged file, asked for when there is one.
    """

    def __init__(self, folder: Path, disk: Disk, remedy: Callable[[], str]) -> None:
        self.folder, self.disk, self.remedy = folder, disk, remedy

    @property
    def path(self) -> Path:
        """The file itself."""
        return self.folder / "checksums.txt"

    def publish(self, name: str, data: bytes) -> Path:
        """A whole file, or none."""
        self._enter({name: hashlib.sha256(data).hexdigest()})
        self.disk.publish(self.folder / name, data)
        return self.folder / name

    def publish_file(self, name: str, fill: Callable[[Path], None]) -> Path:
        """A whole file that `fill` writes, or none."""

        def fill_and_enter(into: Path) -> None:
            fill(into)
            self._enter({name: checksum(into)})

        self.disk.publish_file(self.folder / name, fill_and_enter)
        return self.folder / name

    def publish_directory(self, name: str, fill: Callable[[Path], None]) -> Path:
        """A whole directory, or none."""

        def fill_and_enter(into: Path) -> None:
            fill(into)
            self._enter({f"{name}/{inner}": digest for inner, digest in checksums(into).items()})

        self.disk.publish_directory(self.folder / name, fill_and_enter)
        return self.folder / name

    def read(self, name: str) -> bytes:
        """A published file.

        Raises:
            RunError: its bytes are not those that were published.
        """
        data = (self.folder / name).read_bytes()
        self._compare({name: hashlib.sha256(data).hexdigest()})
        return data

    def check(self, name: str) -> Path:
        """A published file, or a directory with all its files, compared without being held in memory.

        Raises:
            RunError: it is not what was published.
        """
        path = self.folder / name
        if path.is_dir():
            found = {f"{name}/{inner}": digest for inner, digest in checksums(path).items()}
            if missing := sorted(
                known for known in self.entries() if known.startswith(f"{name}/") and known not in found
            ):
                raise self.damaged(self.folder / missing[0], "it is missing")
            self._compare(found)
        elif path.exists():
            self._compare({name: checksum(path)})
        return path

    def check_all(self, *, complete: bool) -> None:
        """Every file that was published here; `complete`: none of them may be missing.

        Raises:
            RunError: names the first that is not what was published.
        """
        for name in self.entries():
            if complete and not (self.folder / name).exists():
                raise self.damaged(self.folder / name, "it is missing")
            self.check(name)

    def entries(self) -> dict[str, str]:
        """Name -> checksum of everything that was published, in order.

        Raises:
            RunError: the file is not what was written.
        """
        if not self.path.exists():
            return {}
        *lines, seal, end = self.path.read_bytes().split(b"\n") if self.path.stat().st_size else [b"", b""]
        if end or seal != _seal(lines):
            raise self.damaged(self.path, "its bytes are not those that were written")
        return {name: digest for digest, _, name in (line.decode().partition("  ") for line in lines)}

    def damaged(self, path: Path, what: str) -> RunError:
        """The error about a file, with the remedy."""
        return RunError(f"{path} is damaged: {what}. {self.remedy()}")

    def _compare(self, found: Mapping[str, str]) -> None:
        known = self.entries()
        for name, digest in found.items():
            if known.get(name, digest) != digest:
                raise self.damaged(self.folder / name, "its bytes are not those that were published")
        if new := {name: digest for name, digest in found.items() if name not in known}:
            self._enter(new)  # checksums.txt was lost: from here on they are known again

    def _enter(self, new: Mapping[str, str]) -> None:
        lines = [f"{digest}  {name}".encode() for name, digest in {**self.entries(), **new}.items()]
        self.disk.publish(self.path, b"".join(line + b"\n" for line in [*lines, _seal(lines)]))


def _seal(lines: Sequence[bytes]) -> bytes:
    return b"# " + hashlib.sha256(b"\n".join(lines)).hexdigest().encode()


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(folder: Path) -> dict[str, str]:
    """Relative name -> checksum of every file of a folder, in the order of names; hidden ones are left out."""
    names = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    return {n.as_posix(): checksum(folder / n) for n in names if not any(part.startswith(".") for part in n.parts)}


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the path into an error of the operating system that does not name it (a write's, an fsync's)."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Indented JSON; a value that is not a finite number is an error."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        RunError: missing, or not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, FileNotFoundError) as error:
        raise RunError(f"{path} cannot be read ({error}): restore it, or fork from an earlier iteration") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} is not a JSON object: restore it, or fork from an earlier iteration")
    return value


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Named arrays; equal arrays are equal bytes."""
    sink = io.BytesIO()
    np.savez(sink, **dict(arrays))  # type: ignore[arg-type]
    return sink.getvalue()


def parquet_bytes(columns: Mapping[str, Any]) -> bytes:
    """Columns of equal length."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    sink = io.BytesIO()
    parquet.write_table(arrow.table(dict(columns)), sink)
    return sink.getvalue()

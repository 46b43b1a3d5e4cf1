"""Atomic publishing, and the encodings of what is published."""

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from filelock import BaseFileLock


_REPLACED = 9
"""Times that a lock is taken anew, at most: on an odd file system its number, or its links, may say nothing."""


class RunError(ValueError):
    """A run directory that cannot be used as it is; names the file or key, what was found and what to do."""


class Disk:
    """Every effect on the file system, one method each, so that a test can fail any of them."""

    def write(self, path: Path, data: bytes) -> None:
        """Create or replace a file."""
        with naming(path):
            path.write_bytes(data)

    def append(self, path: Path, line: bytes) -> None:
        """Add to a journal in one write; not to a snapshot of it that was made by hard links."""
        if path.exists() and path.stat().st_nlink > 1:
            self.publish(path, path.read_bytes())
        if path.is_fifo():  # whose opening would wait for a reader
            refuse_endless(path)
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

    def lock(self, path: Path) -> "BaseFileLock":
        """Take a lock that dies with its process; one that a snapshot by hard links shares is replaced by its own.

        Raises:
            filelock.Timeout: another process has it.
            OSError: the file system has no locks.
        """
        from filelock import FileLock

        for _ in range(_REPLACED):
            known, lock = _status(path), FileLock(path, timeout=0)
            with naming(path):
                lock.acquire()
            there = _status(path)
            if there and there.st_nlink <= 1 and (known is None or known.st_ino == there.st_ino):
                break
            if there and there.st_nlink > 1:
                path.unlink()
            lock.release()  # it is not, or not only, this run's: somebody else may have replaced it meanwhile
        return lock

    def publish(self, path: Path, data: bytes) -> None:
        """Publish a whole file, or none."""
        self.publish_file(path, lambda unfinished: self.write(unfinished, data))

    def publish_file(self, path: Path, fill: Callable[[Path], None]) -> None:
        """Publish a whole file that `fill` writes, or none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = unfinished_of(path)
        clear(unfinished)
        with naming(unfinished):
            fill(unfinished)
        self.flush(unfinished)
        self.rename(unfinished, path)
        self.flush(path.parent)

    def publish_directory(self, path: Path, fill: Callable[[Path], None]) -> None:
        """Publish a whole directory, or none. Left-overs of an interrupted attempt are discarded."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = unfinished_of(path)
        clear(unfinished)
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
        clear(removed)
        if path.exists():
            self.rename(path, removed)
            shutil.rmtree(removed)


def unfinished_of(path: Path) -> Path:
    """Return where a file or a directory is written before it is published."""
    return path.with_name(f".{path.name}.unfinished")


def clear(path: Path) -> None:
    """Take away whatever is there, a pipe and a link too, which nobody is to write through."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the path into an error of the operating system that does not name it (a write's, an fsync's)."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


@contextmanager
def leaving_nothing_empty(directory: Path) -> Iterator[None]:
    """Take away again what was made meanwhile of a directory, and of the folders above it, and holds nothing."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        yield
    finally:
        for path in missing:
            try:
                path.rmdir()
            except OSError:
                continue  # it holds something, or was not made


def refuse_endless(path: Path) -> Path:
    """Return a path that can be read; it need not exist.

    Raises:
        RunError: it is a pipe or a device, whose reading would not end, or a folder.
    """
    if path.exists() and not path.is_file():
        what = "a folder where a file belongs" if path.is_dir() else "neither a file nor a folder"
        raise RunError(f"{path} is {what}: move it away, or restore what was there")
    return path


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Encode as indented JSON; a value that is not a finite number is an error."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file.

    Raises:
        RunError: missing, not a JSON object, or see `refuse_endless`.
    """
    refuse_endless(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, FileNotFoundError) as error:
        raise RunError(f"{path} cannot be read ({error}): restore it, or fork from an earlier iteration") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} is not a JSON object: restore it, or fork from an earlier iteration")
    return value


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Encode named arrays as npz; equal arrays are equal bytes."""
    sink = io.BytesIO()
    np.savez(sink, **dict(arrays))  # type: ignore[arg-type]
    return sink.getvalue()


def parquet_bytes(columns: Mapping[str, Any]) -> bytes:
    """Encode as Parquet columns of equal length."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    sink = io.BytesIO()
    parquet.write_table(arrow.table(dict(columns)), sink)
    return sink.getvalue()

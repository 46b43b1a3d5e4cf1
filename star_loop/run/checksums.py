"""What was published in a folder, by checksum: what is damaged is found before anything rests on it."""

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from star_loop.run.disk import Disk, RunError, refuse_endless

_ENTRY = re.compile(rb"[0-9a-f]{64}  [^\x00-\x1f]+")
_TORN = re.compile(rb"[0-9a-f]{0,64}|[0-9a-f]{64} {1,2}|[0-9a-f]{64}  [^\x00-\x1f]+(\n(#|# [0-9a-f]{0,64})?)?")
"""What a kill may leave of a line and its seal."""


class Ledger:
    """`checksums.txt` of a folder: the SHA-256 of each file published in it, as `sha256sum -c` reads them.

    A checksum is written before its file, so a file in its place has one; a checksum without its file means that the
    file is still to be made, or made again. Checksums are appended, each followed by a comment that seals it: the
    SHA-256 of all checksums so far. One that a kill has torn is not there yet, and neither is its file.

    Args:
        folder: what the names are relative to.
        remedy: what to do about a damaged file, asked for when there is one.
    """

    def __init__(self, folder: Path, disk: Disk, remedy: Callable[[], str]) -> None:
        self.folder, self.disk, self.remedy = folder, disk, remedy
        self._listed = _Listed()

    @property
    def path(self) -> Path:
        """The file itself."""
        return self.folder / "checksums.txt"

    def publish(self, name: str, data: bytes) -> Path:
        """Publish a whole file, or none."""
        self._enter({name: hashlib.sha256(data).hexdigest()})
        self.disk.publish(self.folder / name, data)
        return self.folder / name

    def publish_file(self, name: str, fill: Callable[[Path], None]) -> Path:
        """Return a whole file that `fill` writes, or none."""

        def fill_and_enter(into: Path) -> None:
            fill(into)
            self._enter({name: checksum(into)})

        self.disk.publish_file(self.folder / name, fill_and_enter)
        return self.folder / name

    def publish_directory(self, name: str, fill: Callable[[Path], None]) -> Path:
        """Publish a whole directory, or none."""

        def fill_and_enter(into: Path) -> None:
            fill(into)
            self._enter({f"{name}/{inner}": digest for inner, digest in checksums(into).items()})

        self.disk.publish_directory(self.folder / name, fill_and_enter)
        return self.folder / name

    def read(self, name: str) -> bytes:
        """Read a published file.

        Raises:
            RunError: its bytes are not those that were published.
        """
        data = (self.folder / name).read_bytes()
        self._compare({name: hashlib.sha256(data).hexdigest()})
        return data

    def check(self, name: str, *, enter: bool = True) -> Path:
        """Read a published file, or a directory with all its files, compared without being held in memory.

        `enter`: what has no checksum, since checksums.txt was lost, gets one; readers leave a run as it is.

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
            self._compare(found, enter)
        elif path.exists():
            self._compare({name: checksum(path)}, enter)
        return path

    def check_all(self, *, complete: bool) -> None:
        """Check every file that was published here; `complete`: none of them may be missing.

        Raises:
            RunError: names the first that is not what was published.
        """
        entries = self.entries()
        if complete and self._listed.torn:
            raise self._cut_off()
        for name in list(entries):
            if complete and not (self.folder / name).exists():
                raise self.damaged(self.folder / name, "it is missing")
            self.check(name)

    def entries(self) -> dict[str, str]:
        """Name -> checksum of everything that was published, in order.

        Raises:
            RunError: the file is not what was written.
        """
        size = refuse_endless(self.path).stat().st_size if self.path.exists() else None
        if size != self._listed.size:  # it grows when it changes
            try:
                self._listed = _Listed(None if size is None else self.path.read_bytes())
            except ValueError as error:
                raise self.damaged(self.path, "its bytes are not those that were written") from error
        return self._listed.entries

    def damaged(self, path: Path, what: str) -> RunError:
        """Return the error about a file, with the remedy."""
        return RunError(f"{path} is damaged: {what}. {self.remedy()}")

    def _compare(self, found: Mapping[str, str], enter: bool = True) -> None:
        known = self.entries()
        for name, digest in found.items():
            if known.get(name, digest) != digest:
                raise self.damaged(self.folder / name, "its bytes are not those that were published")
        if enter and (new := {name: digest for name, digest in found.items() if name not in known}):
            if self._listed.torn:
                raise self._cut_off()
            self._enter(new)  # checksums.txt was lost: from here on they are known again

    def _cut_off(self) -> RunError:
        return self.damaged(self.path, "its end is cut off")

    def _enter(self, found: Mapping[str, str]) -> None:
        known, listed = self.entries(), self._listed
        new = {name: digest for name, digest in found.items() if known.get(name) != digest}
        if listed.torn or new.keys() & known.keys():
            self._listed = _Listed()
            self.disk.publish(self.path, self._listed.add({**known, **new}))
        elif new:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            created = not known
            self.disk.append(self.path, listed.add(new))
            self.disk.flush(self.path)
            if created:
                self.disk.flush(self.path.parent)


class _Listed:
    """The entries of `checksums.txt`, and the sum that seals its next line.

    Raises:
        ValueError: it was not written so, not even by a process that was killed.
    """

    def __init__(self, data: bytes | None = None) -> None:
        self.entries: dict[str, str] = {}
        self.size = data if data is None else len(data)
        self.torn = data == b""
        self._sum = hashlib.sha256()
        *lines, end = (data or b"").split(b"\n")
        for entry, seal in zip(lines[::2], lines[1::2], strict=False):
            self._take(entry)
            if seal != self._seal():
                raise ValueError("a seal is broken")
        if rest := b"\n".join([*lines[len(lines) // 2 * 2 :], end]):
            self.torn = True
            if not _TORN.fullmatch(rest):
                raise ValueError("not even a part of a line")

    def add(self, new: Mapping[str, str]) -> bytes:
        """Return the lines that enter these checksums."""
        added = b""
        for name, digest in new.items():
            line = f"{digest}  {name}".encode()
            self._take(line)
            added += line + b"\n" + self._seal() + b"\n"
        self.size = (self.size or 0) + len(added)
        return added

    def _take(self, line: bytes) -> None:
        if not _ENTRY.fullmatch(line):
            raise ValueError("not a checksum and a name")
        digest, _, name = line.decode().partition("  ")
        self._sum.update(b"\n" + line if self.entries else line)
        self.entries[name] = digest

    def _seal(self) -> bytes:
        return b"# " + self._sum.hexdigest().encode()


def checksum(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        RunError: see `refuse_endless`.
    """
    with refuse_endless(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(folder: Path, without: Collection[str] = ()) -> dict[str, str]:
    """Return relative name -> checksum of every file of a folder, in the order of names; hidden ones are left out.

    `without`: what lies in these folders is left out, too.
    """
    names = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if not path.is_dir())
    kept = (n for n in names if n.parts[0] not in without and not any(part.startswith(".") for part in n.parts))
    return {n.as_posix(): checksum(folder / n) for n in kept}

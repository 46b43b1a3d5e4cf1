"""A copy of every committed iteration wherever fsspec writes: an object store, another machine, another disk.

The copy is always a run: within an iteration `state.json` comes last, and iterations come in order. Nothing is deleted
there. A copy that is behind, because the store failed or the launch was killed, is caught up at the next commit or
launch; the run itself never waits for more than a second try.
"""

import json
import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from star_loop.errors import ConfigError
from star_loop.protocols import Session, Tracker
from star_loop.records import Metrics
from star_loop.run.directory import HARD, RunDirectory
from star_loop.run.disk import RunError, read_json
from star_loop.run.iteration import iteration_number

logger = logging.getLogger(__name__)

TRIES = 2
MADE_OF = "config.yaml", "identity.json"
SHARED = *MADE_OF, "checksums.txt"
"""Small files that may change without growing: with `iterations`, for instance."""


class Mirror(Tracker):
    """`mirror=<url>`: copies to `<url>/<name of the run>`."""

    url: str
    """`s3://bucket/folder`, `file:///mnt/folder`, … What logs in takes its secrets from the environment."""
    outputs: Path
    """The folder of all run directories; the run's place in it is its place in the mirror."""

    @contextmanager
    def session(self, directory: Path, committed: Sequence[Metrics]) -> Iterator[Session]:
        """Catch up, then copy what is committed.

        Raises:
            RunError: the mirror holds another run under this name.
        """
        files, root = open_store(self.url)
        place, outputs = directory.resolve(), self.outputs.resolve()
        name = place.relative_to(outputs) if place.is_relative_to(outputs) else Path(place.name)
        copying = Copying(RunDirectory(directory), files, f"{root.rstrip('/')}/{name.as_posix()}")
        copying.catch_up_or_warn()
        try:
            yield copying
        finally:
            copying.report()


class Copying(Session):
    """Copies from a run directory to `root` of an fsspec file system."""

    def __init__(self, run: RunDirectory, files: Any, root: str) -> None:
        self.run, self.files, self.root = run, files, root
        self.done = -1
        """The last iteration that is known to be there."""

    def log(self, iteration: int, metrics: Metrics) -> None:
        """Copy what was committed, this iteration and all before it that are not there yet."""
        self.catch_up_or_warn()

    def catch_up_or_warn(self) -> None:
        """Try, try again, and say so.

        Raises:
            RunError: see `catch_up`.
        """
        for left in range(TRIES - 1, -1, -1):
            try:
                return self.catch_up()
            except RunError:
                raise
            except Exception as error:  # what the clients of stores raise is of many kinds
                if not left:
                    what = f"{type(error).__name__}: {error}"
                    logger.warning("the mirror %s is not up to date (%s); the next commit catches up", self.root, what)

    def catch_up(self) -> None:
        """Copy all that is committed and not there.

        Raises:
            RunError: what is there is another run's.
        """
        self.files.invalidate_cache()
        self._refuse_another()
        if (latest := self.run.latest()) is None:
            return
        for path in self._top():
            if not self._has(path):
                self._publish(path)
        if self.done < 0:
            self.done = self._found(latest.number)
        while self.done < latest.number:
            self._copy_iteration(self.done + 1)
            self.done += 1

    def report(self) -> None:
        """Say how it stands."""
        latest = self.run.latest()
        if latest is None or self.done == latest.number:
            logger.info("the mirror %s has every committed iteration", self.root)
        else:
            logger.warning(
                "the mirror %s lacks iterations %d to %d: the same command, also once the run is complete, copies them",
                self.root, self.done + 1, latest.number,
            )  # fmt: skip

    def _refuse_another(self) -> None:
        """Compare what the run there is made of with what this one is; how far it is to go may differ."""
        path = self.run.path / "identity.json"
        if not self.files.exists(self._there(path)):
            return
        theirs, ours = json.loads(self.files.cat_file(self._there(path))), read_json(path)
        if any(theirs.get(key) != ours.get(key) for key in ("settings", *HARD)):
            raise self._another(path)

    def _has(self, path: Path) -> bool:
        there = self._there(path)
        if not self.files.exists(there) or self.files.size(there) != path.stat().st_size:
            return False
        return path.name not in SHARED or bool(self.files.cat_file(there) == path.read_bytes())

    def _top(self) -> list[Path]:
        """List the files that iterations share, their checksums last."""
        here = self.run.path
        names = ("config.yaml", "identity.json", "observations.parquet", "timings.jsonl")
        prepared = sorted(path for path in here.glob("preparation/**/*") if path.is_file())
        found = [*(here / name for name in names), *prepared, here / "checksums.txt"]
        return [path for path in found if path.exists() and not _hidden(path.relative_to(here))]

    def _found(self, latest: int) -> int:
        """Return the last iteration that is there, up to the latest here; -1: none."""
        there = {str(path).split("/")[-2] for path in self.files.glob(f"{self.root}/iterations/*/state.json")}
        whole = next(t for t in count() if f"{t:04d}" not in there) - 1
        last = min(whole, latest)
        if last >= 0:
            self._holds(self.run.iteration(last).path / "state.json")
        return last

    def _copy_iteration(self, number: int) -> None:
        folder = self.run.iteration(number).path
        commit = folder / "state.json"
        if self._holds(commit):  # of a run that was lost here and is made again
            return
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path != commit and not _hidden(path.relative_to(folder)):
                self._put(path, self._there(path))
        self._publish(commit)

    def _holds(self, path: Path) -> bool:
        """Tell whether this very file is there.

        Raises:
            RunError: another is.
        """
        there = self._there(path)
        if not self.files.exists(there):
            return False
        if self.files.cat_file(there) == path.read_bytes():
            return True
        raise self._another(path)

    def _another(self, path: Path) -> RunError:
        return RunError(
            f"{self._there(path)} in the mirror is not that of {self.run.path}: another run has this name there. "
            "Choose another mirror= or name=, or continue from it: name=<new> fork=<mirror>/<name>/iterations/<NNNN>. "
            "If it was only changed there, delete it there"
        )

    def _publish(self, path: Path) -> None:
        """Publish a whole file, or none."""
        folder, _, name = self._there(path).rpartition("/")
        unfinished = f"{folder}/.{name}.unfinished"
        self._put(path, unfinished)
        self.files.mv(unfinished, f"{folder}/{name}")

    def _put(self, path: Path, there: str) -> None:
        self.files.makedirs(there.rpartition("/")[0], exist_ok=True)
        self.files.put_file(str(path), there)

    def _there(self, path: Path) -> str:
        return f"{self.root}/{path.relative_to(self.run.path).as_posix()}"


def open_store(url: str, key: str = "mirror") -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and the path in it; `key` is the key that holds it, for messages.

    Raises:
        ValueError: no place in it, no such kind of store, its client is not installed, its server cannot be reached, or
            the URL holds a password.
    """
    if re.search(r"://[^/@]*:[^/@]*@", url):
        raise ValueError(f"{key}: a URL with a password would be written into config.yaml: give it in the environment")
    if not url.rpartition("://")[2].strip():  # fsspec would take the folder in which the command was typed
        raise ValueError(f"{key}={url} names no folder: give s3://bucket/folder or file:///folder, or leave it out")
    try:
        from fsspec.core import url_to_fs

        files, path = url_to_fs(url)
    except OSError as error:
        raise ValueError(f"{key}={url} cannot be reached ({error}): check the name and the network") from error
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"{key}={url}: {error}. Stores are reached through fsspec (extra `mirror`) and the client of their kind, "
            "for instance s3fs or gcsfs"
        ) from error
    return files, str(path)


def check_place(url: str, outputs: Path) -> None:
    """Look for the client of a mirror's store, and, on this machine, for a folder that can be one.

    Args:
        url: `mirror=`.
        outputs: the folder of all runs.

    Raises:
        ValueError: see `open_store`; it is that folder, or no folder.
    """
    files, root = open_store(url)
    if "file" not in files.protocol:
        return
    place = Path(root)
    if place.resolve() == outputs.resolve():
        raise ValueError(f"mirror={url} is where the runs are themselves: name another folder")
    there = next(path for path in (place, *place.parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"mirror={url}: {there} is no folder: name another place")


def download(url: str, into: Path) -> Path:
    """Return the iterations of a mirror up to the one that `url` names, as a run directory `into`, which is made anew.

    Returns:
        The directory of that iteration in it.

    Raises:
        ConfigError: it is not a committed iteration of a mirror.
        RunError: a file there would lie elsewhere here.
    """
    files, path = open_store(url, "fork")
    root, _, last = path.rstrip("/").rpartition("/iterations/")
    if (number := iteration_number(last)) is None or not files.exists(f"{root}/iterations/{last}/state.json"):
        raise ConfigError(f"fork={url} is not a committed iteration: expected <mirror>/<run>/iterations/<NNNN>")
    if into.exists():
        shutil.rmtree(into)
    folders = ["preparation", *(f"iterations/{t:04d}" for t in range(number + 1))]
    for name in [*MADE_OF, *(name for folder in folders for name in _names(files, root, folder))]:
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        files.get_file(f"{root}/{name}", str(into / name))
    return into / "iterations" / last


def _names(files: Any, root: str, folder: str) -> list[str]:
    """List every file of a folder of a mirrored run, relative to the run; hidden ones are left out.

    Raises:
        RunError: a name that would lead out of it.
    """
    found = [PurePosixPath(str(name)[len(root) + 1 :]) for name in sorted(files.find(f"{root}/{folder}"))]
    for name in found:
        if ".." in name.parts or not name.is_relative_to(folder):
            raise RunError(f"{root}/{folder} has a file that leads out of it: {name}")
    return [name.as_posix() for name in found if not _hidden(name)]


def _hidden(path: PurePath) -> bool:
    return any(part.startswith(".") for part in path.parts)

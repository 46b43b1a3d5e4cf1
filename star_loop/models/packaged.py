"""Models that ship inside Python packages as GGUF files: converted once, into the user's cache."""

import importlib.util
import os
from functools import lru_cache
from pathlib import Path

from star_loop.models.provenance import checksum


def find(package: str) -> Path | None:
    """Return the file `<module>/<name>` of an installed package, which is not imported; None: there is no such file."""
    module, _, name = package.partition("/")
    spec = importlib.util.find_spec(module)
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return next((path for folder in folders if (path := Path(folder) / name).is_file()), None)


@lru_cache(maxsize=4)
def home(source: Path) -> Path:
    """Tell where the file's model is kept once it is converted: named after the file and its checksum."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "star_loop" / "models"
    return cache / f"{source.stem}-{checksum(source)[:16]}"


def obtain(source: Path) -> Path:
    """Return the directory of the file's model; converted now if it never was, by one process at a time.

    Raises:
        ValueError: it cannot be converted; see `gguf.convert`.
    """
    from filelock import FileLock

    from star_loop.models.gguf import convert

    directory = home(source)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(directory.with_name(f"{directory.name}.lock")):
        return directory if directory.exists() else convert(source, directory)

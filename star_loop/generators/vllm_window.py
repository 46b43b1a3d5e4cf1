"""`python -m star_loop.generators.vllm_window [WHEEL…]`: does a vLLM still have what `vllm_internals.py` uses of it?

It reads the source, so that neither a GPU nor an installation is needed. Without a wheel it reads the vLLM that is
installed.
"""

import argparse
import ast
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from pathlib import Path

from star_loop.generators.vllm_internals import USES

Read = Callable[[str], str]
"""File in vLLM's package -> its source.

Raises:
    OSError, KeyError: there is no such file.
"""


def window() -> tuple[str, str]:
    """Return the first vLLM that is tested, and the first that is not any more, as pyproject.toml has them."""
    bounds = next(line for line in requires("star_loop") or [] if line.startswith("vllm"))
    found = dict(re.findall(r"(>=|<)([\d.]+)", bounds))
    return found.get(">=", "0"), found.get("<", "99")


def within(version: str, bounds: tuple[str, str]) -> bool:
    """Tell whether a version of vLLM is one that is tested."""
    low, given, high = (tuple(map(int, re.findall(r"\d+", text)[:2])) for text in (bounds[0], version, bounds[1]))
    return low <= given < high


def wanted_torch(package: str) -> str | None:
    """Return the version of torch that an installed vLLM was built with; None: it is not installed."""
    try:
        asked = [line for line in requires(package) or [] if re.match(r"torch==", line)]
    except PackageNotFoundError:
        return None
    return re.split(r"[;\s]", asked[0].removeprefix("torch=="))[0] if asked else None


def missing(read: Read) -> list[str]:
    """List what `USES` names and this vLLM does not have, as `file: name`."""
    found = []
    for file, names in USES.items():
        try:
            there = set(_named(ast.parse(read(file))))
        except (OSError, KeyError):
            there = set()
        found += [f"{file}: {name}" for name in names if name not in there]
    return found


def installed() -> Read:
    """Read the vLLM that is installed.

    Raises:
        ModuleNotFoundError: none is.
    """
    spec = find_spec("vllm")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("vLLM is not installed")
    root = Path(spec.origin).parent
    return lambda file: (root / file).read_text(encoding="utf-8")


def in_wheel(path: Path) -> Read:
    """Read a wheel of vLLM.

    Raises:
        OSError, zipfile.BadZipFile: it cannot be read.
    """
    archive = zipfile.ZipFile(path)
    return lambda file: archive.read(f"vllm/{file}").decode()


def _named(tree: ast.AST) -> Iterator[str]:
    """Yield what a module defines, imports or quotes, and what its classes and functions have."""
    for node in ast.walk(tree):
        match node:
            case ast.alias(name=name) | ast.Constant(value=str(name)):  # a lazy module keeps its names in strings
                yield name
            case ast.ClassDef(name=name):
                yield name
                yield from (f"{name}.{attribute}" for attribute in _attributes(node))
            case ast.FunctionDef():
                yield from _function(node)


def _attributes(declared: ast.ClassDef) -> Iterator[str]:
    for node in ast.walk(declared):
        match node:
            case ast.FunctionDef():
                yield from _function(node)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                yield name


def _function(declared: ast.FunctionDef) -> Iterator[str]:
    yield declared.name
    parameters = [*declared.args.args, *declared.args.kwonlyargs]
    yield from (f"{declared.name}({parameter.arg})" for parameter in parameters)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is missing.

    Returns:
        0: nothing is; 1: something is; 2: a wheel cannot be read, or no vLLM is installed.
    """
    parser = argparse.ArgumentParser(prog="python -m star_loop.generators.vllm_window", description=__doc__)
    parser.add_argument("wheels", nargs="*", metavar="WHEEL", help="a wheel of vLLM (default: what is installed)")
    wheels: list[str] = parser.parse_args(arguments).wheels
    gone: dict[str, list[str]] = {}
    for name in wheels or ["installed"]:
        try:
            gone[name] = missing(in_wheel(Path(name)) if wheels else installed())
        except (OSError, zipfile.BadZipFile, ModuleNotFoundError) as error:
            remedy = "give the path of a wheel" if wheels else "install it, or give a wheel"
            sys.stderr.write(f"star_loop.generators.vllm_window: {name}: {error}: {remedy}\n")
            return 2
    for name, lines in gone.items():
        sys.stdout.write(f"{name}: {'all is there' if not lines else 'missing: ' + '; '.join(lines)}\n")
    return int(any(gone.values()))


if __name__ == "__main__":
    sys.exit(main())

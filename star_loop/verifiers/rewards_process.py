"""The process in which one's own functions judge, apart from the loop, so that it can be killed.

`python -m star_loop.verifiers.rewards_process where:name …` first writes a JSON line: of each function what it asks for
and where it stands, `{"asks": …, "sources": …}`, or why one cannot be used, `{"error": …}`. Then it reads one JSON list
`[function, arguments]` per line and writes `{"reward": …}` or `{"error": …}`. What a function prints goes to standard
error.
"""

import hashlib
import inspect
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any


class Unusable(ValueError):
    """What was named is no function that can be called, in words."""


EVERYTHING = "**"
"""Stands for a parameter that takes whatever is not asked for by name."""
Function = Callable[..., Any]


def function(named: str) -> Function:
    """Return the function that `my_module:right` or `path/to/file.py:right` names.

    Raises:
        Unusable: there is none, or what has this name is no plain function.
    """
    where, _, name = named.rpartition(":")
    found = getattr(_module(where), name, None)
    if found is None:
        raise Unusable(f"{where} has no {name!r}: check the spelling")
    if not inspect.isfunction(found) or inspect.iscoroutinefunction(found) or inspect.isgeneratorfunction(found):
        raise Unusable(f"{named} is no plain function (found {type(found).__name__}): write def {name}(question, …)")
    return found


def _module(where: str) -> ModuleType:
    if not where.endswith(".py"):
        if where.split(".")[0] in sys.stdlib_module_names:
            raise Unusable(f"{where} belongs to Python: name a module or a file of your own")
        return import_module(where)
    path = Path(where).expanduser().absolute()
    if not path.is_file():
        raise Unusable(f"there is no file {path}: check the path")
    sys.path.insert(0, str(path.parent))
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def asked(called: Function) -> Mapping[str, bool]:
    """Return the names of a function's parameters, and whether each must be given."""
    parameters = inspect.signature(called).parameters.values()
    return {
        EVERYTHING if p.kind is p.VAR_KEYWORD else p.name: p.default is p.empty and p.kind is not p.VAR_KEYWORD
        for p in parameters
        if p.kind is not p.VAR_POSITIONAL
    }


def rewarded(called: Function, arguments: Mapping[str, Any]) -> bool | float:
    """Call a function.

    Raises:
        ValueError: what it returns is neither a truth value nor a number between 0 and 1.
        Exception: whatever the function raises.
    """
    only = {p.name for p in inspect.signature(called).parameters.values() if p.kind is p.POSITIONAL_ONLY}
    first = [arguments[name] for name in arguments if name in only]
    found = called(*first, **{name: value for name, value in arguments.items() if name not in only})
    found = found.item() if hasattr(found, "item") else found  # of numpy or torch
    if isinstance(found, bool):
        return found
    if isinstance(found, int | float) and math.isfinite(found) and 0 <= found <= 1:
        return float(found)
    raise ValueError(f"it returned {str(found)[:80]!r}: return True, False or a number between 0 and 1")


def serve(named: Sequence[str]) -> None:
    """Judge until the input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a function may print

    def say(reply: object) -> None:
        replies.write(json.dumps(reply) + "\n")
        replies.flush()

    functions = []
    for each in named:
        try:
            functions.append(function(each))
        except (Exception, SystemExit) as failure:  # whatever a module of one's own does when it is imported
            say({"error": _told(failure)})
            raise
    say({"asks": [asked(each) for each in functions], "sources": [_source(each) for each in functions]})
    for line in sys.stdin:
        place, arguments = json.loads(line)
        try:
            reply: dict[str, Any] = {"reward": rewarded(functions[place], arguments)}
        except Exception as failure:
            reply = {"error": _told(failure)}
        say(reply)


def _source(called: Function) -> str:
    """SHA-256 of the file that a function stands in."""
    return hashlib.sha256(Path(inspect.getfile(called)).read_bytes()).hexdigest()


def _told(failure: BaseException) -> str:
    said = str(failure)[:300]
    return said if isinstance(failure, Unusable) else f"{type(failure).__name__}: {said}"


if __name__ == "__main__":
    serve(sys.argv[1:])

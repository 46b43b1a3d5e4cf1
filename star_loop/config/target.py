"""From a `_target_` to its class: what is no component is refused before it is imported, let alone called."""

import ast
import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from typing import Any

from star_loop.config.component import Component
from star_loop.errors import ConfigError

MOVED = {"star_loop.balance.Balance": "star_loop.searches.balance.Balance"}
"""Former `_target_` paths, which runs that were begun under them still name."""


def component_class(target: Any, where: str) -> type[Component]:
    """The class that a `_target_` names; its module is imported only if its source may hold a component of this name.

    Args:
        target: `package.module.Class`.
        where: the key, for messages.

    Raises:
        ConfigError: it does not exist, cannot be imported, is no component, or lacks methods.
    """
    path = MOVED.get(str(target), str(target))
    module, _, name = path.rpartition(".")
    if not (module and all(part.isidentifier() for part in path.split("."))):
        raise _stranger(where, target)
    if module not in sys.modules:
        _look(module, name, where, target)
    try:
        found = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{where}: cannot import {target!r} ({error}): check the spelling and PYTHONPATH") from error
    except AttributeError as error:
        raise ConfigError(f"{where}: {module!r} has no {name!r}: check the spelling") from error
    except (Exception, SystemExit) as error:  # whatever a module of the user's does
        raise ConfigError(f"{where}: importing {module!r} failed ({type(error).__name__}: {error})") from error
    if not (isinstance(found, type) and issubclass(found, Component)):
        raise _stranger(where, target)
    if inspect.isabstract(found):
        lacking = ", ".join(sorted(found.__abstractmethods__))
        raise ConfigError(f"{where}: {name} cannot be built: it lacks {lacking}. Name a subclass that has them")
    return found


def _stranger(where: str, target: Any) -> ConfigError:
    return ConfigError(
        f"{where}: {target!r} is not a star_loop component and was not called: name a subclass of "
        "Sampler, Selector, Task, … (star_loop.protocols)"
    )


def _look(module: str, name: str, where: str, target: Any) -> None:
    """Read a module's source.

    Raises:
        ConfigError: there is none, or nothing in it that may be a component of this name.
    """
    if module.split(".")[0] in sys.stdlib_module_names:
        raise _stranger(where, target)
    if (spec := _spec(module)) is None:
        missing = f"there is no module {module}"
        raise ConfigError(f"{where}: cannot import {target!r} ({missing}): check the spelling and PYTHONPATH")
    try:
        source = spec.loader.get_source(module) if isinstance(spec.loader, InspectLoader) else None
        bound = list(_binding(ast.parse(source or ""), name))
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{where}: {module!r} cannot be read ({error})") from error
    if not bound:
        raise ConfigError(f"{where}: {module!r} has no {name!r}: check the spelling")
    if all(isinstance(node, ast.FunctionDef) or (isinstance(node, ast.ClassDef) and not node.bases) for node in bound):
        raise _stranger(where, target)


def _spec(module: str) -> ModuleSpec | None:
    """Find where a module lies, without importing the packages that it is in."""
    root, *parts = module.split(".")
    spec = find_spec(root)
    for part in parts:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
    return spec


def _binding(node: ast.AST, name: str) -> Iterator[ast.stmt]:
    """The statements of a module, outside of functions and classes, that may give a name its meaning."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef):
            if child.name in (name, "__getattr__"):
                yield child if child.name == name else ast.Pass()
        elif isinstance(child, ast.ImportFrom | ast.Import):
            if any((alias.asname or alias.name) in (name, "*") for alias in child.names):
                yield child
        elif isinstance(child, ast.Assign | ast.AnnAssign):
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                yield child
        else:
            yield from _binding(child, name)

"""From a `_target_` to its class: what is no component is refused before it is imported, let alone called."""

import inspect
import sys
from importlib import import_module
from typing import Any

from star_loop.config.component import Component
from star_loop.config.source import Sources
from star_loop.errors import ConfigError

PACKAGE = "star_loop"
"""Where components come from: a class of a user's own derives from one of them."""
MOVED = {"star_loop.balance.Balance": "star_loop.searches.balance.Balance"}
"""Former `_target_` paths, which runs that were begun under them still name."""


def component_class(target: Any, where: str) -> type[Component]:
    """The class that a `_target_` names; its module is imported only if its source shows a component of this name.

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
    """Read a module's source, and that of what it takes the name from.

    Raises:
        ConfigError: there is none, or it does not show that the name is a component.
    """
    if module.split(".")[0] in sys.stdlib_module_names:
        raise _stranger(where, target)
    sources = Sources()
    try:
        if not sources.has(module):
            missing = f"there is no module {module}"
            raise ConfigError(f"{where}: cannot import {target!r} ({missing}): check the spelling and PYTHONPATH")
        if not sources.binds(module, name):
            raise ConfigError(f"{where}: {module!r} has no {name!r}: check the spelling")
        if not sources.derives(module, name, PACKAGE):
            raise _stranger(where, target)
    except (SyntaxError, ValueError, OSError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{where}: {module!r} cannot be read ({error})") from error

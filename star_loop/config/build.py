"""From a composed configuration to the tree of components: checked first, then built, without I/O and without torch."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin

from pydantic import ValidationError

from star_loop.config.component import Component
from star_loop.errors import ConfigError

if TYPE_CHECKING:
    from star_loop.experiment import Experiment

ROOT = "star_loop.experiment.Experiment"
"""The root of the tree, by name: this room knows components only, not what they are."""
MOVED = {"star_loop.balance.Balance": "star_loop.searches.balance.Balance"}
"""Former `_target_` paths, which runs that were begun under them still name."""


def build(config: Mapping[str, Any]) -> "Experiment":
    """The experiment that a resolved configuration describes.

    Every `_target_` is resolved to a `Component` class before anything is called.

    Raises:
        ConfigError: an unknown key, a wrong type, a target that is no component.
    """
    tree = {"_target_": ROOT, **{k: v for k, v in config.items() if k != "show"}}
    _resolve_all(tree, "")
    return cast("Experiment", _construct(tree, ""))


def _resolve_all(node: Any, key: str) -> None:
    if isinstance(node, Mapping):
        if "_target_" in node:
            _resolve(node["_target_"], key)
        for name, child in node.items():
            _resolve_all(child, _join(key, name))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            _resolve_all(child, _join(key, index))


def _resolve(target: Any, key: str) -> type[Component]:
    where = _join(key, "_target_")
    target = MOVED.get(str(target), target)
    module, _, name = str(target).rpartition(".")
    try:
        named = module and all(part.isidentifier() for part in str(target).split("."))
        found = getattr(import_module(module), name) if named else None
    except ModuleNotFoundError as error:
        raise ConfigError(f"{where}: cannot import {target!r} ({error}): check the spelling and PYTHONPATH") from error
    except AttributeError as error:
        raise ConfigError(f"{where}: {module!r} has no {name!r}: check the spelling") from error
    if not (isinstance(found, type) and issubclass(found, Component)):
        raise ConfigError(
            f"{where}: {target!r} is not a star_loop component and was not called: name a subclass of "
            "Sampler, Selector, Task, … (star_loop.protocols)"
        )
    return found


def _construct(node: Any, key: str) -> Any:
    if isinstance(node, Mapping):
        built = {name: _construct(child, _join(key, name)) for name, child in node.items() if name != "_target_"}
        return _call(_resolve(node["_target_"], key), built, key) if "_target_" in node else built
    if isinstance(node, list):
        return [_construct(child, _join(key, index)) for index, child in enumerate(node)]
    return node


def _call(target: type[Component], arguments: dict[str, Any], key: str) -> Component:
    for name, value in arguments.items():
        if name in target.model_fields:
            _refuse_bare(target.model_fields[name].annotation, value, _join(key, name))
    try:
        return target(**arguments)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(target, problem, key, arguments) for problem in error.errors())) from error


def _refuse_bare(annotation: Any, value: Any, key: str) -> None:
    """Keys without the component that they belong to."""
    if not isinstance(value, Mapping):
        return
    kinds = get_args(annotation) or (annotation,)
    if get_origin(annotation) is Mapping:
        for name, child in value.items():
            _refuse_bare(kinds[1], child, _join(key, name))
        return
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Component):
            given = ", ".join(map(str, value)) or "nothing"
            raise ConfigError(f"{key}: which {kind.__name__}? Give {key}._target_=… (found: {given})")


def _explain(target: type[Component], problem: Any, key: str, arguments: Mapping[str, Any]) -> str:
    where = _join(key, ".".join(map(str, _written(problem["loc"], arguments))))
    if problem["type"] == "extra_forbidden":
        known = sorted(target.model_fields)
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"{target.__name__} knows {', '.join(known)}"
        return f"{where}: no such key: {hint}"
    if problem["type"] == "missing":
        return f"{where}: {target.__name__} needs this key: give {where}=…"
    found = problem["input"]
    shown = f"a {type(found).__name__}" if isinstance(found, Component | dict) else repr(found)
    return f"{where}: {problem['msg'][0].lower()}{problem['msg'][1:]}, got {shown}"


def _written(location: Sequence[str | int], arguments: Mapping[str, Any]) -> Iterator[str | int]:
    """What of pydantic's location is a key or an index, and not the name of a kind that the value might have had."""
    found: Any = arguments
    for depth, part in enumerate(location):
        try:
            found = found[part]
        except (TypeError, LookupError):
            if depth:  # a missing key of the component itself is named
                continue
        yield part


def _join(key: str, name: Any) -> str:
    return f"{key}.{name}" if key else str(name)

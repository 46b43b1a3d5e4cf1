"""From a composed configuration to the tree of components: checked first, then built, without I/O and without torch."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin

from pydantic import ValidationError

from star_loop.config.component import Component
from star_loop.config.target import component_class
from star_loop.errors import ConfigError

if TYPE_CHECKING:
    from star_loop.experiment import Experiment

ROOT = "star_loop.experiment.Experiment"
"""The root of the tree, by name: this room knows components only, not what they are."""
ALSO_CALLED = {
    "lr": ("learning_rate", "rate"), "rank": ("r",), "lora_r": ("r",), "alpha": ("lora_alpha",),
    "max_new_tokens": ("max_tokens",),
}  # fmt: skip
"""Names of keys in other libraries -> what they may be called here."""
SHOULD = "Input should be "
"""How pydantic begins to say what kind of value there should be."""


def build(config: Mapping[str, Any]) -> "Experiment":
    """Return the experiment that a resolved configuration describes.

    Every `_target_` is resolved to a `Component` class before anything is called.

    Raises:
        ConfigError: an unknown key, a wrong type, a target that is no component.
    """
    tree = {"_target_": ROOT, **{k: v for k, v in config.items() if k != "show"}}
    _resolve_all(tree, "")
    return cast("Experiment", _construct(tree, ""))


def settled(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return every dotted key of the experiment that a configuration describes, with those that it leaves to defaults.

    Targets are not among them.

    Raises:
        ConfigError: see `build`.
    """
    return dict(_keys(build(config), ""))


def _keys(part: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(part, Component):
        part = {name: getattr(part, name) for name in type(part).model_fields}
    if not isinstance(part, Mapping):
        yield key, part
        return
    for name, value in part.items():
        yield from _keys(value, _join(key, name))


def _resolve_all(node: Any, key: str) -> None:
    if isinstance(node, Mapping):
        if "_target_" in node:
            component_class(node["_target_"], _join(key, "_target_"))
        for name, child in node.items():
            _resolve_all(child, _join(key, name))
    elif isinstance(node, list):
        for index, child in enumerate(node):
            _resolve_all(child, _join(key, index))


def _construct(node: Any, key: str) -> Any:
    if isinstance(node, list):
        return [_construct(child, _join(key, index)) for index, child in enumerate(node)]
    if not isinstance(node, Mapping):
        return node
    target = component_class(node["_target_"], _join(key, "_target_")) if "_target_" in node else None
    if target is not None and not key:
        _refuse_values(target, node)
    order = list(target.model_fields) if target else []  # `schedule` before the trainer, which takes its batch
    names = sorted((n for n in node if n != "_target_"), key=lambda n: order.index(n) if n in order else -1)
    built = {name: _construct(node[name], _join(key, name)) for name in names}
    return built if target is None else _call(target, built, key)


def _refuse_values(root: type[Component], tree: Mapping[str, Any]) -> None:
    """Refuse wrong values of the root's own, before parts that have taken them are blamed."""
    plain = {name: v for name, v in tree.items() if name != "_target_" and not isinstance(v, Mapping)}
    try:
        root.model_validate(plain)
    except ValidationError as error:
        if wrong := [problem for problem in _innermost(error) if problem["loc"] and problem["loc"][0] in plain]:
            raise ConfigError(_explained(root, wrong, "", plain)) from error


def _call(target: type[Component], arguments: dict[str, Any], key: str) -> Component:
    for name, value in arguments.items():
        if name in target.model_fields:
            kind = target.model_fields[name].annotation
            if isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, Component) and kind.alone:
                arguments[name] = _call(kind, dict(value), _join(key, name))
            else:
                _refuse_bare(kind, value, _join(key, name))
    try:
        return target(**arguments)
    except ValidationError as error:
        raise ConfigError(_explained(target, _innermost(error), key, arguments)) from error
    except Exception as error:  # a constructor of the user's own
        what = f"{target.__name__} cannot be built ({type(error).__name__}: {error})"
        raise ConfigError(f"{key}: {what}" if key else what) from error


def _innermost(error: ValidationError) -> list[Any]:
    """Leave out what is wrong with a whole because something is wrong within it."""
    problems = error.errors()
    locations = [problem["loc"] for problem in problems]
    return [p for p in problems if not any(loc[: len(p["loc"])] == p["loc"] != loc for loc in locations)]


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


def _explained(target: type[Component], problems: Sequence[Any], key: str, arguments: Mapping[str, Any]) -> str:
    """Give each problem a line, and one to all of a value that might have been of several kinds."""
    found: list[Any] = []
    for problem in problems:
        twin = found[-1] if found else None
        if twin and _is_kind(twin) and _is_kind(problem) and _key(twin, arguments) == _key(problem, arguments):
            found[-1] = {**twin, "msg": f"{twin['msg']} or {problem['msg'].removeprefix(SHOULD)}"}
        else:
            found.append(problem)
    return "\n".join(_explain(target, problem, key, arguments) for problem in found)


def _is_kind(problem: Any) -> bool:
    return bool(problem["msg"].startswith(SHOULD))


def _explain(target: type[Component], problem: Any, key: str, arguments: Mapping[str, Any]) -> str:
    if not problem["loc"]:  # a validator of the whole component, in its own words
        said = problem["msg"].removeprefix("Value error, ")
        return said if not key or said.startswith(f"{key}.") else f"{key}: {said}"
    where = _join(key, _key(problem, arguments))
    if problem["type"] == "extra_forbidden":
        known = sorted(target.model_fields)
        wrong = str(problem["loc"][-1])
        close = [name for name in ALSO_CALLED.get(wrong, ()) if name in known] or get_close_matches(wrong, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"{target.__name__} knows {', '.join(known)}"
        return f"{where}: no such key: {hint}"
    if problem["type"] == "missing":
        return f"{where}: {target.__name__} needs this key: give {where}=…"
    found = problem["input"]
    shown = f"a {type(found).__name__}" if isinstance(found, Component | dict) else repr(found)
    said = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {said[0].lower()}{said[1:]}" + ("" if "got " in said else f", got {shown}")


def _key(problem: Any, arguments: Mapping[str, Any]) -> str:
    """Keep of pydantic's location what is a key or an index, not the name of a kind that the value might have had."""
    found: Any = arguments
    parts = []
    for depth, part in enumerate(problem["loc"]):
        try:
            found = found[part]
        except (TypeError, LookupError):
            if depth:  # a missing key of the component itself is named
                continue
        parts.append(str(part))
    return ".".join(parts)


def _join(key: str, name: Any) -> str:
    return f"{key}.{name}" if key else str(name)

"""`python -m star_loop --help`: the groups with their options, and every key of what would run with its meaning.

The meanings are the first lines of the components' docstrings, read from their source, so they are written once.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from star_loop.config.component import Component

_HEAD = """\
star_loop: one command with which a language model teaches itself to reason

  python -m star_loop group=option key=value …      one run; again: it continues
  python -m star_loop -m key=a,b seed=0,1,2         a run for each combination
  python -m star_loop … --cfg job                   what would run, and nothing else
  python -m star_loop … --help                      the keys of what would run

--config-dir DIR adds your own options, --info says where each comes from, --hydra-help lists Hydra's own flags. Tab
completion: echo 'eval "$(star_loop -sc install=bash)"' >> ~/.bashrc (or zsh, fish), then star_loop <Tab>.
"""
_MEANING_AT = 44
"""The column where meanings begin."""


def help_text(experiment: Component, groups: Mapping[str, Sequence[str]]) -> str:
    """Write the whole text.

    Args:
        experiment: what would run.
        groups: name -> options.
    """
    width = max(map(len, groups), default=0)
    listed = [
        textwrap.fill(
            ", ".join(options), 118, initial_indent=f"  {name:{width}}  ", subsequent_indent=" " * (width + 4)
        )
        for name, options in sorted(groups.items())
    ]
    keys = [line for title, part in parts(experiment) for line in (title, *_keys(part, title))]
    head = [_HEAD, "Groups and their options (group=option)", *listed, "", "Keys, with the values they would have"]
    return "\n".join([*head, *keys[1:], "", _line("show=null", "prompts: print some of the task's prompts and stop")])


def parts(component: Component, prefix: str = "") -> Iterator[tuple[str, Component]]:
    """Find a component and all that it is made of, by dotted key, the outer ones first."""
    yield prefix, component
    for name in type(component).model_fields:
        value = getattr(component, name)
        named = {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, Mapping) else {name: value}
        for key, child in named.items():
            if isinstance(child, Component):
                yield from parts(child, f"{prefix}.{key}" if prefix else key)


def _keys(component: Component, prefix: str) -> Iterator[str]:
    meanings = key_meanings(type(component))
    if prefix:
        yield f"    {type(component).__name__}: {_first_line(type(component).__doc__)}"
    for name in type(component).model_fields:
        value = getattr(component, name)
        if not _holds_components(value):
            yield _line(f"{prefix}.{name}={_written(value)}".removeprefix("."), meanings.get(name, ""))


def _holds_components(value: Any) -> bool:
    held = list(value.values()) if isinstance(value, Mapping) else [value]
    return bool(held) and all(isinstance(child, Component) for child in held)


def _written(value: Any) -> str:
    """Write the value as on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_written, value))}]"
    return str(value) if len(str(value)) <= 60 and "\n" not in str(value) else "…"


def _line(key: str, meaning: str) -> str:
    if not meaning:
        return f"  {key}"
    space = " " * max(2, _MEANING_AT - 2 - len(key))
    return f"  {key}{space}{meaning}"


@lru_cache
def key_meanings(component: type[Component]) -> Mapping[str, str]:
    """Key -> the first sentence of its docstring, the component's own or the one it inherits."""
    found: dict[str, str] = {}
    for kind in reversed(component.__mro__):
        if issubclass(kind, Component) and kind is not Component:
            found |= _own_meanings(kind)
    return found


def _own_meanings(kind: type[Component]) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    except (OSError, TypeError):  # a class that was typed into a notebook, or whose module is gone
        return {}
    assert isinstance(tree, ast.ClassDef)
    return {
        field.target.id: _first_line(doc.value.value)
        for field, doc in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        and isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant) and isinstance(doc.value.value, str)
    }  # fmt: skip


def _first_line(text: str | None) -> str:
    """Up to the first full stop that ends a sentence, in one line."""
    plain = " ".join((text or "").split())
    return plain.split(". ")[0].removesuffix(".")

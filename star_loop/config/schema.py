"""`python -m star_loop.config.schema FOLDER`: JSON Schemas with which editors complete and check configuration files.

One for each group (`sampler.json`, …), and `root.json` for files that speak of the whole configuration (experiments).
They are made from the constructors, as `--help` is: what a component's field takes is what its key takes.

    python -m star_loop.config.schema schemas                     writes them, and says which line names them in a file
    python -m star_loop.config.schema schemas --comment my_conf   puts that line into every file of a folder
    python -m star_loop.config.schema schemas --module my_sampler    with components of your own
"""

import argparse
import ast
import inspect
import json
import os
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BeforeValidator, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.fields import FieldInfo

from star_loop.config.build import ROOT
from star_loop.config.component import Component
from star_loop.config.help import key_meanings
from star_loop.config.hydra import CONF, PACKAGE
from star_loop.config.screen import conclude, outlive_screen
from star_loop.config.target import component_class
from star_loop.errors import ConfigError, a_path

Schema = dict[str, Any]
HEAVY = {"torch", "transformers", "peft", "vllm", "ray", "accelerate"}
"""What a module with components does not import at once."""
INTERPOLATION: Schema = {"type": "string", "pattern": r"\$\{|^\?\?\?$", "description": "${…}: the value of another key"}
COMMENT = "# yaml-language-server: $schema="


def components(modules: Sequence[str] = ()) -> list[type[Component]]:
    """Return every component of the package and of these modules; what cannot be built stands for its kinds.

    Raises:
        ConfigError: a module cannot be imported.
    """
    for found in pkgutil.walk_packages([str(PACKAGE)], f"{PACKAGE.name}."):
        path = PACKAGE.parent.joinpath(*found.name.split("."))
        source = path / "__init__.py" if found.ispkg else path.with_suffix(".py")
        if _is_light(ast.parse(source.read_text(encoding="utf-8"))):
            import_module(found.name)
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise ConfigError(f"--module {module}: {error}: check the spelling and PYTHONPATH") from error
    return sorted(_below(Component), key=_target)


def _is_light(tree: ast.Module) -> bool:
    """Tell whether a module has classes with bases, and imports nothing heavy while it is imported itself."""
    names = [a.name for node in tree.body if isinstance(node, ast.Import) for a in node.names]
    names += [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]
    derived = any(isinstance(node, ast.ClassDef) and node.bases for node in tree.body)
    return derived and not any(name.split(".")[0] in HEAVY or ".embedded" in name for name in names)


def _below(kind: type[Component]) -> set[type[Component]]:
    return {below for child in kind.__subclasses__() for below in (child, *_below(child))}


def _target(component: type[Component]) -> str:
    return f"{component.__module__}.{component.__qualname__}"


def _names(component: type[Component]) -> list[str]:
    """List its `_target_`s: where it is defined, and the package that offers it."""
    package, name = component.__module__.rpartition(".")[0], component.__qualname__
    offered = getattr(sys.modules.get(package), name, None) is component
    return [*([f"{package}.{name}"] if offered else []), _target(component)]


def schema(group: str | None, known: Sequence[type[Component]]) -> Schema:
    """Return the schema of a group's files, or of files about the whole configuration (None).

    Args:
        group: a key of the configuration's root.
        known: what `components` found.
    """
    root = component_class(ROOT, "root")
    parts = _Parts(known)
    if group is None:
        own: Schema = {
            "type": "object", "additionalProperties": False,
            "properties": {"defaults": _defaults(), "hydra": {"type": "object"}, "show": {"enum": ["prompts", None]}}
            | parts.keys(root),
        }  # fmt: skip
    else:
        field = root.model_fields[group]
        kind = next(parts.kinds(field.annotation))
        alone = [_with_defaults(form) for form in parts.forms(kind)]
        named = [_with_defaults(parts.value(field)["anyOf"][0])] if get_origin(field.annotation) is Mapping else []
        own = {"anyOf": [*alone, *named]}
    title = f"star_loop: {group or 'the whole configuration'}"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **own, "$defs": parts.defined}


def _with_defaults(form: Schema) -> Schema:
    return form | {"properties": {"defaults": _defaults(), **form.get("properties", {})}}


class _Parts:
    """Definitions that refer to each other by name."""

    def __init__(self, known: Sequence[type[Component]]) -> None:
        self.known = known
        self.defined: Schema = {"interpolation": INTERPOLATION}

    def kinds(self, annotation: Any) -> Iterator[type[Component]]:
        """Find the components within a type."""
        if isinstance(annotation, type) and issubclass(annotation, Component):
            yield annotation
        for inner in get_args(annotation):
            yield from self.kinds(inner)

    def forms(self, kind: type[Component]) -> list[Schema]:
        """List what may stand for a component: one by its `_target_`, another of one's own, or some of its keys."""
        concrete = [c for c in self.known if issubclass(c, kind) and not inspect.isabstract(c)]
        by_name = [
            {
                "title": c.__name__, "description": _first_paragraph(c), "type": "object", "required": ["_target_"],
                "properties": {"_target_": {"enum": _names(c)}} | self.keys(c), "additionalProperties": False,
            }
            for c in concrete
        ]  # fmt: skip
        shared: dict[str, list[Schema]] = {}
        for keys in map(self.keys, concrete):
            for name, value in keys.items():
                shared[name] = [*(v for v in shared.get(name, []) if v != value), value]
        some = {name: values[0] if len(values) == 1 else {"anyOf": values} for name, values in shared.items()}
        own: Schema = {"_target_": {"type": "string", "pattern": r"^(?!star_loop\.)[\w.]+$"}}
        return [
            *by_name,
            {"title": f"{kind.__name__}: keys", "type": "object", "properties": some, "additionalProperties": False},
            {"title": f"{kind.__name__}: your own", "type": "object", "properties": own, "required": ["_target_"]},
        ]  # fmt: skip

    def keys(self, component: type[Component]) -> Schema:
        """Return the schema of each key, with its meaning and its default."""
        said = {name: {"description": meaning} for name, meaning in key_meanings(component).items()}
        fields = component.model_fields.items()
        rewritten = _rewritten(component)
        return {
            name: {**said.get(name, {}), **_default(field), **self.value(field, by_name=name in rewritten)}
            for name, field in fields
        }

    def value(self, field: FieldInfo, *, by_name: bool = False) -> Schema:
        """Return what a key takes; an interpolation may stand for any value.

        `by_name`: the constructor makes the value of something shorter, such as a name or a list of them.
        """
        found = self._of(field.annotation, field.metadata)
        if by_name or any(isinstance(item, BeforeValidator) for item in field.metadata):
            found = {"anyOf": [found, {"type": ["string", "array"]}]}
        return found if found == {"type": "string"} else {"anyOf": [found, {"$ref": "#/$defs/interpolation"}]}

    def _of(self, annotation: Any, metadata: Sequence[Any] = ()) -> Schema:
        if not any(self.kinds(annotation)):
            return self._plain(annotation, metadata)
        if get_origin(annotation) in (Union, UnionType):
            return {"anyOf": [self._of(inner) for inner in get_args(annotation)]}
        if get_origin(annotation) is Mapping:
            return {"type": "object", "additionalProperties": self._of(get_args(annotation)[1])}
        if not isinstance(annotation, type):  # a sequence of components
            return {"type": "array", "items": self._of(get_args(annotation)[0])}
        if annotation.__name__ not in self.defined:
            self.defined[annotation.__name__] = {}  # of itself it may be made
            self.defined[annotation.__name__] = {"anyOf": self.forms(annotation)}
        return {"$ref": f"#/$defs/{annotation.__name__}"}

    def _plain(self, annotation: Any, metadata: Sequence[Any]) -> Schema:
        kept = [item for item in metadata if not isinstance(item, BeforeValidator)]
        try:
            found = TypeAdapter(Annotated[annotation, *kept] if kept else annotation).json_schema()
        except PydanticInvalidForJsonSchema:
            return {}
        self.defined |= found.pop("$defs", {})
        return found


def _rewritten(component: type[Component]) -> set[str]:
    """Name the keys whose values a validator of the class sees before their types are looked at."""
    validators = component.__pydantic_decorators__.field_validators.values()
    return {name for each in validators if each.info.mode == "before" for name in each.info.fields}


def _default(field: FieldInfo) -> Schema:
    if field.is_required() or field.default_factory is not None:
        return {}
    try:
        return {"default": json.loads(json.dumps(field.default))}
    except TypeError:
        return {}


def _first_paragraph(component: type[Component]) -> str:
    return " ".join((inspect.getdoc(component) or "").split("\n\n")[0].split())


def _defaults() -> Schema:
    """Return the list of what Hydra composes first."""
    groups = sorted(path for path in CONF.iterdir() if path.is_dir() and path.name != "hydra")
    own: Schema = {"type": ["string", "null", "array"]}  # options of one's own, none, several
    options = {
        group.name: {"anyOf": [{"enum": sorted(file.stem for file in group.glob("*.yaml"))}, own]} for group in groups
    }
    named = {f"{prefix}{name}": of for prefix in ("", "/", "override /") for name, of in options.items()}
    return {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object", "properties": named}]}}


def group_of(file: Path) -> str | None:
    """Return the group whose schema describes a file; None: it speaks of the whole configuration."""
    head = re.match(r"(?:\s*#.*\n|\s*\n)*", file.read_text(encoding="utf-8") + "\n")
    is_global = head is not None and re.search(r"#\s*@package\s+_global_", head[0])
    return (
        file.parent.name if file.parent.name in component_class(ROOT, "root").model_fields and not is_global else None
    )


def write(folder: Path, modules: Sequence[str] = ()) -> list[Path]:
    """Write `root.json` and a file for each group, and return their paths.

    Raises:
        ConfigError: see `components`; or the folder is something else.
    """
    from star_loop.run.disk import Disk

    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is no folder: name one, which need not exist")
    known = components(modules)
    groups = [name for name, field in component_class(ROOT, "root").model_fields.items() if (CONF / name).is_dir()]
    folder.mkdir(parents=True, exist_ok=True)
    written = {folder / f"{name or 'root'}.json": schema(name, known) for name in (None, *groups)}
    for path, content in written.items():
        Disk().publish(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    return list(written)


def comment(conf: Path, schemas: Path) -> Iterator[Path]:
    """Name its schema in the first line of every file below a folder; what is named already is replaced."""
    for file in sorted(filter(Path.is_file, conf.rglob("*.yaml"))):
        place = os.path.relpath(schemas / f"{group_of(file) or 'root'}.json", file.parent)
        lines = [x for x in file.read_text(encoding="utf-8").splitlines(True) if not x.startswith(COMMENT)]
        file.write_text("".join([f"{COMMENT}{Path(place).as_posix()}\n", *lines]), encoding="utf-8")
        yield file


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the schemas, and the comments that name them.

    Returns:
        0, or 2 where something could not be read or written.
    """
    parser = argparse.ArgumentParser(prog="python -m star_loop.config.schema", description="JSON Schemas for editors.")
    parser.add_argument("folder", type=a_path, help="where they are written")
    parser.add_argument("--comment", type=a_path, metavar="CONF", help="name them in the YAML files of this folder")
    parser.add_argument(
        "--module", action="append", default=[], help="a module with components of your own (repeatable)"
    )
    options = parser.parse_args(arguments)
    try:
        written = write(options.folder, options.module)
        if options.comment is not None and not options.comment.is_dir():
            raise ConfigError(f"--comment {options.comment}: no such folder")
        named = [] if options.comment is None else list(comment(options.comment, options.folder))
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("".join(f"{path}\n" for path in [*written, *named]))
    if not named:
        sys.stdout.write(f"In a file's first line: {COMMENT}{(options.folder / 'root.json').resolve()}\n")
    return 0


if __name__ == "__main__":
    outlive_screen()
    conclude(main)

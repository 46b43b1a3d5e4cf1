"""What a module's source says of a name, without importing it: where it comes from, and what its class derives from."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec


class Sources:
    """Modules as they lie on the path, read and not imported.

    Raises:
        SyntaxError, ValueError, OSError: a source cannot be read or parsed.
    """

    def __init__(self) -> None:
        self._tree = cache(_tree)
        self._seen: set[tuple[str, str]] = set()

    def has(self, module: str) -> bool:
        """Tell whether there is such a module."""
        return _spec(module) is not None

    def binds(self, module: str, name: str) -> bool:
        """Tell whether something in it may give the name a meaning."""
        return any(True for _ in _bindings(self._tree(module), name))

    def derives(self, module: str, name: str, root: str) -> bool:
        """Tell whether the name means a class of the package `root`, or one that derives from such a class."""
        if module.split(".")[0] == root:
            return True
        if (module, name) in self._seen or not self.has(module):
            return False
        self._seen.add((module, name))
        return any(self._leads(module, node, name, root) for node in _bindings(self._tree(module), name))

    def _leads(self, module: str, node: ast.stmt, name: str, root: str) -> bool:
        if isinstance(node, ast.ImportFrom):
            source = self._absolute(module, node)
            given = {alias.asname or alias.name: alias.name for alias in node.names}
            return self.derives(source, given.get(name, name), root)
        if isinstance(node, ast.ClassDef):
            return any(self._means(module, base, root) for base in node.bases)
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        return value is not None and self._means(module, value, root)

    def _means(self, module: str, value: ast.expr, root: str) -> bool:
        """Tell whether an expression, a name or `module.Name`, is such a class."""
        if isinstance(value, ast.Subscript):  # of a generic class
            return self._means(module, value.value, root)
        *parts, name = ast.unparse(value).split(".") if isinstance(value, ast.Name | ast.Attribute) else ("",)
        if not parts:
            return self.derives(module, name, root)
        return any(self.derives(".".join(found), name, root) for found in self._modules(module, parts))

    def _modules(self, module: str, parts: list[str]) -> Iterator[list[str]]:
        """Yield what `parts`, written in the module, may be as a module's full name."""
        for node in _bindings(self._tree(module), parts[0]):
            if isinstance(node, ast.Import):
                named = [a.name.split(".") for a in node.names if a.asname == parts[0]]
                yield from [[*name, *parts[1:]] for name in named] or [parts]
            elif isinstance(node, ast.ImportFrom):
                given = {alias.asname or alias.name: alias.name for alias in node.names}
                yield [*self._absolute(module, node).split("."), given.get(parts[0], parts[0]), *parts[1:]]

    def _absolute(self, module: str, node: ast.ImportFrom) -> str:
        """Return what a relative import is relative to, and goes on to."""
        if not node.level:
            return node.module or ""
        spec = _spec(module)
        package = module if spec and spec.submodule_search_locations is not None else module.rpartition(".")[0]
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        return ".".join([*above, *([node.module] if node.module else [])])


def _tree(module: str) -> ast.Module:
    spec = _spec(module)
    source = spec.loader.get_source(module) if spec and isinstance(spec.loader, InspectLoader) else None
    return ast.parse(source or "")


def _spec(module: str) -> ModuleSpec | None:
    """Find where a module lies, without importing the packages that it is in."""
    root, *parts = module.split(".")
    spec = find_spec(root) if root else None
    for part in parts:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
    return spec


def _bindings(node: ast.AST, name: str) -> Iterator[ast.stmt]:
    """Yield the statements of a module, outside of functions and classes, that may give a name its meaning."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef):
            if child.name == name:
                yield child
        elif isinstance(child, ast.ImportFrom):
            if any((alias.asname or alias.name) in (name, "*") for alias in child.names):
                yield child
        elif isinstance(child, ast.Import):
            if any((alias.asname or alias.name.split(".")[0]) == name for alias in child.names):
                yield child
        elif isinstance(child, ast.Assign | ast.AnnAssign):
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                yield child
        else:
            yield from _bindings(child, name)

"""The one module that imports `hydra._internal`, which a newer Hydra may change: a test says so if it does."""

from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_automatic_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.errors import SearchPathException
from hydra.version import VersionBase, setbase

_ALONE = Lock()


@contextmanager
def own_rules(version: str) -> Iterator[None]:
    """Compose by the rules of a version of Hydra, one thread at a time.

    The rules, and the tables of Hydra's parser, are the whole process's. A program that uses Hydra by itself gets its
    own rules back; of its state nothing else is used.
    """
    with _ALONE:
        chosen = VersionBase.instance()
        before = chosen.version_base
        setbase(version)
        try:
            yield
        finally:
            chosen.version_base = before


def parser() -> ArgumentParser:
    """Return what parses Hydra's command line."""
    built: ArgumentParser = get_args_parser()
    return built


def options_first(arguments: Sequence[str]) -> list[str]:
    """Return the arguments in an order that the parser takes: it refuses overrides on both sides of an option."""
    if not any(argument.startswith("-") for argument in arguments):
        return list(arguments)
    overrides = parser().parse_intermixed_args(list(arguments)).overrides
    return [*(argument for argument in arguments if argument not in overrides), *overrides]


def options() -> list[str]:
    """List the options of Hydra's command line, with their dashes."""
    return [option for action in parser()._actions for option in action.option_strings]


def loader(configuration: Path | str, own: str | None) -> Any:
    """Return Hydra's loader of configurations, with `load_configuration`, `list_groups` and `repository`.

    Args:
        configuration: the folder of `config.yaml`.
        own: a folder whose files go before those (`--config-dir`); None: there is none.

    Raises:
        SearchPathException: it does not exist.
    """
    path = create_automatic_config_search_path(__file__, None, str(configuration))
    if own:
        if not (folder := Path(own).absolute()).is_dir():
            raise SearchPathException(f"Additional config directory '{folder}' not found")
        path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
    return ConfigLoaderImpl(path)

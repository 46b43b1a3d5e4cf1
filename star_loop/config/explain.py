"""What Hydra refuses, in the words of whoever typed it: which key, what there is, what to write."""

import difflib
import re
from collections.abc import Collection, Sequence

from hydra.errors import MissingConfigException, OverrideParseException

_UNKNOWN = re.compile(r"(?:Could not (?:override|delete(?: from config\.)?)|config group) '([^']+)'")
"""How Hydra names a key or a group that it does not find."""
_ELSEWHERE = {
    "model": "a directory or a name on the Hugging Face Hub is given by model.name_or_path=",
    "task": "a file of your own is given by task=file task.path=",
}
"""What is taken for an option of a group, and is the value of a key."""
_BY_NAME = {
    "tracker": "several tell how a run goes, each under its name: ~tracker@tracker.console leaves one out, "
    "+tracker@tracker.wandb=wandb adds one",
}
"""Groups of which there may be several options at once."""


def explain(error: Exception, known: Collection[str]) -> str:
    """Say what is misspelt, and the nearest of what there is; Hydra's own words where it is something else.

    Args:
        error: what Hydra or OmegaConf raised.
        known: the configuration's groups and root keys.
    """
    said = _as_typed(str(error))
    if isinstance(error, OverrideParseException):
        typed = without_plus(error.override)
        return f"{typed!r} cannot be read: write key=value, key='a value with any signs', or ~group to leave one out"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, option = error.missing_cfg_file.partition("/")
        if group in _ELSEWHERE and re.search(r"[/.~]", option):
            return f"{group}={option}: {_ELSEWHERE[group]}{option}"
        return f"Could not find '{error.missing_cfg_file}': {nearest(option, sorted(error.options))}"
    if isinstance(error, MissingConfigException) and "primary config" in said:
        name = error.missing_cfg_file
        return f"Cannot find primary config '{name}': --config-dir says in which folder it is searched for too"
    found = _UNKNOWN.search(said)
    if found and found[1] in _BY_NAME:
        return f"{found[1]}: {_BY_NAME[found[1]]}"
    root = re.split("[.@=/]", found[1])[0] if found else None
    if root is None or root == "hydra" or root in known:
        return f"{said}\nEvery key of what would run: add --help" if root in known else said
    return f"{root}: no such key: {nearest(root, sorted(known))}"


def nearest(name: str, known: Sequence[str]) -> str:
    """Find what a misspelt name may have meant, or return all that there is."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"


def without_plus(said: str) -> str:
    """Leave out the `++` of keys, which nobody typed."""
    return re.sub(r"\+\+(?=[A-Za-z_])", "", said)


def _as_typed(said: str) -> str:
    """Without the `++` that nobody typed, and without what OmegaConf adds for its own developers."""
    said = without_plus(said)
    said = re.sub(r"^Recursive interpolation detected\n +full_key: (\S+)", r"\1: asks for itself, by ${…}", said)
    said = re.sub(r"\n +(full_key|reference_type|object_type).*", "", said)
    said = re.sub(r"^\w+ raised while resolving interpolation: ", "", said)
    return re.sub(r"^Interpolation key '(.+)' not found$", r"\1: this key is needed, and nobody gives it", said)

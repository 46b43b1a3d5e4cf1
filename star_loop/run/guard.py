"""What refuses to continue a run with another configuration, other data or another base model."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from itertools import count
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from star_loop.config.build import settled
from star_loop.config.target import MOVED
from star_loop.errors import ConfigError
from star_loop.records import Observation
from star_loop.run.configuration import flatten, read_configuration
from star_loop.run.directory import HARD, OWN_FOLDERS, RunDirectory
from star_loop.run.disk import RunError, json_bytes, read_json, refuse_endless
from star_loop.run.iteration import iteration_number
from star_loop.run.preparation import Folder
from star_loop.tasks.splitting import surveyed

logger = logging.getLogger(__name__)

_IDENTIFYING = ("id", "question", "answer")
OF_A_RUN = (
    "config.yaml", "identity.json", "observations.parquet", "checksums.txt", "arrived.jsonl", "timings.jsonl",
    "preparation", "iterations",
)  # fmt: skip
"""What rests on the configuration, the data or the weights, or says so."""
BESIDE = (
    "attempts", "export", "tensorboard", "wandb", "metrics.jsonl", "report.html", "profile.txt", "profile.prof",
    ".engine",
)  # fmt: skip
"""What else a launch writes, which may hold links of others."""
FOLDERS = (*OWN_FOLDERS, ".engine")
"""Which of these are folders."""
FILES = (".lock", ".lock.holder", *(name for name in (*OF_A_RUN, *BESIDE) if name not in FOLDERS))

EXAMPLES = "worked_examples"
"""Fingerprint of a file of the user's own that stands in the prompts."""
RATIONALES = "rationales"
"""Fingerprint of a file of the user's own that is learned from instead of what a model writes."""
FORKABLE = (EXAMPLES, RATIONALES)
"""Fingerprints that never change in a run, and may in a fork."""
VERIFIER = "verifier"
"""Fingerprint of code that judges and is none of this project's."""


def bind(run: RunDirectory, config: Mapping[str, Any], identity: Mapping[str, Any], free: Sequence[str]) -> None:
    """Give a directory without a commit to this configuration and these data and weights.

    What a launch of others has left there is moved into `attempts/`: a command that failed binds nobody.

    Raises:
        RunError: what is there is damaged.
    """
    path = run.path / "identity.json"
    made_of = read_json(run.ledger.check(path.name)) if path.exists() else identity
    others = any(differs(made_of, identity, key) for key in (*HARD, *FORKABLE))
    if others or _differing(run, config, free):
        logger.warning("nothing was committed here under other settings; what they left is in %s", _set_aside(run))
    guard_config(run, config, free)


def _set_aside(run: RunDirectory) -> Path:
    taken = (run.path / "attempts" / f"uncommitted-{number}" for number in count(1))
    place = next(path for path in taken if not path.exists())
    place.mkdir(parents=True)
    for name in OF_A_RUN:
        if (run.path / name).exists():
            run.disk.rename(run.path / name, place / name)
    return place


def guard_config(run: RunDirectory, config: Mapping[str, Any], free: Sequence[str]) -> None:
    """Publish the resolved configuration once, as `config.yaml`; afterwards every launch must match it.

    `free` are the dotted keys (or their parents) that may change between launches.

    Raises:
        RunError: lists the differing keys with both values.
    """
    path = run.path / "config.yaml"
    if _is_new(run, path):
        run.ledger.publish(path.name, OmegaConf.to_yaml(OmegaConf.create(dict(config))).encode())
    elif differing := _differing(run, config, free):
        listed = "\n".join(differing)
        raise RunError(
            f"{run.path} is a run of another configuration:\n{listed}\n"
            "Launch with the run's own values to continue it, or choose another name= for a new run "
            "(fork=<run>/iterations/<NNNN> starts it from there)."
        )


def _differing(run: RunDirectory, config: Mapping[str, Any], free: Sequence[str]) -> list[str]:
    """Tell in which keys a configuration differs from that of the run; nothing, where that is not known."""
    path = run.path / "config.yaml"
    if not path.exists():
        return []
    begun_with = read_configuration(run.ledger.check(path.name))
    before, now = _with_present_targets(begun_with), _with_present_targets(config)
    differing = [key for key in {*before, *now} if before.get(key) != now.get(key) and not _within(key, free)]
    alike = _alike(begun_with, config) if differing else ()
    return [
        f"  {key}: the run has {before.get(key, 'nothing')!r}, this launch {now.get(key, 'nothing')!r}"
        for key in sorted(differing)
        if key not in alike
    ]


def _alike(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """Return the keys that come to the same, however they are typed: a default said is a default left out."""
    try:
        begun_with, launched = settled(before), settled(now)
    except ConfigError:
        return set()  # of another version, whose keys are not known
    return {key for key, value in begun_with.items() if key in launched and launched[key] == value}


def guard_identity(run: RunDirectory, identity: Mapping[str, Any]) -> list[str]:
    """Publish once what the run is made from, as `identity.json`, and compare later launches with it.

    Returns:
        The soft differences (versions of packages, code that judges), a clause each.

    Raises:
        RunError: one of `HARD` or `FORKABLE` differs.
    """
    path = run.path / "identity.json"
    if _is_new(run, path):
        run.ledger.publish(path.name, json_bytes(identity))
        return []
    before = read_json(run.ledger.check(path.name))
    for key in (*HARD, *FORKABLE):
        if differs(before, identity, key):
            raise RunError(
                f"the {key.replace('_', ' ')} changed since {run.path} began (fingerprint {before.get(key)}, now "
                f"{identity.get(key)}): restore them to continue this run, or choose another name="
            )
    return [
        "the code of the verifier has changed: the same text may be judged otherwise"
        if key == VERIFIER
        else f"the version of {key} was {before.get(key)}, now {value}: results may differ slightly"
        for key, value in identity.items()
        if key not in (*HARD, *FORKABLE, "settings") and before.get(key) != value
    ]


def differs(before: Mapping[str, Any], now: Mapping[str, Any], key: str) -> bool:
    """Tell whether a run was made of something else; one that knows nothing of options yet cannot tell of them."""
    known = key in before or key not in ("choices_and_meta", *FORKABLE)
    return known and before.get(key) != now.get(key)


def refuse_places(run: RunDirectory) -> None:
    """Refuse symbolic links in a run directory, by which its files would be written elsewhere, pipes, which would be
    waited for, and a file where a folder belongs.

    Raises:
        RunError: names the first of them.
    """
    for folder, folders, files in os.walk(run.path):
        here = Path(folder)
        if here == run.path:  # a stranger's file is left alone, but nothing is written through one
            folders[:] = filter(_own, folders)
            files = list(filter(_own, files))
        for name in (*folders, *files):
            refuse_link(here / name)
            _refuse_other_kind(here / name, (here / name).relative_to(run.path))
        folders[:] = [name for name in folders if name not in BESIDE]


def _refuse_other_kind(path: Path, place: Path) -> None:
    """Refuse what is neither the folder nor the file that belongs at this place in a run directory."""
    is_iteration = place.parent.name == "iterations" and iteration_number(place.name) is not None
    if is_iteration or str(place) in FOLDERS:
        if not path.is_dir():
            raise RunError(f"{path} is no folder, where one belongs: move it away, or restore what was there")
    elif str(place) in FILES or not path.is_dir():
        refuse_endless(path)


def _own(name: str) -> bool:
    return name in (*OF_A_RUN, *BESIDE) or name.startswith(".")


def refuse_link(path: Path) -> None:
    """Refuse a symbolic link where a file or a folder of a run is written.

    Raises:
        RunError: names the link.
    """
    if path.is_symlink():
        raise RunError(
            f"{path} is a link to {path.readlink()}, so the run would be written elsewhere: put what it leads to in "
            "its place (to keep runs on another disk, link the run directory itself, or set outputs=)"
        )


def guard_files(run: RunDirectory) -> None:
    """Compare what was prepared, and the files of the committed iterations, with their checksums.

    Raises:
        RunError: names the first file that is missing, changed or unknown, and what can still be used.
    """
    latest = run.latest()
    for stranger in sorted(run.path.glob("iterations/*")):
        if iteration_number(stranger.name) is None and not stranger.name.startswith("."):
            logger.warning("%s is no iteration (0000, 0001, …) and is left alone", stranger)
    check_prepared(run)
    if latest:
        run.refuse_foreign()
        run.verify(range(latest.number + 1), latest)


def check_prepared(run: RunDirectory) -> None:
    """Compare what was prepared with its checksums.

    Raises:
        RunError: names the first file that is missing or changed.
    """
    for prepared in sorted(run.path.glob("preparation/*/")):
        folder = Folder(prepared, run.disk)
        folder.ledger.check_all(complete=folder.has("columns"))  # what is missing before that is still to be made


def _is_new(run: RunDirectory, path: Path) -> bool:
    """Tell whether a guard's file is still to be published.

    Raises:
        RunError: it is gone from a run that has begun, so nothing could be compared.
    """
    if path.exists():
        return False
    if latest := run.latest():
        raise RunError(
            f"{path} is missing although iteration {latest.number} is committed, so nobody can tell whether this "
            f"launch continues the same run: restore it, or continue in a new run: name=<new> fork={latest.path}"
        )
    return True


def settings_fingerprint(config: Mapping[str, Any], free: Sequence[str]) -> str:
    """SHA-256 over all that a run is set to, but for what may change, and for what it was forked from."""
    fixed = {key: value for key, value in _with_present_targets(config).items() if not _within(key, (*free, "fork"))}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True, default=str).encode()).hexdigest()


def _within(key: str, parents: Sequence[str]) -> bool:
    return any(key == parent or key.startswith(f"{parent}.") for parent in parents)


def _with_present_targets(config: Any) -> dict[str, Any]:
    flat = flatten(config)
    return {key: MOVED.get(str(value), value) if key.endswith("_target_") else value for key, value in flat.items()}


def fingerprint(splits: Mapping[str, Sequence[Observation]]) -> str:
    """SHA-256 over the id, question and answer of every observation, in order."""
    digest = hashlib.sha256()
    for split, observations in splits.items():
        digest.update(f"{split}\n".encode())
        for rows in surveyed(observations).rows():
            texts = zip(*(map(encode_basestring_ascii, rows[name].to_pylist()) for name in _IDENTIFYING), strict=True)
            digest.update("".join(f"[{', '.join(row)}]" for row in texts).encode())  # as `json.dumps` writes it
    return digest.hexdigest()


def besides(splits: Mapping[str, Sequence[Observation]]) -> str:
    """SHA-256 over every observation's options, and what else its answers are judged by; empty: there is neither."""
    parts = {split: surveyed(observations).besides for split, observations in splits.items()}
    if not any(part.any() for part in parts.values()):
        return ""
    return hashlib.sha256(b"".join(part.astype(">u8").tobytes() for part in parts.values())).hexdigest()

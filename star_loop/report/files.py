"""Reading a run's files one by one; what cannot be read is an error that names the file."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from star_loop.records import RecordError, Rollout
from star_loop.run.disk import RunError


def configuration(path: Path) -> tuple[str, Mapping[str, Any]]:
    """The text of `config.yaml`, and what it says.

    Raises:
        RunError: it is damaged.
    """
    from omegaconf import DictConfig, OmegaConf

    if not path.exists():
        return "", {}
    try:
        loaded = OmegaConf.load(path)
        settings = OmegaConf.to_container(loaded) if isinstance(loaded, DictConfig) else {}
    except Exception as error:  # whatever the YAML reader makes of a damaged file
        raise RunError(f"{path} is damaged ({error}): restore it") from error
    return path.read_text(encoding="utf-8"), cast(dict[str, Any], settings)


def rollouts(path: Path) -> Iterator[Rollout]:
    """Those of a file, in order; none, where there is no such file.

    Raises:
        RunError: names the line that is damaged.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield Rollout.from_json(line.decode("utf-8", "surrogatepass"))
            except (RecordError, UnicodeDecodeError) as error:
                raise RunError(f"{path} is damaged: line {number} is {error}") from error


def table(path: Path, columns: list[str], filters: list[tuple[str, str, Any]]) -> list[dict[str, Any]]:
    """Rows of the run's `observations.parquet`; none, where there is no such file.

    Raises:
        RunError: it cannot be read.
    """
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    file = path / "observations.parquet"
    if not file.exists():
        return []
    try:
        rows: list[dict[str, Any]] = parquet.read_table(file, columns=columns, filters=filters).to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise RunError(f"{file} cannot be read ({error}): restore it") from error
    return rows

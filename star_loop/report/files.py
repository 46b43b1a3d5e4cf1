"""Reading a run's files one by one; what cannot be read is an error that names the file."""

from pathlib import Path
from typing import Any

from star_loop.run.disk import RunError


def table(path: Path, columns: list[str], filters: list[tuple[str, str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the run's `observations.parquet`; none, where there is no such file.

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

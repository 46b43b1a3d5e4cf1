"""Rows of JSON Lines, JSON, CSV and Parquet files and of Hub data sets, one at a time; errors name file, line, column.

Of JSON Lines, CSV and Parquet, memory holds a few bytes for each row, whatever its length.
"""

from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

from star_loop.tasks.cells import Row, RowError, kind
from star_loop.tasks.lines import Csv, JsonLines, loads
from star_loop.tasks.survey import BATCH, mapped

FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")


class Table(Protocol):
    """Rows by their place, each a mapping from column to value."""

    def __len__(self) -> int:
        """Number of rows."""

    def __getitem__(self, index: int) -> Row:
        """Return one row.

        Raises:
            RowError: it cannot be read.
        """

    def place(self, index: int) -> str:
        """Tell where the row stands, for messages: `my.jsonl, line 3`."""


def read(path: Path, key: str = "task.path") -> Table:
    """Return the rows of a file, by its ending (see `FORMATS`); `key` is the key that names it, for messages.

    Raises:
        ValueError: no such file, no rows, an unknown ending, or a file that is not what its ending says.
    """
    path = path.expanduser()
    if path.is_dir():
        raise ValueError(f"{key}: {path} is a folder: name one file in it")
    if path.exists() and not path.is_file():
        raise ValueError(f"{key}: {path} is a pipe or a device, and rows are read more than once: save them as a file")
    if not path.is_file():
        raise ValueError(f"{key}: there is no file {path} (seen from {Path.cwd()}): check the path")
    if not path.stat().st_size:
        raise ValueError(f"{key}: {path} is empty: give a file with at least one row")
    if path.suffix.casefold() not in FORMATS:
        raise ValueError(f"{key}: {path} ends in {path.suffix!r}: known are {', '.join(FORMATS)}; convert or unpack it")
    table = _open(path)
    if not len(table):
        raise ValueError(f"{key}: {path} has no row: give a file with at least one")
    return table


def _open(path: Path) -> Table:
    match path.suffix.casefold():
        case ".jsonl" | ".ndjson":
            return JsonLines(path)
        case ".csv" | ".tsv":
            return Csv(path)
        case ".json":
            return Memory(path, _read_json(path))
    return Memory(path, _read_parquet(path))


class Memory:
    """Rows that are held or decoded by somebody else: a JSON list, an Arrow table, a Hub data set."""

    def __init__(self, source: Path | str, rows: Sequence[Any]) -> None:
        self.source, self.rows = source, rows

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        """Return one row."""
        try:
            row = self.rows[index]
        except ValueError as error:  # text that is not UTF-8, a date that no calendar has
            raise RowError(f"{self.place(index)}: cannot be read ({error})") from error
        if not isinstance(row, dict):
            raise RowError(f"{self.place(index)}: expected an object with columns, found {kind(row)}")
        return row

    def place(self, index: int) -> str:
        """Name the source and the row, counted from 1."""
        return f"{self.source}, row {index + 1}"


class ArrowRows(Sequence[dict[str, Any]]):
    """Arrow batches as a sequence of rows."""

    def __init__(self, batches: Sequence[Any]) -> None:
        self.batches = batches
        self._ends = list(accumulate(batch.num_rows for batch in batches))

    def __len__(self) -> int:
        """Number of rows."""
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: Any) -> Any:
        """Return one row; nested columns become lists and dictionaries, floats the decimals they were written as."""
        k = bisect_right(self._ends, index)
        batch = self.batches[k]
        row = batch.slice(index - self._ends[k] + batch.num_rows, 1).to_pylist()[0]
        return {field.name: _as_written(row[field.name], field.type) for field in batch.schema}


def hub(name: str, config: str | None, split: str) -> Table:
    """Return a split of a data set on the Hugging Face Hub, memory-mapped by `datasets`.

    Raises:
        ValueError: the extra `hub` is not installed, or the Hub has no such data set, configuration or split.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ValueError(f'{name} comes from the Hub: pip install "star_loop[hub]", or give task.path=') from error
    try:
        return Memory(f"{name} ({split})", stored(datasets.load_dataset(name, config, split=split)))
    except Exception as error:  # the library's own errors are many: network, names, formats
        raise ValueError(f"cannot load {name}, {config or 'default'}, {split} from the Hub: {error}") from error


def stored(dataset: Any) -> Sequence[Any]:
    """The rows of a loaded Hub data set as they are stored, so that 32 bits of 0.1 stay 0.1, and nothing is decoded."""
    return ArrowRows(dataset.data.to_batches())


def _as_written(value: Any, kind: Any) -> Any:
    """Return a float of few bits as the shortest decimal that means it: 0.1, not 0.10000000149011612."""
    import numpy as np
    from pyarrow import types

    if value is None or not types.is_nested(kind):
        narrow = np.float16 if types.is_float16(kind) else np.float32 if types.is_float32(kind) else None
        finite = value is not None and narrow is not None and np.isfinite(value)
        return Decimal(str(narrow(value))) if finite and narrow else value
    if types.is_struct(kind):
        return {field.name: _as_written(value[field.name], field.type) for field in kind}
    return [_as_written(each, kind.value_type) for each in value] if hasattr(kind, "value_type") else value


def _read_json(path: Path) -> Sequence[Any]:
    try:
        rows = loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise RowError(f"{path}: not JSON ({error}); for one object per line, name the file .jsonl") from error
    if isinstance(rows, dict):
        rows = _rows_of(rows, path)
    if not isinstance(rows, list):
        raise RowError(f"{path}: expected a list of objects, found {kind(rows)}")
    return rows


def _rows_of(found: dict[str, Any], path: Path) -> Any:
    """Return the rows in an object: its only list of objects, or the columns that pandas writes."""
    lists = {name: value for name, value in found.items() if isinstance(value, list)}
    tables = [name for name, value in lists.items() if value and isinstance(value[0], dict)]
    if len(tables) > 1:
        raise RowError(f"{path}: several lists of objects: {', '.join(map(repr, tables))}: save each in a file")
    if tables or len(found) == 1:
        (only,) = tables or found
        return found[only]
    inner = [tuple(value) for value in found.values() if isinstance(value, dict)]
    if len(inner) == len(found) and len(set(inner)) == 1:
        if not all(key.isdecimal() for key in inner[0]):
            return list(found.values())  # rows by their names
        lists = {name: list(column.values()) for name, column in found.items()}
    if len(lists) == len(found) and len({len(column) for column in lists.values()}) == 1:
        return [dict(zip(lists, cells, strict=True)) for cells in zip(*lists.values(), strict=True)]
    return found


def _read_parquet(path: Path) -> Sequence[Any]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path, memory_map=False) as file:
            return ArrowRows(mapped(file.schema_arrow, file.iter_batches(BATCH)))
    except (pyarrow.ArrowException, OSError) as error:
        raise RowError(f"{path}: not Parquet ({error})") from error

"""Rows of JSON Lines, JSON, CSV and Parquet files and of Hub data sets, one at a time; errors name file, line, column.

JSON Lines, CSV and Parquet are memory-mapped: held in memory are a few bytes for each row, whatever its length.
"""

import csv
import io
import json
import math
import mmap
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

from star_loop.tasks.survey import BATCH, mapped

Row = Mapping[str, Any]
_SURROGATE = re.compile("[\ud800-\udfff]")
FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")


class RowError(ValueError):
    """A row that cannot be used: names file, line or row, and column."""


class Table(Protocol):
    """Rows by their place, each a mapping from column to value."""

    def __len__(self) -> int:
        """Number of rows."""

    def __getitem__(self, index: int) -> Row:
        """One row.

        Raises:
            RowError: it cannot be read.
        """

    def place(self, index: int) -> str:
        """Where the row stands, for messages: `my.jsonl, line 3`."""


def read(path: Path) -> Table:
    """The rows of a file, by its ending (see `FORMATS`).

    Raises:
        ValueError: no such file, no rows, an unknown ending, or a file that is not what its ending says.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path} (seen from {Path.cwd()}): check the path")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty: give a file with at least one row")
    if path.suffix not in FORMATS:
        raise ValueError(f"{path} ends in {path.suffix!r}: known are {', '.join(FORMATS)}")
    table = _open(path)
    if not len(table):
        raise ValueError(f"{path} has no row: give a file with at least one")
    return table


def _open(path: Path) -> Table:
    if path.suffix in (".jsonl", ".ndjson"):
        return JsonLines(path)
    if path.suffix in (".csv", ".tsv"):
        return Csv(path)
    return Memory(path, _read_json(path) if path.suffix == ".json" else _read_parquet(path))


class JsonLines:
    """One JSON object per line; blank lines are skipped."""

    def __init__(self, path: Path) -> None:
        self.path, self._map = path, _mapped(path)
        self._starts, self._lines = array("q"), array("q")
        start = 0
        for number, line in enumerate(iter(self._map.readline, b""), start=1):
            if not line.isspace():
                self._starts.append(start)
                self._lines.append(number)
            start += len(line)
        self._starts.append(start)

    def __len__(self) -> int:
        """Number of lines that are not blank."""
        return len(self._lines)

    def __getitem__(self, index: int) -> Row:
        """The object on one line."""
        try:
            row = json.loads(self._map[self._starts[index] : self._starts[index + 1]])
        except json.JSONDecodeError as error:
            raise RowError(f"{self.place(index)}, column {error.colno}: not JSON ({error.msg})") from error
        except UnicodeDecodeError as error:
            raise RowError(f"{self.place(index)}: not UTF-8 ({error.reason}): convert the file") from error
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
            raise RowError(f"{self.place(index)}: JSON that cannot be read ({error})") from error
        if not isinstance(row, dict):
            raise RowError(f"{self.place(index)}: expected a JSON object {{…}}, found {_kind(row)}")
        return row

    def place(self, index: int) -> str:
        """File and line."""
        return f"{self.path}, line {self._lines[index]}"


class Csv:
    """Comma-separated values with a header (`.tsv`: tabs); quoted cells may span lines."""

    def __init__(self, path: Path) -> None:
        self.path, self._map = path, _mapped(path)
        self._starts, self._lines = array("q"), array("q")
        ends, end = array("q"), 0
        for line in iter(self._map.readline, b""):
            end += len(line)
            ends.append(end)
        self._map.seek(0)
        reader = self._reader(line.decode("utf-8-sig") for line in iter(self._map.readline, b""))
        try:
            self.header = next(reader)
            before = reader.line_num
            for cells in reader:
                if cells:
                    self._starts.append(ends[before - 1])
                    self._lines.append(before + 1)
                before = reader.line_num
        except (csv.Error, UnicodeDecodeError) as error:
            raise RowError(f"{path}, after line {reader.line_num}: not CSV in UTF-8 ({error})") from error
        self._starts.append(end)
        if len(set(self.header)) < len(self.header):
            twice = [name for name in self.header if self.header.count(name) > 1]
            raise RowError(f"{path}: two columns are called {twice[0]!r}: rename one")

    def _reader(self, lines: Iterator[str]) -> Any:
        return csv.reader(lines, delimiter="\t" if self.path.suffix == ".tsv" else ",", strict=True)

    def __len__(self) -> int:
        """Number of rows below the header."""
        return len(self._lines)

    def __getitem__(self, index: int) -> Row:
        """The cells of one row, as strings."""
        text = self._map[self._starts[index] : self._starts[index + 1]].decode()
        cells: list[str] = next(self._reader(iter(io.StringIO(text, newline=""))))
        if len(cells) != len(self.header):
            raise RowError(
                f"{self.place(index)}: {len(cells)} cells under {len(self.header)} column names: "
                "quote cells that hold a separator"
            )
        return dict(zip(self.header, cells, strict=True))

    def place(self, index: int) -> str:
        """File and the first line of the row."""
        return f"{self.path}, line {self._lines[index]}"


class Memory:
    """Rows that are held or decoded by somebody else: a JSON list, an Arrow table, a Hub data set."""

    def __init__(self, source: Path | str, rows: Sequence[Any]) -> None:
        self.source, self.rows = source, rows

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        """One row."""
        try:
            row = self.rows[index]
        except ValueError as error:  # text that is not UTF-8, a date that no calendar has
            raise RowError(f"{self.place(index)}: cannot be read ({error})") from error
        if not isinstance(row, dict):
            raise RowError(f"{self.place(index)}: expected an object with columns, found {_kind(row)}")
        return row

    def place(self, index: int) -> str:
        """Source and row, counted from 1."""
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
        """One row; nested columns become lists and dictionaries."""
        k = bisect_right(self._ends, index)
        batch = self.batches[k]
        return batch.slice(index - self._ends[k] + batch.num_rows, 1).to_pylist()[0]


def hub(name: str, config: str | None, split: str) -> Table:
    """A split of a data set on the Hugging Face Hub, memory-mapped by `datasets`.

    Raises:
        ValueError: the extra `hub` is not installed, or the Hub has no such data set, configuration or split.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ValueError(f'{name} comes from the Hub: pip install "star_loop[hub]", or give task.path=') from error
    try:
        return Memory(f"{name} ({split})", datasets.load_dataset(name, config, split=split))
    except Exception as error:  # the library's own errors are many: network, names, formats
        raise ValueError(f"cannot load {name}, {config or 'default'}, {split} from the Hub: {error}") from error


def pick(row: Row, column: str, place: str) -> Any:
    """The value under a column; dots reach into nested values, and into one (`a.0`) or every element of a list.

    Raises:
        RowError: there is no such column.

    Example:
        >>> row = {"q": {"stem": "?", "choices": [{"text": "a"}, {"text": "b"}]}}
        >>> pick(row, "q.stem", "here"), pick(row, "q.choices.text", "here")
        ('?', ['a', 'b'])
    """
    if column in row:
        return row[column]
    value: Any = row
    for name in column.split("."):
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, list) and all(isinstance(item, Mapping) and name in item for item in value):
            value = [item[name] for item in value]
        else:
            known = ", ".join(map(repr, value)) if isinstance(value, Mapping) else _kind(value)
            raise RowError(f"{place}, column {column!r}: there is no {name!r}; found {known}")
    return value


def text(value: Any, column: str, place: str) -> str:
    """A value that must be text or a number and not empty, as text; yes and no for booleans.

    Raises:
        RowError: it is missing, empty, a list or an object, no finite number, or text that UTF-8 cannot write.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    finite = not isinstance(value, float) or math.isfinite(value)
    if not isinstance(value, str | int | float) or not finite or not str(value).strip():
        raise RowError(f"{place}, column {column!r}: expected text or a number, found {_kind(value)}")
    found = str(value).strip()
    if _SURROGATE.search(found):
        raise RowError(f"{place}, column {column!r}: half of a surrogate pair is no text: repair the file's encoding")
    return found


def _kind(value: Any) -> str:
    names: dict[type, Callable[[Any], str]] = {
        dict: lambda v: f"an object with {', '.join(map(repr, v)) or 'nothing'}",
        list: lambda v: f"a list of {len(v)}",
        str: lambda v: f"the text {v[:40]!r}",
        type(None): lambda _: "nothing",
    }
    return names.get(type(value), repr)(value)


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _read_json(path: Path) -> Sequence[Any]:
    try:
        rows = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise RowError(f"{path}: not JSON ({error}); for one object per line, name the file .jsonl") from error
    if isinstance(rows, dict) and len(rows) == 1:
        (rows,) = rows.values()
    if not isinstance(rows, list):
        raise RowError(f"{path}: expected a list of objects, found {_kind(rows)}")
    return rows


def _read_parquet(path: Path) -> Sequence[Any]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path, memory_map=True) as file:
            return ArrowRows(mapped(file.schema_arrow, file.iter_batches(BATCH)))
    except (pyarrow.ArrowException, OSError) as error:
        raise RowError(f"{path}: not Parquet ({error})") from error

"""Rows of JSON Lines and CSV, frozen in a memory-mapped copy: held in memory is where each row begins."""

import csv
import io
import json
import mmap
import shutil
from array import array
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from star_loop.tasks.cells import Row, RowError, kind
from star_loop.tasks.survey import unnamed_file

LARGEST_CELL = 1 << 24
"""Characters of a cell of CSV."""


class JsonLines:
    """One JSON object per line; blank lines are skipped."""

    def __init__(self, path: Path) -> None:
        self.path, self._map = path, _frozen(path)
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
        """Return the object on one line."""
        try:
            row = loads(self._map[self._starts[index] : self._starts[index + 1]])
        except json.JSONDecodeError as error:
            raise RowError(f"{self.place(index)}, column {error.colno}: not JSON ({error.msg}){self._hint}") from error
        except UnicodeDecodeError as error:
            raise RowError(f"{self.place(index)}: not UTF-8 ({error.reason}): convert the file") from error
        except (ValueError, RecursionError) as error:  # too many digits, thousands of brackets
            digits = "a number of thousands of digits" if "set_int_max_str_digits" in str(error) else error
            raise RowError(f"{self.place(index)}: JSON that cannot be read ({digits})") from error
        if not isinstance(row, dict):
            raise RowError(f"{self.place(index)}: expected a JSON object {{…}}, found {kind(row)}{self._hint}")
        return row

    @property
    def _hint(self) -> str:
        begins = self._map[: self._starts[1]].lstrip()[:1]
        return "; a file that is one list or spans lines is named .json" if begins == b"[" else ""

    def place(self, index: int) -> str:
        """Name the file and the line."""
        return f"{self.path}, line {self._lines[index]}"


class Csv:
    """Comma-separated values with a header (`.tsv`: tabs); quoted cells may span lines."""

    def __init__(self, path: Path) -> None:
        self.path, self._map = path, _frozen(path)
        self._starts, self._lines = array("q"), array("q")
        ends, end = array("q"), 0
        for line in iter(self._map.readline, b""):
            end += len(line)
            ends.append(end)
        self._map.seek(0)
        reader = self._reader(line.decode("utf-8-sig") for line in iter(self._map.readline, b""))
        try:
            self._check_separator()
            self.header = next(reader)
            before = reader.line_num
            for cells in reader:
                if cells:
                    self._starts.append(ends[before - 1])
                    self._lines.append(before + 1)
                before = reader.line_num
        except (csv.Error, UnicodeDecodeError) as error:
            raise RowError(f"{path}, after line {reader.line_num}: not CSV in UTF-8 ({_csv_error(error)})") from error
        self._starts.append(end)
        self._check_header()

    def _reader(self, lines: Iterator[str], *, strict: bool = True) -> Any:
        csv.field_size_limit(LARGEST_CELL)  # the module's own is 131,072
        return csv.reader(lines, delimiter="\t" if self.path.suffix.casefold() == ".tsv" else ",", strict=strict)

    def _check_separator(self) -> None:
        """Look at the first line, of which other marks may make no CSV at all."""
        line = self._map[: self._map.find(b"\n") + 1].decode("utf-8-sig")
        first: list[str] = next(self._reader(iter([line]), strict=False), [])
        names = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
        other = next((mark for mark in names if len(first) == 1 and mark in first[0]), None)
        if other:
            wanted = "tabs" if self.path.suffix.casefold() == ".tsv" else "commas"
            advice = "name it .tsv" if other == "\t" else "name it .csv" if other == "," else f"save it with {wanted}"
            raise RowError(
                f"{self.path}: the columns {first[0][:60]!r} are separated by {names[other]} ({other!r}), not by "
                f"{wanted}: {advice}"
            )

    def _check_header(self) -> None:
        twice = [name for name in self.header if self.header.count(name) > 1]
        if twice:
            raise RowError(f"{self.path}: two columns are called {twice[0]!r}: rename one")

    def __len__(self) -> int:
        """Number of rows below the header."""
        return len(self._lines)

    def __getitem__(self, index: int) -> Row:
        """Return the cells of one row, as strings."""
        text = self._map[self._starts[index] : self._starts[index + 1]].decode()
        cells: list[str] = next(self._reader(iter(io.StringIO(text, newline=""))))
        if len(cells) != len(self.header):
            raise RowError(
                f"{self.place(index)}: {len(cells)} cells under {len(self.header)} column names: "
                "quote cells that hold a separator"
            )
        return dict(zip(self.header, cells, strict=True))

    def place(self, index: int) -> str:
        """Name the file and the first line of the row."""
        return f"{self.path}, line {self._lines[index]}"


def loads(data: bytes) -> Any:
    """Return a JSON value whose fractions are the decimals that are written there.

    Raises:
        ValueError: it is none, or an object names a key twice.
    """
    return json.loads(data, parse_float=Decimal, object_pairs_hook=_distinct)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _frozen(path: Path) -> mmap.mmap:
    """The bytes of a file as they are now, copied to a nameless file: whatever happens to it later, the rows stay.

    A mapping of the file itself would change with it, and end the process by SIGBUS where it is cut off.
    """
    with unnamed_file() as copy, path.open("rb") as file:
        shutil.copyfileobj(file, copy, 1 << 20)
        if not copy.tell():
            raise RowError(f"{path} is empty: give a file with at least one row")
        copy.flush()
        return mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ)


def _csv_error(error: Exception) -> str:
    if "field limit" in str(error):
        return f"a quote is never closed, or a cell has more than {LARGEST_CELL:,} characters"
    if "new-line" in str(error):
        return "its lines end in carriage returns alone: save it with line feeds"
    return str(error)

"""One pass over observations, and what must be known of all of them before anything starts.

What is found lies in memory-mapped Arrow: the memory that a row takes is a few numbers, whatever its length.
"""

import errno
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from star_loop.records import Observation
from star_loop.verifiers.exact import normalise

Digests = NDArray[np.uint64]
Indices = NDArray[np.int64]
Group = Callable[[Observation], str]
"""The text that two observations must not share across splits: the question, or a premise."""
FIELDS = ("id", "question", "answer", "skill", "level")
BATCH, ROW_GROUP = 1 << 14, 1 << 17
"""Rows that are held while they are written: to Arrow, to Parquet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Findings of a pass, row by row."""

    batches: Sequence[Any]
    """`pyarrow.RecordBatch`es of `FIELDS`."""
    digests: Digests
    """uint64 [n, 2]: of the id and of the group, whatever their case and spaces; the same in every process."""
    besides: NDArray[np.uint64]
    """uint64 [n]: of the options and of what else answers are judged by (`meta`); 0: there is neither."""
    hashes: NDArray[np.int64]
    """int64 [n, 4]: of the id, of the question, of the question with its options, and of the gold answer in its one
    spelling; good for this process only."""

    def rows(self, indices: Indices) -> Iterator[Any]:
        """Yield the fields of some rows, batch by batch; `indices` ascend."""
        start = 0
        for batch in self.batches:
            stop = start + batch.num_rows
            first, last = np.searchsorted(indices, [start, stop])
            if first < last:
                yield batch if last - first == batch.num_rows else batch.take(indices[first:last] - start)
            start = stop


def survey(observations: Sequence[Observation], group: Group) -> Survey:
    """Read every observation once.

    Raises:
        ValueError: an observation cannot be read, in its own words.
    """
    import pyarrow as arrow

    kinds = _kinds()
    digests, hashes = np.empty((len(observations), 2), np.uint64), np.empty((len(observations), 4), np.int64)
    besides = np.zeros(len(observations), np.uint64)

    def batches() -> Iterator[Any]:
        for start in range(0, len(observations), BATCH):
            rows = [observations[index] for index in range(start, min(start + BATCH, len(observations)))]
            here = slice(start, start + len(rows))
            digests[here, 0], digests[here, 1] = [digest(o.id) for o in rows], [digest(group(o)) for o in rows]
            hashes[here] = [_hashes(o) for o in rows]
            besides[here] = [_besides(o) for o in rows]
            columns = [arrow.array([getattr(o, name) for o in rows], kind) for name, kind in kinds.items()]
            yield arrow.record_batch(columns, names=FIELDS)

    found = mapped(arrow.schema(kinds.items()), batches())
    return Survey(batches=found, digests=digests, hashes=hashes, besides=besides)


def _besides(observation: Observation) -> int:
    if not observation.choices and not observation.meta:
        return 0
    text = json.dumps([observation.choices, observation.meta], sort_keys=True, default=str)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _hashes(observation: Observation) -> tuple[int, ...]:
    asked = (observation.question, observation.choices)
    return tuple(map(hash, (observation.id, observation.question, asked, normalise(observation.answer))))


def _kinds() -> dict[str, Any]:
    import pyarrow as arrow

    return {name: arrow.int64() if name == "level" else arrow.string() for name in FIELDS}


def digest(text: str) -> int:
    """Return 64 bits of a text, whatever its case and spaces."""
    canonical = " ".join(text.casefold().split()).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(canonical, digest_size=8).digest(), "big")


def mapped(schema: Any, batches: Iterable[Any]) -> list[Any]:
    """Map Arrow batches written to a nameless file in the temporary folder: the heap does not hold them."""
    import pyarrow as arrow

    with _naming_the_temporary_folder(), tempfile.TemporaryDirectory(prefix="star_loop-") as folder:
        path = str(Path(folder) / "rows.arrow")
        with arrow.OSFile(path, "wb") as sink, arrow.ipc.new_stream(sink, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        return list(arrow.ipc.open_stream(arrow.memory_map(path)))


@contextmanager
def unnamed_file() -> Iterator[IO[bytes]]:
    """Yield a nameless file in the temporary folder, which goes when nobody has it open or mapped any more."""
    with _naming_the_temporary_folder(), tempfile.TemporaryFile(prefix="star_loop-") as file:
        yield file


@contextmanager
def _naming_the_temporary_folder() -> Iterator[None]:
    """Put the folder into an error of the operating system that names no file, such as a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        folder = tempfile.gettempdir()
        what = f"the rows cannot be kept in the temporary folder ({error.strerror or error}): TMPDIR= names another"
        raise OSError(error.errno or errno.EIO, what, folder) from error


def write_parquet(splits: Mapping[str, Callable[[], Iterator[Any]]], path: Path) -> None:
    """Write the rows of all splits with `split` and `position`; a column without any value has Arrow's null type."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    known = {name for name in FIELDS if any(_has(rows[name]) for part in splits.values() for rows in part())}
    kinds = {name: kind if name in known else arrow.null() for name, kind in _kinds().items()}
    schema = arrow.schema({"split": arrow.string(), "position": arrow.int64(), **kinds}.items())
    with parquet.ParquetWriter(path, schema) as writer:
        waiting: list[Any] = []
        for batch in _placed(splits, schema):
            waiting.append(batch)
            if sum(map(len, waiting)) >= ROW_GROUP:
                writer.write_table(arrow.Table.from_batches(waiting).combine_chunks())
                waiting = []
        writer.write_table(arrow.Table.from_batches(waiting, schema).combine_chunks())


def _placed(splits: Mapping[str, Callable[[], Iterator[Any]]], schema: Any) -> Iterator[Any]:
    import pyarrow as arrow

    for split, part in splits.items():
        position = 0
        for rows in part():
            n = len(rows)
            place = [arrow.repeat(split, n), arrow.array(np.arange(position, position + n))]
            texts = [arrow.nulls(n) if schema.field(name).type == arrow.null() else rows[name] for name in FIELDS]
            yield arrow.record_batch([*place, *texts], schema=schema)
            position += n


def _has(column: Any) -> bool:
    return bool(column.null_count < len(column))

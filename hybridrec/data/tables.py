"""The columns of one file of a data set, read one at a time: parquet, Arrow, CSV, TSV or JSON lines.

Errors name the file, the column and the row; rows are counted from 1, the header left out.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hybridrec.errors import DataError

CANONICAL = r"^(0|-?[1-9][0-9]{0,17})$"  # an integer that is written back as it came
DECIMAL = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"
FOLD = 2_000  # how many rows, or bytes, a byte of a parquet file may stand for
EXTENSIONS = (".parquet", ".arrow", ".csv", ".tsv", ".jsonl")
ALIASES = {
    "user_id": ("user", "uid", "userid", "user_idx", "reviewer_id", "reviewerID", "session_id"),
    "item_id": ("item", "iid", "itemid", "item_idx", "movie_id", "movieId", "product_id", "asin", "business_id", "parent_asin"),
    "friend_id": ("friend", "trustee", "followee", "target_id", "user_id_2"),
    "rating": ("stars", "score"),
    "timestamp": ("time", "date", "datetime", "unixReviewTime", "ts"),
}


class Columns(NamedTuple):
    """One file: its ``name`` as errors give it, its schema, its number of rows, and how to read a column.

    ``textual`` says that the file holds text only (CSV), so that the type of an id is for us to find.
    """

    name: str
    schema: pa.Schema
    rows: int
    column: Callable[[str], pa.ChunkedArray]
    textual: bool = False

    def __contains__(self, column: object) -> bool:
        return column in self.schema.names

    def demand(self, *columns: str) -> None:
        """Raise DataError for the first of ``columns`` that the file lacks, with a guess at the one meant."""
        for column in columns:
            if column not in self.schema.names:
                present = self.schema.names
                alike = [x for x in present if x.lower() in {a.lower() for a in ALIASES.get(column, ())}]
                guess = (alike or get_close_matches(column, present, 1, 0.6))[:1]
                remedy = (
                    f"rename {guess[0]!r} to {column!r}?"
                    if guess
                    else f"add it, or rename the column that holds it to {column!r}"
                )
                raise DataError(f"{self.name}: no column {column!r} (it has {', '.join(present) or 'none'}); {remedy}")

    def table(self) -> pa.Table:
        """All columns at once, dictionaries written out; of a textual file, numbers where every cell is one."""
        read = inferred if self.textual else plain
        return pa.table({n: read(self.column(n)) for n in self.schema.names})


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """``column`` without dictionary encoding."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def inferred(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of text as int64 or float64, if every cell that is not null is a plainly written number."""
    if column.null_count == len(column):
        return column
    for pattern, kind in ((CANONICAL, pa.int64()), (DECIMAL, pa.float64())):
        if pc.all(pc.match_substring_regex(column, pattern)).as_py():
            return column.cast(kind)
    return column


def held(name: str, table: pa.Table, textual: bool = False) -> Columns:
    """The columns of a table that lies in memory."""
    return Columns(name, table.schema, table.num_rows, table.column, textual)


def find(folder: Path, stem: str) -> Path | None:
    """The file of ``folder`` named ``stem`` in whatever format. Raises DataError where there are two."""
    found = [folder / (stem + e) for e in EXTENSIONS if (folder / (stem + e)).is_file()]
    if len(found) > 1:
        raise DataError(f"{folder}: both {found[0].name} and {found[1].name} are there; keep one")
    return found[0] if found else None


def open_columns(path: Path) -> Columns:
    """The columns of the file at ``path``. Raises DataError for a file that is not what its name says."""
    if path.suffix in (".parquet", ".arrow"):
        return open_parquet(path) if path.suffix == ".parquet" else open_arrow(path)
    from hybridrec.data.plaintext import open_csv, open_jsonl

    return open_jsonl(path) if path.suffix == ".jsonl" else open_csv(path)


def open_parquet(path: Path) -> Columns:
    """A parquet file; each column is read from disk when asked for."""

    def refuse(e: Exception) -> DataError:
        return DataError(f"{path}: not a whole parquet file ({str(e).splitlines()[0]}); copy or write it again")

    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            plausible(file.metadata, path.stat().st_size)
    except (pa.ArrowException, OSError, ValueError) as e:
        raise refuse(e) from e
    doubled = [n for n in schema.names if schema.names.count(n) > 1]
    if doubled:
        raise DataError(f"{path}: two columns are named {doubled[0]!r}; rename one")

    def column(name: str) -> pa.ChunkedArray:
        try:
            # Buffered, not memory mapped: mapped pages would count as memory of ours.
            with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
                batches = list(file.iter_batches(batch_size=1 << 20, columns=[name], use_threads=False))
        except (pa.ArrowException, OSError, ValueError) as e:
            raise refuse(e) from e
        return pa.chunked_array([b.column(0) for b in batches], type=schema.field(name).type)

    return Columns(str(path), schema, rows, column)


def open_arrow(path: Path) -> Columns:
    """An Arrow IPC file, mapped into memory: no cell is copied, and pages that are not read take no memory."""
    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
        table.validate(full=not all(pa.types.is_primitive(f.type) for f in table.schema))
    except (pa.ArrowException, OSError, ValueError) as e:
        raise DataError(f"{path}: not a whole Arrow file ({str(e).splitlines()[0]}); copy or write it again") from e
    if doubled := [n for n in table.schema.names if table.schema.names.count(n) > 1]:
        raise DataError(f"{path}: two columns are named {doubled[0]!r}; rename one")
    return held(str(path), table)


def plausible(metadata: pq.FileMetaData, size: int) -> None:
    """Raise ValueError where a parquet file of ``size`` bytes claims more than any compression brings into so few."""
    claimed = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if not 0 <= metadata.num_rows <= FOLD * size or not 0 <= claimed <= FOLD * size:
        raise ValueError(f"{size:,} bytes claim to hold {metadata.num_rows:,} rows and {claimed:,} bytes")


def first(mask: pa.ChunkedArray) -> int | None:
    """The position of the first True of a boolean column; null counts as False."""
    position = pc.index(mask, pa.scalar(True)).as_py()
    return None if position < 0 else position


def fault(columns: Columns, column: str, row: int, what: str) -> DataError:
    """The error for one cell; ``row`` is counted from 0."""
    return DataError(f"{columns.name}, column {column!r}, row {row + 1}: {what}")

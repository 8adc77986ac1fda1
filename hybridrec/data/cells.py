"""What the cells of a column mean: ids, labels, times, ratings. Each is checked once, here."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybridrec.data.tables import Columns, fault, first, plain
from hybridrec.errors import DataError


class Codes(NamedTuple):
    """A column of ids: ``values[code]`` for each row. ``values`` (n,) are distinct, ``code`` (E,) is int32."""

    columns: Columns
    column: str
    values: pa.Array
    code: np.ndarray

    def keep(self, rows: np.ndarray) -> Codes:
        """Only ``rows`` (E,) boolean, and only the values they use."""
        code = self.code[rows]
        used, code = np.unique(code, return_inverse=True)
        return self._replace(values=self.values.take(pa.array(used)), code=code.astype(np.int32))


def ids(columns: Columns, column: str) -> Codes:
    """A column of ids, integers or strings. Raises DataError for any other type, and for null or empty ids."""
    columns.demand(column)
    data = plain(columns.column(column))
    if pa.types.is_integer(data.type):
        data = _integers(columns, column, data)
    elif pa.types.is_string(data.type) or pa.types.is_large_string(data.type) or pa.types.is_string_view(data.type):
        data = data.cast(pa.large_string())
    elif not (pa.types.is_null(data.type) and not len(data)):
        raise DataError(
            f"{columns.name}, column {column!r}: ids are {data.type}, wanted integers or strings; "
            "cast the column to int64 or string"
        )
    empty = data.is_null() if data.type == pa.int64() else pc.or_kleene(data.is_null(), pc.equal(data, ""))
    if (row := first(empty)) is not None:
        raise fault(columns, column, row, "no id; drop the row or give it one")
    encoded = data.dictionary_encode()
    del data, empty
    if not encoded.num_chunks:
        return Codes(columns, column, pa.array([], encoded.type.value_type), np.empty(0, np.int32))
    code = np.empty(len(encoded), np.int32)
    start = 0
    for chunk in encoded.chunks:
        code[start : start + len(chunk)] = chunk.indices.to_numpy()
        start += len(chunk)
    return Codes(columns, column, encoded.chunk(encoded.num_chunks - 1).dictionary, code)


def _integers(columns: Columns, column: str, data: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return data.cast(pa.int64())
    except pa.ArrowInvalid as e:
        raise DataError(
            f"{columns.name}, column {column!r}: an id does not fit 64 bits ({e}); store such ids as strings"
        ) from e


def labels(columns: Columns, column: str, remedy: str) -> tuple[list[str], np.ndarray]:
    """A column of names: the distinct ones, sorted, and for each row its position among them. No cell may be null."""
    data = plain(columns.column(column))
    if pa.types.is_null(data.type) or pa.types.is_integer(data.type):
        data = data.cast(pa.large_string())
    if not (pa.types.is_string(data.type) or pa.types.is_large_string(data.type)):
        raise DataError(f"{columns.name}, column {column!r}: cells are {data.type}, wanted strings; {remedy}")
    if (row := first(data.is_null())) is not None:
        raise fault(columns, column, row, f"no value; {remedy}")
    found = sorted(data.unique().to_pylist())
    where = pc.index_in(data, value_set=pa.array(found, data.type))
    return found, np.concatenate([c.to_numpy() for c in where.chunks] or [np.empty(0, np.int32)]).astype(np.int32)


def ratings(columns: Columns, column: str = "rating") -> np.ndarray:
    """Ratings as float32 (E,). Raises DataError for one that is missing, negative or not finite."""
    data = _numbers(columns, column, "ratings")
    values = np.empty(len(data), np.float32)
    start = 0
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is refused as that
        for chunk in data.chunks:
            values[start : start + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
            start += len(chunk)
    wrong = ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        row = int(wrong.argmax())
        found = "no rating" if np.isnan(values[row]) else f"rating {values[row]:g}"
        raise fault(columns, column, row, f"{found}, wanted a finite number of at least 0; correct or drop the row")
    return values


def _numbers(columns: Columns, column: str, what: str) -> pa.ChunkedArray:
    data = plain(columns.column(column))
    kind = data.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return data.cast(pa.float64())
    if columns.textual and pa.types.is_large_string(kind):
        return _parse(columns, column, data, _float, f"wanted {what} as numbers; correct the cell")
    raise DataError(f"{columns.name}, column {column!r}: {what} are {kind}, wanted numbers; cast the column to float32")


def times(columns: Columns, column: str = "timestamp") -> np.ndarray:
    """Times as float64 (E,): numbers as they are; dates and ISO 8601 strings as seconds since 1970. Null becomes NaN."""
    data = plain(columns.column(column))
    kind = data.type
    if pa.types.is_timestamp(kind):
        scale = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind.unit]
        return _floats(data.cast(pa.int64())) / scale
    if pa.types.is_date(kind):
        return _floats(data.cast(pa.timestamp("s")).cast(pa.int64()))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = _floats(data)
        if np.isinf(values).any():
            raise fault(columns, column, int(np.isinf(values).argmax()), "infinite timestamp; correct or drop the row")
        return values
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _floats(_parse(columns, column, data, moment, "wanted a number or an ISO 8601 date and time; correct the cell"))
    if pa.types.is_null(kind):
        return np.full(len(data), np.nan)
    raise DataError(f"{columns.name}, column {column!r}: timestamps are {kind}, wanted numbers, dates or ISO 8601 strings")


def _floats(data: pa.ChunkedArray) -> np.ndarray:
    values = np.empty(len(data))
    start = 0
    for chunk in data.chunks:
        part = chunk.cast(pa.float64(), safe=False)
        values[start : start + len(part)] = part.to_numpy(zero_copy_only=False)
        start += len(part)
    return values


def _float(text: str) -> float:
    return float(text)


def moment(text: str) -> float:
    """Seconds since 1970, of a number or an ISO 8601 date and time (UTC where it names no zone). Raises ValueError."""
    if re.fullmatch(r"-?\d{1,19}(\.\d+)?([eE][+-]?\d+)?", text):
        return float(text)
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _parse(columns: Columns, column: str, data: pa.ChunkedArray, read: Callable[[str], float], wanted: str) -> pa.ChunkedArray:
    """Cells of text as float64. Each distinct text is read once; the first that cannot be is an error with its row."""
    known: dict[str, float] = {}
    for text in data.unique().drop_null().to_pylist():
        try:
            known[text] = read(text.strip())
        except (ValueError, OverflowError) as e:
            row = first(pc.equal(data, pa.scalar(text, data.type)))
            raise fault(columns, column, row or 0, f"{text!r}; {wanted}") from e
    values = pa.array(known.values(), pa.float64())
    return pa.chunked_array(
        [values.take(pc.index_in(c, value_set=pa.array(known, data.type))) for c in data.chunks], pa.float64()
    )

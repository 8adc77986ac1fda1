"""Reading what can be read of a data set where loading would stop at the first fault; what cannot be read is a finding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybridrec.data import cells
from hybridrec.data.atomic import atomic_files, is_atomic
from hybridrec.data.links import FILES, PARTS, STEMS, TABLES, labelled
from hybridrec.data.tables import Columns, find, open_columns, plain
from hybridrec.errors import DataError

FAULT, WARNING, NOTE = "fault", "warning", "note"


class Finding(NamedTuple):
    """One thing found: how grave it is (``fault``, ``warning``, ``note``), by which check, where, what, and what to do."""

    level: str
    check: str
    where: str
    found: str
    remedy: str


@dataclass
class Rows:
    """The readable rows of one relation: ``index`` (2, E) positions among ``Contents.ids``, and what else is known of each.

    ``time`` (E,) float64, NaN where unknown, or None; ``part`` (E,) positions in PARTS, or None.
    """

    name: str
    file: str
    ends: tuple[str, str]
    index: np.ndarray
    time: np.ndarray | None = None
    part: np.ndarray | None = None

    def keep(self, rows: np.ndarray, name: str, target: str) -> Rows:
        """Only ``rows`` (E,) boolean, as a relation of another name."""
        time, part = (None if x is None else x[rows] for x in (self.time, self.part))
        return Rows(name, self.file, (self.ends[0], target), self.index[:, rows], time, part)


@dataclass
class Contents:
    """All that could be read: files, relations, the ids of every kind of entity as text, and what stood in the way."""

    files: dict[str, Columns] = field(default_factory=dict)
    relations: list[Rows] = field(default_factory=list)
    ids: dict[str, pa.Array] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def fault(self, check: str, where: str, e: Exception | str) -> None:
        """Note that something cannot be used; ``e`` says what and, after a semicolon, what to do."""
        found, _, remedy = str(e).partition("; ")
        self.findings.append(Finding(FAULT, check, where, found, remedy or "correct what it names"))


def read(folder: Path) -> Contents:
    """What can be read of the data set in ``folder``."""
    found = Contents(files={})
    for stem in STEMS:
        try:
            if (path := find(folder, stem)) is not None:
                found.files[stem] = open_columns(path)
        except DataError as e:
            found.fault("reading", f"{folder.name}/{stem}", e)
    if not found.files and is_atomic(folder):
        try:
            found.files = atomic_files(folder)
        except DataError as e:
            found.fault("reading", folder.name, e)
    for stem, left, right, name in FILES:
        if stem in found.files:
            rows = _rows(found, found.files[stem], left, right, name)
            if rows is not None:
                found.relations += _by_label(found, found.files[stem], rows) if stem == "interactions" else [rows]
    return found


def _rows(found: Contents, columns: Columns, left: tuple[str, str], right: tuple[str, str], name: str) -> Rows | None:
    """The rows of a file of links; those without both ids have position -1."""
    try:
        columns.demand(left[0], right[0])
        index = np.stack([_positions(found, columns, column, kind) for column, kind in (left, right)])
    except DataError as e:
        found.fault("reading", columns.name, e)
        return None
    rows = Rows(name, columns.name, (left[1], right[1]), index)
    if "timestamp" in columns:
        rows.time = _times(found, columns)
    if "split" in columns:
        rows.part = _parts(found, columns)
    if "rating" in columns:
        try:
            cells.ratings(columns)
        except DataError as e:
            found.fault("ratings", columns.name, e)
    return rows


def _positions(found: Contents, columns: Columns, column: str, kind: str) -> np.ndarray:
    """Positions (E,) of the ids in a column among all of that kind, which take in those that are new; -1 without an id."""
    data = plain(columns.column(column))
    try:
        encoded = data.dictionary_encode().combine_chunks()
        values = encoded.dictionary.cast(pa.large_string())
    except pa.ArrowException as e:
        raise DataError(f"{columns.name}, column {column!r}: {data.type} are no ids; store them as integers or strings") from e
    usable = pc.fill_null(pc.not_equal(values, ""), False).to_numpy(zero_copy_only=False)
    known = found.ids.get(kind, pa.array([], pa.large_string()))
    fresh = values.filter(pa.array(usable))
    fresh = fresh.filter(pc.invert(pc.is_in(fresh, value_set=known)))
    found.ids[kind] = pa.concat_arrays([known, fresh])
    place = np.where(usable, pc.fill_null(pc.index_in(values, value_set=found.ids[kind]), -1).to_numpy(), -1)
    code = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    at = np.where(code >= 0, place[code], -1) if len(place) else np.full(len(code), -1)
    if n := int((at < 0).sum()):
        row = int((at < 0).argmax()) + 1
        found.fault("ids", columns.name, f"column {column!r}: {n:,} rows have no id, the first is row {row}; drop them")
    return at.astype(np.int64)


def _times(found: Contents, columns: Columns) -> np.ndarray | None:
    try:
        return cells.times(columns)
    except DataError as e:
        found.fault("timestamps", columns.name, e)
    data = plain(columns.column("timestamp"))
    if not (pa.types.is_large_string(data.type) or pa.types.is_string(data.type)):
        return None
    known = {text: _moment(text) for text in data.unique().drop_null().to_pylist()}
    return np.array([known.get(text, np.nan) for text in data.to_pylist()], np.float64)


def _moment(text: str) -> float:
    try:
        return cells.moment(text.strip())
    except (ValueError, OverflowError):
        return np.nan


def _parts(found: Contents, columns: Columns) -> np.ndarray | None:
    """Parts (E,); a row in no known part is -1, and the first such is named."""
    data = plain(columns.column("split"))
    where = pc.fill_null(pc.index_in(data, value_set=pa.array(PARTS, data.type)), -1) if _text(data.type) else None
    if where is None:
        found.fault("split", columns.name, f"column 'split': cells are {data.type}; write train, valid or test in every row")
        return None
    part = where.to_numpy().astype(np.int8)
    if n := int((part < 0).sum()):
        row = int((part < 0).argmax())
        found.fault(
            "split",
            columns.name,
            f"column 'split': {n:,} rows are in no part, as row {row + 1}: {data[row].as_py()!r}; write train, valid or test",
        )
    return part


def _text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _by_label(found: Contents, columns: Columns, rows: Rows) -> list[Rows]:
    """Interactions by ``domain`` and ``behavior``, as loading divides them."""
    try:
        kinds, code = labelled(columns)
    except DataError as e:
        found.fault("labels", columns.name, e)
        return [rows]
    if kinds == [()]:
        return [rows]
    met = [(position, kind) for position, kind in enumerate(kinds) if (code == position).any()]
    target = "item:{}" if "domain" in columns else "item"
    return [rows.keep(code == position, ":".join(kind), target.format(kind[0])) for position, kind in met]


def texts_of(files: Mapping[str, Columns]) -> list[tuple[str, str, Columns]]:
    """Kind of entity, the column of its ids, and its table, for every table that is there."""
    return [(kind, column, files[file]) for kind, (file, column) in TABLES.items() if file in files]

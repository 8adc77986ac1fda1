"""The catalogue of an artifact: the ids of items and what is told of each, in the order of their positions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from hybridrec.data.dataset import Ids
from hybridrec.errors import ArtifactError, DataError

TITLES = ("title", "name")  # the columns that name an item to people, the first that there is


def key_of(entity: str) -> str:
    """The id column of a kind of entity; ``item:books``, an item of one domain, has the column of ``item``."""
    return f"{entity.partition(':')[0]}_id"


class Items:
    """Ids and a table with the column ``<entity>_id`` and one row an id. Nothing in it changes; ``extend`` makes a new one."""

    def __init__(self, entity: str, ids: Ids, table: pa.Table | None = None) -> None:
        self.entity, self.ids = entity, ids
        self.key = key_of(entity)
        columns: dict[str, Any] = {self.key: pa.array(ids.values.tolist())}
        if table is not None:
            columns |= {name: table.column(name) for name in table.column_names if name != self.key}
        self.table = pa.table(columns)
        self.title = next((name for name in TITLES if name in columns), None)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, entity: str, table: pa.Table, origin: Any) -> Items:
        """The items of a saved table. Raises ArtifactError where it has no ids, or one twice."""
        key = key_of(entity)
        if key not in table.column_names or table.column(key).null_count:
            raise ArtifactError(f"{origin} has no whole column {key!r}: not the items of an artifact")
        ids = table.column(key).to_pylist()
        if len(set(ids)) < len(ids) or not all(isinstance(x, str | int) for x in ids):
            raise ArtifactError(f"{origin}, column {key!r}: wanted distinct strings or integers")
        return cls(entity, Ids(ids), table)

    def rows(self, start: int = 0) -> list[dict[str, Any]]:
        """What is told of each item from position ``start`` on, by column."""
        return self.table.slice(start).to_pylist()

    def titles(self, positions: list[int]) -> list[str | None]:
        """The titles of the items at ``positions``; None where they have none."""
        if self.title is None:
            return [None] * len(positions)
        return self.table.column(self.title).take(pa.array(positions, pa.int64())).to_pylist()

    def extend(self, more: pa.Table | Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]]) -> Items:
        """These items and, after them, those of a table, a mapping of columns or a list of rows.

        Columns not given are null. Raises DataError for a missing or unknown column, columns of different lengths, an id
        that is taken, doubled or of another type, a cell of another type.
        """
        columns = _columns(more) or {self.key: []}
        if self.key not in columns:
            raise DataError(
                f"the new {self.entity}s have no column {self.key!r} (found: {', '.join(columns) or 'none'}); add it"
            )
        if unknown := sorted(set(columns) - set(self.table.column_names)):
            raise DataError(f"unknown columns {unknown}; the {self.entity}s of this artifact have {self.table.column_names}")
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"columns of different lengths: {lengths}")
        fresh = [x.item() if isinstance(x, np.generic) else x for x in columns[self.key]]
        self._check_ids(fresh)
        arrays = []
        for field in self.table.schema:
            values = fresh if field.name == self.key else columns.get(field.name, [None] * len(fresh))
            try:
                arrays.append(pa.array(values, type=field.type))
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as e:
                raise DataError(f"column {field.name!r}: wanted cells of type {field.type}: {e}") from e
        table = pa.concat_tables([self.table, pa.Table.from_arrays(arrays, schema=self.table.schema)])
        return Items(self.entity, Ids(self.ids.values.tolist() + fresh), table)

    def _check_ids(self, fresh: list[Any]) -> None:
        kind = type(self.ids[[0]][0]) if len(self.ids) else str
        known: set[Any] = set()
        for row, x in enumerate(fresh):
            if type(x) is not kind:
                raise DataError(
                    f"column {self.key!r}, row {row + 1}: {x!r} is no {kind.__name__}, as the ids of this artifact are"
                )
            if x in self.ids:
                raise DataError(f"column {self.key!r}, row {row + 1}: {self.entity} {x!r} is in the catalogue already")
            if x in known:
                raise DataError(f"column {self.key!r}, row {row + 1}: {self.entity} {x!r} is given twice")
            known.add(x)


def _columns(more: Any) -> dict[str, list[Any]]:
    """Any accepted form of a table as lists by column."""
    if isinstance(more, pa.Table):
        return {name: more.column(name).to_pylist() for name in more.column_names}
    if isinstance(more, Mapping):
        if wrong := [name for name, values in more.items() if isinstance(values, str) or not isinstance(values, Iterable)]:
            raise DataError(f"column {wrong[0]!r}: wanted a list of cells; for a single item give a list of one row")
        return {str(name): list(values) for name, values in more.items()}
    rows = list(more) if isinstance(more, Iterable) else [more]
    if wrong := [row for row in rows if not isinstance(row, Mapping)]:
        raise DataError(f"wanted a table, a mapping of columns or a list of rows (mappings); found {wrong[0]!r}")
    names = dict.fromkeys(str(name) for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}

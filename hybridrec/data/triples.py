"""Knowledge: ``triples`` (head, relation, tail) as relations between items, users and other entities."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from hybridrec.data import cells
from hybridrec.data.cells import Codes
from hybridrec.data.dataset import Ids, Relation
from hybridrec.data.links import locate
from hybridrec.data.tables import Columns
from hybridrec.errors import DataError

PREFIXED = ("item", "user")  # "item:42" is item 42; whatever else is written is an entity of its own


def read_triples(columns: Columns, ids: dict[str, Ids]) -> dict[str, Relation]:
    """Relations by the kinds of their ends: item -> entity is ``about``, the others ``<source>_<target>``.

    ``kind`` numbers the relation names, the same in all. What is written as an item or user that the data set does not have
    stays an entity. Adds the kind ``entity`` to ``ids``.
    """
    columns.demand("head", "relation", "tail")
    if any(entity.startswith("item:") for entity in ids):
        raise DataError(
            f"{columns.name}: triples cannot say which domain an item belongs to; remove the file or the 'domain' column"
        )
    kinds, kind = cells.labels(columns, "relation", "name the relation of every triple")
    ends = [_resolve(cells.ids(columns, side), ids) for side in ("head", "tail")]
    names = pc.unique(pa.chunked_array([end.names for end in ends], pa.large_string()))
    entities = Ids(names.take(pc.array_sort_indices(names)).to_numpy(zero_copy_only=False))
    if len(entities):
        ids["entity"] = entities
    at = [end.positions(entities) for end in ends]
    relations = {}
    for source, target in product((*PREFIXED, "entity"), repeat=2):
        rows = (ends[0].entity == source) & (ends[1].entity == target)
        if rows.any():
            index = torch.from_numpy(np.stack([at[0][rows], at[1][rows]]))
            name = "about" if (source, target) == ("item", "entity") else f"{source}_{target}"
            relations[name] = Relation(
                source, target, index, kind=torch.from_numpy(kind[rows].astype(np.int64)), kinds=tuple(kinds)
            )
    return relations


class _End:
    """One end of all triples: the kind of entity (E,), and its position among its kind (E,)."""

    def __init__(self, code: np.ndarray, kind: np.ndarray, position: np.ndarray, values: pa.Array) -> None:
        self.code, self._kind, self._position, self._values = code, kind, position, values
        self.entity = kind[code]
        self.names = values.filter(pa.array(kind == "entity"))

    def positions(self, entities: Ids) -> np.ndarray:
        """Positions (E,), those of ``entities`` filled in."""
        free = self._kind == "entity"
        position = self._position.copy()
        position[free] = locate(entities, self.names) if free.any() else 0
        return position[self.code]


def _resolve(codes: Codes, ids: Mapping[str, Ids]) -> _End:
    values = codes.values.cast(pa.large_string())
    kind = np.full(len(values), "entity", object)
    position = np.full(len(values), -1, np.int64)
    for entity in PREFIXED:
        prefix = f"{entity}:"
        if entity in ids:
            known = Ids(np.array([prefix + str(x) for x in ids[entity].values.tolist()], object))
            found = locate(known, values)
            position[found >= 0] = found[found >= 0]
            kind[found >= 0] = entity
    return _End(codes.code, kind, position, values)

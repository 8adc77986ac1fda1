"""From the files of a data set to typed relations: which file says what, and who is who."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from hybridrec.data import cells
from hybridrec.data.cells import Codes
from hybridrec.data.dataset import Ids, Relation
from hybridrec.data.tables import CANONICAL, Columns
from hybridrec.errors import DataError, DataWarning

logger = logging.getLogger(__name__)

PARTS = ("train", "valid", "test")
# File, its two columns of ids with the kinds of entity they name, and what the relation is called.
FILES = (
    ("interactions", ("user_id", "user"), ("item_id", "item"), "interact"),
    ("social", ("user_id", "user"), ("friend_id", "user"), "trust"),
    ("bundles", ("bundle_id", "bundle"), ("item_id", "item"), "contain"),
    ("user_bundles", ("user_id", "user"), ("bundle_id", "bundle"), "take"),
    ("groups", ("group_id", "group"), ("user_id", "user"), "member"),
    ("group_interactions", ("group_id", "group"), ("item_id", "item"), "choose"),
)
# Kind of entity, the file of its table, the column of its ids.
TABLES = {
    "user": ("users", "user_id"),
    "item": ("items", "item_id"),
    "bundle": ("bundle_texts", "bundle_id"),
    "group": ("group_texts", "group_id"),
}

STEMS = (*(stem for stem, *_ in FILES), "triples", *(stem for stem, _ in TABLES.values()))  # every file of the format


@dataclass
class Links:
    """The rows of one relation before its ids have positions. ``part`` (E,) int8, ``row`` (E,) in the file or None for all."""

    name: str
    source: str
    target: str
    ends: list[Codes]
    time: np.ndarray | None = None
    value: np.ndarray | None = None
    part: np.ndarray | None = None
    row: np.ndarray | None = None

    @property
    def file(self) -> str:
        """The file it was read from."""
        return self.ends[0].columns.name

    def relation(self, ids: Mapping[str, Ids]) -> Relation:
        """The relation, its ids replaced by positions. Frees the codes as it goes, so it can be called once."""
        index = torch.empty(2, len(self.ends[0].code), dtype=torch.int64)
        for i, entity in enumerate((self.source, self.target)):
            end = self.ends.pop(0)
            np.take(locate(ids[entity], end.values), end.code, out=index[i].numpy(), mode="clip")
        time = None if self.time is None or np.isnan(self.time).all() else torch.from_numpy(self.time)
        return Relation(
            self.source, self.target, index, time, value=None if self.value is None else torch.from_numpy(self.value)
        )


def read_links(files: Mapping[str, Columns], given: bool) -> list[Links]:
    """Every relation that ``files`` hold. ``given`` says whether a ``split`` column counts."""
    found: list[Links] = []
    for stem, (left, source), (right, target), name in FILES:
        if stem not in files:
            continue
        columns = files[stem]
        columns.demand(left, right)
        if not columns.rows:
            raise DataError(f"{columns.name}: no rows; add some or remove the file")
        links = Links(name, source, target, [cells.ids(columns, left), cells.ids(columns, right)])
        links.time = cells.times(columns) if "timestamp" in columns else None
        links.value = cells.ratings(columns) if "rating" in columns else None
        links.part = _parts(columns) if given and "split" in columns else None
        found += _by_label(columns, links) if stem == "interactions" else [links]
    return found


def _parts(columns: Columns) -> np.ndarray:
    """The ``split`` column as positions in PARTS. Raises DataError for another name, or where train or all else is empty."""
    remedy = "write train, valid or test in every row"
    names, code = cells.labels(columns, "split", remedy)
    for position, name in enumerate(names):
        if name not in PARTS:
            raise cells.fault(columns, "split", int((code == position).argmax()), f"unknown split {name!r}; {remedy}")
    for wanted in (("train",), ("test", "valid")):
        if not set(wanted) & set(names):
            raise DataError(
                f"{columns.name}, column 'split': no row is {' or '.join(map(repr, wanted))} (there is {', '.join(names)}); "
                "mark some rows so, or remove the column and give load(..., split=...) a rule"
            )
    return np.array([PARTS.index(n) for n in names], np.int8)[code]


def labelled(columns: Columns) -> tuple[list[tuple[str, ...]], np.ndarray]:
    """What ``domain`` and ``behavior`` say together, where there are such columns: their combinations, and each row's (E,)."""
    kinds: list[tuple[str, ...]] = [()]
    code = np.zeros(1, np.int64)
    for column in ("domain", "behavior"):
        if column in columns:
            found, more = cells.labels(columns, column, f"name the {column} in every row")
            kinds, code = [(*kind, label) for kind in kinds for label in found], code * len(found) + more
    return kinds, code


def _by_label(columns: Columns, links: Links) -> list[Links]:
    """Interactions by ``domain`` and ``behavior``, where there are such columns: one relation each."""
    kinds, code = labelled(columns)
    if kinds == [()]:
        return [links]
    result = []
    for position, kind in enumerate(kinds):
        rows = code == position
        if rows.any():
            ends = [end.keep(rows) for end in links.ends]
            time, value, part = (None if x is None else x[rows] for x in (links.time, links.value, links.part))
            target = f"item:{kind[0]}" if "domain" in columns else "item"
            result.append(Links(":".join(kind), "user", target, ends, time, value, part, rows.nonzero()[0]))
    return result


def join_ids(entity: str, known: Codes | None, met: Iterable[Codes]) -> Ids:
    """The ids of one kind of entity: those of its table in the table's order, then those only met elsewhere, sorted."""
    met = list(met)
    columns = [*([known] if known else []), *met]
    types = {c.values.type for c in columns if not c.columns.textual}
    if len(types) > 1:
        a, b = (next(c for c in columns if not c.columns.textual and c.values.type == t) for t in types)
        raise DataError(
            f"{entity} ids are {a.values.type} in {a.columns.name} and {b.values.type} in {b.columns.name}: write both alike"
        )
    integers = types == {pa.int64()} or (not types and all(_canonical(c.values) for c in columns))
    wanted = pa.int64() if integers else pa.large_string()
    values = []
    for c in columns:
        if integers and not _canonical(c.values):
            raise DataError(
                f"{c.columns.name}, column {c.column!r}: ids are not all integers, as they are elsewhere: write all alike"
            )
        values.append(c.values.cast(wanted))
    first = values.pop(0) if known else pa.array([], wanted)
    rest = pc.unique(pa.chunked_array(values, wanted))
    rest = rest.filter(pc.invert(pc.is_in(rest, value_set=first)))
    rest = rest.take(pc.array_sort_indices(rest))
    if known and len(rest):
        warnings.warn(
            f"{len(rest)} of {len(rest) + len(first)} ids of {entity} have no row in {known.columns.name} "
            f"(one is {rest[0].as_py()!r}): their text is empty",
            DataWarning,
            stacklevel=2,
        )
    return Ids(pa.concat_arrays([first, rest]).to_numpy(zero_copy_only=False))


def locate(ids: Ids, values: pa.Array) -> np.ndarray:
    """The positions (n,) int64 of ``values`` among ``ids``; -1 where there is none."""
    known = pa.array(ids.values)
    known = known if known.type == pa.int64() else known.cast(pa.large_string())
    return (
        pc.fill_null(pc.index_in(values.cast(known.type), value_set=known), -1).to_numpy(zero_copy_only=False).astype(np.int64)
    )


def _canonical(values: pa.Array) -> bool:
    return pa.types.is_integer(values.type) or bool(pc.all(pc.match_substring_regex(values, CANONICAL), min_count=0).as_py())

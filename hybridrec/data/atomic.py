"""RecBole's atomic files as columns: tab-separated, headers ``name:type``.

``.inter`` holds interactions, ``.item`` and ``.user`` tables, ``.kg`` with ``.link`` triples, ``.net`` friends.
Interactions divided beforehand are in ``<name>.train.inter``, ``<name>.valid.inter`` and ``<name>.test.inter``.
Zhao et al. 2021, RecBole, arXiv 2011.01731, section 3.2.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from hybridrec.data.links import PARTS
from hybridrec.data.plaintext import open_csv
from hybridrec.data.tables import Columns, held
from hybridrec.errors import DataError

TYPES = ("token", "token_seq", "float", "float_seq")


def is_atomic(folder: Path) -> bool:
    """Whether ``folder`` holds atomic files."""
    return any(folder.glob("*.inter"))


def atomic_files(folder: Path) -> dict[str, Columns]:
    """The atomic files of ``folder``, under the names our own format has for what they hold."""
    files = {"interactions": _interactions(folder)}
    for suffix, name in ((".item", "items"), (".user", "users")):
        if path := _one(folder, suffix):
            files[name] = _open(path)
    if path := _one(folder, ".kg"):
        files["triples"] = _triples(_open(path), _one(folder, ".link"))
    if path := _one(folder, ".net"):
        net = _open(path)
        net.demand("source_id", "target_id")
        files["social"] = held(
            net.name, pa.table({"user_id": net.column("source_id"), "friend_id": net.column("target_id")}), True
        )
    return files


def _one(folder: Path, suffix: str) -> Path | None:
    found = sorted(folder.glob(f"*{suffix}"))
    if len(found) > 1:
        raise DataError(f"{folder}: {' and '.join(p.name for p in found)} are there; keep one {suffix} file a folder")
    return found[0] if found else None


def _open(path: Path) -> Columns:
    columns = open_csv(path, separator="\t", quoted=False)
    names = []
    for header in columns.schema.names:
        name, _, kind = header.partition(":")
        if kind not in TYPES:
            raise DataError(f"{path}: column {header!r}, wanted 'name:type' with type one of {', '.join(TYPES)}")
        names.append(name)
    table = pa.table({n: columns.column(header) for n, header in zip(names, columns.schema.names, strict=True)})
    return held(str(path), table, textual=True)


def _interactions(folder: Path) -> Columns:
    parts = {p: path for p in PARTS for path in folder.glob(f"*.{p}.inter")}
    if not parts:
        path = _one(folder, ".inter")
        if path is None:
            raise DataError(f"{folder}: no .inter file")
        return _open(path)
    opened = {part: _open(path) for part, path in parts.items()}
    tables = [
        columns.table().append_column("split", pa.array([part] * columns.rows, pa.large_string()))
        for part, columns in opened.items()
    ]
    return held(" + ".join(c.name for c in opened.values()), pa.concat_tables(tables, promote_options="default"), textual=True)


def _triples(kg: Columns, link: Path | None) -> Columns:
    """Heads and tails that ``.link`` ties to an item are written as that item."""
    kg.demand("head_id", "relation_id", "tail_id")
    sides = {"head": kg.column("head_id"), "tail": kg.column("tail_id")}
    if link is not None:
        links = _open(link)
        links.demand("item_id", "entity_id")
        entity = links.column("entity_id").combine_chunks()
        name, colon = (pa.scalar(x, pa.large_string()) for x in ("item", ":"))
        item = pc.binary_join_element_wise(name, links.column("item_id").combine_chunks(), colon)
        for side, column in sides.items():
            sides[side] = pc.coalesce(item.take(pc.index_in(column, value_set=entity)), column)
    return held(
        kg.name, pa.table({"head": sides["head"], "relation": kg.column("relation_id"), "tail": sides["tail"]}), textual=True
    )

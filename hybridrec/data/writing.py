"""Writing a data set as a folder that ``load`` reads, and that can be uploaded to the Hub as it is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from hybridrec.data.dataset import Dataset, Relation
from hybridrec.data.features import ROWS
from hybridrec.data.links import FILES, PARTS, STEMS, TABLES
from hybridrec.errors import DataError

CARD = """---
pretty_name: {title}
license: {licence}
tags:
- recommendation
configs:
{configs}
---
# {title}

{about}

## Files
{files}

Read it with `hybridrec.load`.
"""


def save_folder(
    data: Dataset | Mapping[str, pa.Table], path: str | Path, *, title: str = "", about: str = "", licence: str = "unknown"
) -> Path:
    """Write ``data``, or tables by file (``interactions``, ``items``, ...), into the new folder ``path``; returns it.

    zstd parquet, features as .npy, and a README.md that is a Hub dataset card. The folder appears whole or not at all.
    Raises DataError where something is at ``path`` already.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DataError(f"{path}: is there already and not empty; choose another folder, or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        tables = to_tables(data) if isinstance(data, Dataset) else dict(data)
        if unknown := set(tables) - set(STEMS):
            raise DataError(f"no file of the format is called {sorted(unknown)[0]!r}; wanted {', '.join(STEMS)}")
        for stem, table in tables.items():
            pq.write_table(table, draft / f"{stem}.parquet", compression="zstd")
        if isinstance(data, Dataset):
            _write_features(data, draft)
        (draft / "README.md").write_text(_card(tables, title or path.name, about, licence), encoding="utf-8")
        draft.chmod(0o755)
        if path.exists():
            path.rmdir()
        draft.rename(path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return path


def _card(tables: Mapping[str, pa.Table], title: str, about: str, licence: str) -> str:
    return CARD.format(
        title=title,
        licence=licence,
        about=about.strip() or "A data set for recommendation.",
        configs="\n".join(f"- config_name: {stem}\n  data_files: {stem}.parquet" for stem in tables),
        files="\n".join(f"- {stem}.parquet: {len(t):,} rows; {', '.join(t.column_names)}" for stem, t in tables.items()),
    )


def to_tables(data: Dataset) -> dict[str, pa.Table]:
    """The tables of a data set by file: what was held out is marked in the column ``split``."""
    tables: dict[str, pa.Table] = {}
    single = {name: (stem, left[0], right[0]) for stem, left, right, name in FILES}
    several: list[pa.Table] = []
    for name, relation in data.relations.items():
        if relation.kinds:
            continue
        parts = {"train": relation, **data.heldout} if name == data.goal else {"train": relation}
        stem, left, right = single.get(name, ("interactions", "user_id", "item_id"))
        rows = pa.concat_tables(
            [_rows(data, parts[p], left, right, p) for p in PARTS if p in parts], promote_options="permissive"
        )
        if name not in single:
            domain = relation.target.partition(":")[2]
            behavior = name.removeprefix(domain).removeprefix(":")
            for column, value in (("domain", domain), ("behavior", behavior)):
                if value:
                    rows = rows.append_column(column, pa.array([value] * len(rows), pa.string()))
            several.append(rows)
        else:
            tables[stem] = rows.drop_columns("split") if len(parts) == 1 else rows
    if several:
        tables["interactions"] = pa.concat_tables(several, promote_options="permissive")
    known = [r for r in data.relations.values() if r.kinds]
    if known:
        tables["triples"] = pa.concat_tables([_triples(data, r) for r in known])
    for file, column in TABLES.values():
        kinds = [k for k in data.tables if TABLES[k.split(":")[0]] == (file, column)]
        if kinds:
            tables[file] = pa.concat_tables([data.tables[k] for k in kinds], promote_options="default")
    return tables


def _rows(data: Dataset, r: Relation, left: str, right: str, part: str) -> pa.Table:
    columns = {
        left: pa.array(data.ids[r.source].values[r.index[0].numpy()]),
        right: pa.array(data.ids[r.target].values[r.index[1].numpy()]),
    }
    if r.value is not None:
        columns["rating"] = pa.array(r.value.numpy())
    if r.time is not None:
        time = r.time.numpy()
        whole = np.isfinite(time).all() and (time == np.round(time)).all() and (np.abs(time) < 2**53).all()
        columns["timestamp"] = pa.array(time.astype(np.int64) if whole else time, mask=None if whole else np.isnan(time))
    columns["split"] = pa.array([part] * len(r), pa.string())
    return pa.table(columns)


def _triples(data: Dataset, r: Relation) -> pa.Table:
    def names(kind: str, position: torch.Tensor) -> pa.Array:
        prefix = "" if kind == "entity" else f"{kind}:"
        return pa.array([f"{prefix}{x}" for x in data.ids[kind][position]], pa.string())

    assert r.kind is not None
    relation = pa.array(np.array(r.kinds, object)[r.kind.numpy()], pa.string())
    return pa.table({"head": names(r.source, r.index[0]), "relation": relation, "tail": names(r.target, r.index[1])})


def _write_features(data: Dataset, folder: Path) -> None:
    modalities = {m for found in data.features.values() for m in found}
    for modality in sorted(modalities):
        if not modality or Path(modality).name != modality:
            raise DataError(f"features called {modality!r} have no file of their own: give them a name without slashes")
        owners: list[object] = []
        values = []
        for kind, found in data.features.items():
            if modality in found:
                known = found[modality].known
                owners += data.ids[kind][known.nonzero().flatten()]
                values.append(found[modality].values[known])
        np.save(folder / f"features_{modality}.npy", torch.cat(values).numpy(), allow_pickle=False)
        np.save(folder / f"features_{modality}{ROWS}.npy", np.array(owners), allow_pickle=False)

"""What is the matter with the tables of entities: how many have a text, how long it is, whose text is another's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hybridrec.data.links import TABLES
from hybridrec.data.tables import Columns, plain
from hybridrec.doctor.reading import FAULT, NOTE, WARNING, Contents, Finding, texts_of
from hybridrec.errors import DataError

NO_TEXT = ("domain", "split")


def statistics(found: Contents) -> tuple[dict[str, Any], list[Finding]]:
    """The numbers of every table (JSON), and what is found of them. Ids met in links are in ``found.ids``."""
    numbers: dict[str, Any] = {}
    findings: list[Finding] = []
    for kind, column, columns in texts_of(found.files):
        try:
            columns.demand(column)
            numbers[kind] = _table(columns, column, found.ids.get(kind))
        except (DataError, pa.ArrowException) as e:
            findings.append(Finding(FAULT, "table", columns.name, str(e).splitlines()[0], "correct what it names"))
            continue
        findings += _findings(kind, columns.name, numbers[kind])
    for kind in ("item", "bundle"):
        if kind in found.ids and TABLES[kind][0] not in found.files:
            remedy = f"methods that read text need {TABLES[kind][0]}.parquet, one row each"
            findings.append(Finding(NOTE, "text", kind, f"no table of {kind}s", remedy))
    return numbers, findings


def _table(columns: Columns, column: str, met: pa.Array | None) -> dict[str, Any]:
    ids = plain(columns.column(column)).cast(pa.large_string())
    met = pa.array([], pa.large_string()) if met is None else met
    texts = {name: text for name in columns.schema.names if name not in (column, *NO_TEXT) and (text := _text(columns, name))}
    filled = {name: pc.greater(pc.utf8_length(text), 0).to_numpy(zero_copy_only=False) for name, text in texts.items()}
    some = np.any(list(filled.values()), axis=0) if texts else np.zeros(len(ids), bool)
    whole = pc.binary_join_element_wise(*texts.values(), pa.scalar("\x1f", pa.large_string())) if texts else None
    with_text = whole.filter(pa.array(some)) if whole is not None else None
    return {
        "file": columns.name,
        "rows": len(ids),
        "repeated_ids": len(ids) - len(ids.unique()),
        "without_links": int(len(ids) - pc.sum(pc.is_in(ids, value_set=met)).as_py()) if len(ids) else 0,
        "links_without_row": int(len(met) - (pc.sum(pc.is_in(met, value_set=ids.combine_chunks())).as_py() or 0)),
        "coverage": float(some.mean()) if len(some) else 0.0,
        "columns": {
            name: {
                "coverage": float(filled[name].mean()) if len(ids) else 0.0,
                "median_characters": _median(text, filled[name]),
            }
            for name, text in texts.items()
        },
        "same_text": 0 if with_text is None else int(len(with_text) - len(with_text.unique())),
    }


def _text(columns: Columns, name: str) -> pa.ChunkedArray | None:
    """A column of text, trimmed, null as empty; lists of texts joined; None where it holds something else."""
    data = plain(columns.column(name))
    if pa.types.is_list(data.type) or pa.types.is_large_list(data.type):
        if not _is_text(data.type.value_type):
            return None
        data = pc.binary_join(data.cast(pa.list_(pa.string())), " ").cast(pa.large_string())
    if not _is_text(data.type):
        return None
    return pc.utf8_trim_whitespace(pc.fill_null(data.cast(pa.large_string()), ""))


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _median(text: pa.ChunkedArray, filled: np.ndarray) -> float:
    lengths = pc.utf8_length(text).to_numpy()[filled]
    return float(np.median(lengths)) if len(lengths) else 0.0


def _findings(kind: str, where: str, numbers: dict[str, Any]) -> Iterator[Finding]:
    if n := numbers["repeated_ids"]:
        yield Finding(FAULT, "table", where, f"{n:,} rows have an id that is there already", "keep one row an id")
    if n := numbers["links_without_row"]:
        yield Finding(WARNING, "text", where, f"{n:,} {kind}s that have links have no row", "add them: their text is empty")
    if n := numbers["without_links"]:
        text = f"{n:,} {kind}s have no link at all"
        remedy = "known by their text alone, and ranked with the others: drop those not wanted"
        yield Finding(NOTE, "cold", where, text, remedy)
    if not numbers["columns"]:
        if kind != "user":
            yield Finding(NOTE, "text", where, "no column of text", f"methods that read text need one: the {kind}'s title, ...")
        return
    if numbers["coverage"] < 0.95 and kind != "user":
        text = f"{1 - numbers['coverage']:.1%} of {kind}s have no text in any column"
        yield Finding(WARNING, "text", where, text, "fill them in; what is known by text alone cannot be ranked without")
    if (n := numbers["same_text"]) and kind != "user":
        level = WARNING if n > 0.01 * numbers["rows"] else NOTE
        yield Finding(level, "duplicates", where, f"{n:,} {kind}s have the same text as another", "merge them if they are one")

"""Data sets that take away what a method claims to use: what it still gains, it gains from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from hybridrec.data.batches import generator
from hybridrec.data.dataset import Feature
from hybridrec.errors import DataError

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


def shuffled_text(data: Dataset, seed: int = 0) -> Dataset:
    """``data`` with the texts and features of the ranked items dealt out anew among them: the control of text methods.

    Ids, links and parts stay, so that a method trained on this is judged on ``data`` itself.
    Raises DataError where items have neither a table beyond their ids nor features.
    """
    ids, table, features = data.ids[data.target], data.tables.get(data.target), data.features.get(data.target, {})
    order = torch.randperm(len(ids), generator=generator("cpu", seed, len(ids)))
    told = [] if table is None else [c for c in table.column_names if table[c].to_pylist() != ids.values.tolist()]
    if not told and not features:
        raise DataError(f"data set {data.name!r} has no text or features of {data.target}s to shuffle")
    if table is not None:
        for column in told:
            table = table.set_column(table.column_names.index(column), column, table[column].take(order.numpy()))
    moved = {name: Feature(f.values[order], f.known[order]) for name, f in features.items()}
    tables = data.tables if table is None else {**data.tables, data.target: table}
    return replace(data, tables=tables, features={**data.features, data.target: moved} if moved else data.features)

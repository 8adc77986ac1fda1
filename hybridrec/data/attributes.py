"""What items are said to be: categories, genres, brands, read from their table."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Histories
from hybridrec.errors import DataError

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


class Attributes(nn.Module):
    """Which attributes each item has, numbered from the most frequent on; those beyond the first ``most`` are left out.

    ``column`` of the items' table holds lists, or text that is cut at ``separator``. Built on data without a row it is empty.
    Shapes: ``offset`` (I + 1,), ``attribute`` (n,) in 0 .. ``count`` - 1, ``odds`` (``count``,), the log-odds that an item
    has each. Raises DataError where there is no such column.
    """

    offset: Tensor
    attribute: Tensor
    odds: Tensor

    def __init__(self, data: Dataset, column: str, separator: str, most: int) -> None:
        super().__init__()
        cells = attributes_of(data, column, separator) if len(data.train) else [[]] * data.sides["item"]
        frequency = Counter(name for cell in cells for name in cell)
        # Of equal frequency, the first by name: the numbers do not depend on the order of the table.
        names = sorted(frequency, key=lambda name: (-frequency[name], name))[:most]
        number = {name: i for i, name in enumerate(names)}
        lists = Histories.lists([[number[name] for name in cell if name in number] for cell in cells])
        self.count = len(names)
        self.register_buffer("offset", lists.offset, persistent=False)
        self.register_buffer("attribute", lists.item, persistent=False)
        share = (torch.bincount(lists.item, minlength=self.count) + 0.5) / (len(cells) + 1)
        self.register_buffer("odds", share.logit(), persistent=False)

    def of(self, items: Tensor) -> Histories:
        """The attributes of ``items`` (B,), one row each."""
        return Histories(self.offset, self.attribute).take(items)


def attributes_of(data: Dataset, column: str, separator: str = ",") -> list[list[str]]:
    """The distinct attributes of each item, in the order of positions: a cell's list, or its text cut at ``separator``.

    Raises DataError where there is no such column, or nothing in it.
    """
    if data.target not in data.tables:
        raise DataError(
            f"data set {data.name!r} has no table of {data.target}s (it has {sorted(data.tables)}), so nothing says what they "
            f"are; add {data.target}s.parquet with a column {column!r}, or do without attributes"
        )
    table = data.tables[data.target]
    if column not in table.column_names:
        raise DataError(
            f"data set {data.name!r}: its table of {data.target}s has no column {column!r} (it has "
            f"{', '.join(table.column_names)}); name one of them, or do without attributes"
        )
    cells = [list(dict.fromkeys(_names(cell, separator))) for cell in table[column].to_pylist()]
    if not any(cells):
        raise DataError(f"data set {data.name!r}: column {column!r} of its {data.target}s is empty; do without attributes")
    return cells


def _names(cell: Any, separator: str) -> list[str]:
    if cell is None:
        return []
    parts = cell if isinstance(cell, list) else str(cell).split(separator)
    return [name for part in parts if part is not None and (name := str(part).strip())]

"""Factors of items: numbers that items share, from a column of their table or from how often they were chosen."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hybridrec.errors import DataError

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


def column(data: Dataset, name: str, values: int) -> Tensor:
    """What column ``name`` of the items' table says of each, as a number below ``values``: (I,) int64.

    The most frequent values have numbers of their own, from 0 on; all others, and a missing one, share the last.
    Raises DataError where the table has no such column.
    """
    table = data.tables.get(data.target)
    if table is None or name not in table.column_names:
        found = [] if table is None else table.column_names
        raise DataError(f"data set {data.name!r} has no column {name!r} of {data.target}s (it has {found}); name one of them")
    told = [None if value in (None, "", []) else str(value) for value in table[name].to_pylist()]
    frequent = Counter(value for value in told if value is not None).most_common(values - 1)
    number = {value: place for place, (value, _) in enumerate(frequent)}
    return torch.tensor([values - 1 if value is None else number.get(value, values - 1) for value in told])


def popularity(data: Dataset, bands: int) -> Tensor:
    """Which band each item's count of training rows is in, of ``bands`` that hold as many items each: (I,) int64.

    0 is the least chosen. Items of one count share the band of the middle one of them.
    """
    count = torch.bincount(data.train.index[1], minlength=data.counts[data.target])
    _, own, many = count.unique(return_inverse=True, return_counts=True)
    middle = many.cumsum(0) - many // 2 - 1  # the place of a level's middle item in the order of counts
    return (middle * bands // max(1, len(count)))[own]

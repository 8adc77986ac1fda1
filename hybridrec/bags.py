"""Sums of bags of rows: what a sparse row times a dense matrix is, by the places of its entries."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hybridrec.errors import DataError


def bags(item: Tensor, table: Tensor, offset: Tensor, weight: Tensor | None = None, mode: str = "sum") -> Tensor:
    """``sum_k weight_k table[item_k]`` over the entries k of every row, or their mean: (B, D).

    Shapes: ``item`` (n,), ``table`` (M, D), ``offset`` (B + 1,), where the rows begin and the last ends, ``weight`` (n,).
    Raises DataError for an item that the table has not: on a CPU torch's own kernel reads past the end instead.
    """
    if item.device.type == "cpu" and len(item):
        low, high = (int(x) for x in item.aminmax())
        if low < 0 or high >= len(table):
            raise DataError(
                f"item {low if low < 0 else high} of a history is not among the {len(table)} that there are weights for"
            )
    return F.embedding_bag(item, table, offset, mode=mode, per_sample_weights=weight, include_last_offset=True)


def check_bags(item: Tensor, offset: Tensor, rows: int, among: int) -> None:
    """Raise DataError unless ``offset`` cuts ``item`` into so many rows, of numbers in [0, ``among``)."""
    whole = not (item.is_floating_point() or offset.is_floating_point()) and item.dim() == offset.dim() == 1
    whole = whole and len(offset) == rows + 1 and int(offset[0]) == 0 and int(offset[-1]) == len(item)
    if not (whole and bool((offset[1:] >= offset[:-1]).all())):
        raise DataError(f"its {len(item)} entries are not cut into {rows} rows")
    if len(item) and not 0 <= int(item.min()) <= int(item.max()) < among:
        raise DataError(f"an entry is not among {among}")

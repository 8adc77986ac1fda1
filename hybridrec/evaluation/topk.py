"""Exact top-k under one total order: higher score first, then lower index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hybridrec.data.batches import Histories

TIES_AT_ONCE = 1 << 22  # scores of tied rows that are looked through together


def top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` best of each row, best first, equal scores in order of index: values (B, k) and columns (B, k).

    ``torch.topk`` finds the values but any of the tied columns; columns are put right in the rows where it matters: where
    the best score left out equals the worst one taken. NaN counts as the highest score, so that it can be seen.
    """
    columns = scores.shape[1]
    k = min(k, columns)
    values, index = scores.topk(min(k + 1, columns))
    if columns > k:
        edge = values[:, k - 1]
        tied = (values[:, k] == edge) & (edge > -torch.inf) & ~values[:, 0].isnan()
        values, index = values[:, :k].contiguous(), index[:, :k].contiguous()
        for rows in tied.nonzero().flatten().split(max(1, TIES_AT_ONCE // columns)):
            index[rows] = _lowest(scores[rows], edge[rows].unsqueeze(1), k)
            values[rows] = scores[rows.unsqueeze(1), index[rows]]
    index, by = index.sort(1)
    values, by = values.gather(1, by).sort(dim=1, descending=True, stable=True)
    return values, index.gather(1, by)


def _lowest(scores: Tensor, edge: Tensor, k: int) -> Tensor:
    """Columns (B, k) of all scores above ``edge`` (B, 1) and of the first ones equal to it."""
    above, equal = scores > edge, scores == edge
    room = k - above.sum(1, keepdim=True)
    return (above | (equal & (equal.cumsum(1, dtype=torch.int32) <= room))).nonzero()[:, 1].view(-1, k)


def merge(values: Tensor, index: Tensor, more: Tensor, at: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` best of two sorted lists a row, where every index of the second is above every index of the first."""
    values, by = torch.cat([values, more], 1).sort(dim=1, descending=True, stable=True)
    return values[:, :k], torch.cat([index, at], 1).gather(1, by[:, :k])


def best(blocks: Iterator[tuple[int, Tensor]], seen: Histories, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` best unmasked columns over blocks of scores that follow one another, which are overwritten: (B, k) twice."""
    item, order = seen.item.sort()
    row = seen.rows[order]
    kept: tuple[Tensor, Tensor] | None = None
    for start, scores in blocks:
        low, high = torch.searchsorted(item, item.new_tensor([start, start + scores.shape[1]])).tolist()
        scores[row[low:high], item[low:high] - start] = -torch.inf
        values, index = top(scores, k)
        index = index + start
        kept = (values, index) if kept is None else merge(*kept, values, index, k)
    assert kept is not None
    return kept

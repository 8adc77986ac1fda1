"""Data-based views of histories that know which items go together: an item replaced by, or preceded by, one like it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.data.batches import Histories
from hybridrec.views.sequence import share, some

ITEMS_AT_ONCE = 2048  # items whose similarities are held together


def correlated_items(history: Histories, items: int, k: int = 1) -> Tensor:
    """The ``k`` items most often chosen together with each: (items, k), -1 where there are no more.

    ``sim(i, j) = sum over users of both 1 / log(1 + |history|) / sqrt(|users of i| |users of j|)``: item-based
    collaborative filtering with inverse user frequency, as CoSeRec has it (Liu et al. 2021, arXiv 2108.06479, eq. 3).
    Ties: the lower position. Exact; a block of items at a time.
    """
    import numpy as np
    from scipy.sparse import csr_matrix

    first = history.once(items).cpu()  # a repeated item counts once
    row, item = history.rows.cpu()[first].numpy(), history.item.cpu()[first].numpy()
    shape = (len(history.offset) - 1, items)
    idf = 1 / np.log1p(np.maximum(np.bincount(row, minlength=shape[0]), 1))
    root = np.sqrt(np.maximum(np.bincount(item, minlength=items), 1))
    chosen, weighed = csr_matrix((np.ones(len(row)), (row, item)), shape), csr_matrix((idf[row], (row, item)), shape)
    best = torch.full((items, k), -1)
    for start in range(0, items, ITEMS_AT_ONCE):
        shared = (chosen[:, start : start + ITEMS_AT_ONCE].T @ weighed).tocoo()  # (block, I)
        other = shared.col != shared.row + start
        one, two, value = shared.row[other], shared.col[other], shared.data[other] / root[shared.col[other]]
        order = np.lexsort((two, -value, one))
        place = np.arange(len(order)) - np.searchsorted(one[order], one[order])
        kept = order[place < k]
        best[start + one[kept], place[place < k]] = torch.from_numpy(two[kept]).long()
    return best.to(history.item.device)


class _Correlated(nn.Module):
    """Items beside those they go with: ``near`` (I, k), -1 where there are no more."""

    near: Tensor

    def __init__(self, near: Tensor, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio
        self.register_buffer("near", near, persistent=False)

    def draw(self, item: Tensor, random: torch.Generator | None) -> Tensor:
        """One of the items that each of ``item`` (n,) goes with, uniformly: (n,), -1 where it goes with none."""
        near = self.near[item]
        column = torch.rand(len(item), generator=random, device=item.device) * (near >= 0).sum(1)
        return near.gather(1, column.long().unsqueeze(1)).squeeze(1)


class Substitute(_Correlated):
    """``floor(ratio * length)`` entries of each row replaced by an item they go with: CoSeRec, arXiv 2108.06479, section 3.2.

    ``near`` is what ``correlated_items`` found; an item that goes with none stays.
    """

    def __init__(self, near: Tensor, ratio: float = 0.3) -> None:
        super().__init__(near, ratio)

    def forward(self, x: Histories, random: torch.Generator | None = None) -> Histories:
        """The histories, as long as they were."""
        drawn = self.draw(x.item, random)
        replaced = some(x, share(x, self.ratio), random) & (drawn >= 0)
        return x._replace(item=torch.where(replaced, drawn, x.item))


class Insert(_Correlated):
    """Before ``floor(ratio * length)`` entries of each row an item they go with: CoSeRec, arXiv 2108.06479, section 3.2.

    ``near`` is what ``correlated_items`` found; before an item that goes with none nothing is inserted. What is inserted
    takes the time of the entry behind it. Rows grow: cut them to the encoder's window with ``data.sequences.last``.
    """

    def __init__(self, near: Tensor, ratio: float = 0.3) -> None:
        super().__init__(near, ratio)

    def forward(self, x: Histories, random: torch.Generator | None = None) -> Histories:
        """The histories, each at most ``1 + ratio`` times as long."""
        drawn = self.draw(x.item, random)
        doubled = some(x, share(x, self.ratio), random) & (drawn >= 0)
        copies = 1 + doubled.long()
        entry = torch.repeat_interleave(torch.arange(len(x.item), device=x.item.device), copies)
        item = x.item[entry]
        first = copies.cumsum(0) - copies  # where the copies of each entry begin
        item[first[doubled]] = drawn[doubled]
        length = torch.zeros_like(x.lengths).index_add_(0, x.rows, copies)
        return Histories(F.pad(length.cumsum(0), (1, 0)), item, None if x.time is None else x.time[entry])

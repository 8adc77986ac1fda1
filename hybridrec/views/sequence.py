"""Data-based views of histories: cropped, masked, reordered. Every row at once, and seeded by a generator if one is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from hybridrec.data.batches import Histories
from hybridrec.data.sequences import kept, places
from hybridrec.saving import configured


class HistoryView(Protocol):
    """A corruption of histories: as many rows, each with at least one entry where it had one."""

    def __call__(self, x: Histories, random: torch.Generator | None = None) -> Histories: ...


def shuffled(rows: Tensor, key: Tensor) -> Tensor:
    """The entries (n,) in the order of ``key`` (n,) within their row; ``rows`` (n,) ascending."""
    order = key.argsort(stable=True)
    return order[rows[order].argsort(stable=True)]


def some(history: Histories, count: Tensor, random: torch.Generator | None = None) -> Tensor:
    """True at ``count`` (B,) entries of each row, drawn uniformly without replacement: (n,)."""
    draw = torch.rand(len(history.item), generator=random, device=history.item.device)
    order = shuffled(history.rows, draw)
    # What stands at place p of its shuffled row is the row's p-th draw.
    return torch.empty_like(order, dtype=torch.bool).index_put_((order,), places(history) < count[history.rows])


def segment(history: Histories, length: Tensor, random: torch.Generator | None = None) -> Tensor:
    """True in one run of ``length`` (B,) entries of each row, its start drawn uniformly: (n,)."""
    draw = torch.rand(len(length), generator=random, device=length.device)
    start = (draw * (history.lengths - length + 1)).long()
    behind = places(history) - start[history.rows]
    return (behind >= 0) & (behind < length[history.rows])


def share(history: Histories, ratio: float) -> Tensor:
    """``floor(ratio * length)`` of each row: (B,) int64."""
    return (history.lengths * ratio + 1e-6).long()


@configured
class Crop:
    """A run of ``floor(ratio * length)`` entries, at least one: CL4SRec, Xie et al. 2020, arXiv 2010.14395, eq. 7."""

    def __init__(self, ratio: float = 0.6) -> None:
        self.ratio = ratio

    def __call__(self, x: Histories, random: torch.Generator | None = None) -> Histories:
        length = torch.minimum(share(x, self.ratio).clamp(min=1), x.lengths)
        return kept(x, segment(x, length, random))


@configured
class ItemMask:
    """``floor(ratio * length)`` entries of each row replaced by the item ``mask``: CL4SRec, arXiv 2010.14395, eq. 8."""

    def __init__(self, mask: int, ratio: float = 0.3) -> None:
        self.mask, self.ratio = mask, ratio

    def __call__(self, x: Histories, random: torch.Generator | None = None) -> Histories:
        return x._replace(item=x.item.masked_fill(some(x, share(x, self.ratio), random), self.mask))


@configured
class Reorder:
    """A run of ``floor(ratio * length)`` entries in random order: CL4SRec, arXiv 2010.14395, eq. 9. Times stay in place."""

    def __init__(self, ratio: float = 0.6) -> None:
        self.ratio = ratio

    def __call__(self, x: Histories, random: torch.Generator | None = None) -> Histories:
        run = segment(x, share(x, self.ratio), random)
        draw = torch.rand(len(x.item), generator=random, device=x.item.device)
        # Entries of the run trade places among themselves: sorted by their draws, they fill the run from its start.
        run_rows = x.rows[run]
        entries = torch.arange(len(x.item), device=x.item.device)
        entries[run] = entries[run][shuffled(run_rows, draw[run])]
        return x._replace(item=x.item[entries])


@configured
class OneOf:
    """Each row under one of ``views``, drawn uniformly for every row: CL4SRec, arXiv 2010.14395, section 3.3."""

    def __init__(self, views: Sequence[HistoryView]) -> None:
        self.views = list(views)

    def __call__(self, x: Histories, random: torch.Generator | None = None) -> Histories:
        rows = len(x.offset) - 1
        which = torch.randint(len(self.views), (rows,), generator=random, device=x.item.device)
        mine = [(which == k).nonzero().flatten() for k in range(len(self.views))]
        parts = [view(x.take(some), random) for view, some in zip(self.views, mine, strict=True)]
        return stacked(parts).take(torch.cat(mine).argsort())


def stacked(parts: Sequence[Histories]) -> Histories:
    """Histories one after the other, with times where all have them."""
    length = torch.cat([p.lengths for p in parts])
    times = [p.time for p in parts if p.time is not None]
    time = torch.cat(times) if len(times) == len(parts) else None
    offset = torch.cat([length.new_zeros(1), length.cumsum(0)])
    return Histories(offset, torch.cat([p.item for p in parts]), time)

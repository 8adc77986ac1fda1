"""Random numbers of the whole batch, of which each process takes those of its own rows.

A step's batch is dealt out to processes row by row: row b of process r is row ``b * world + r``. What is drawn for whole graphs
or tables is the same in all processes, since they start from the same seed; what is drawn for rows or their entries must be
drawn for the whole batch, or several processes would not follow one. ``fit`` says what the batch is; elsewhere, and in one
process, nothing but the plain draw happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from hybridrec.data.batches import Histories


class Share(NamedTuple):
    """Process ``rank`` of ``world``, and the ``rows`` of the batch they share."""

    rank: int
    world: int
    rows: int


_share: ContextVar[Share | None] = ContextVar("share", default=None)


@contextmanager
def sharing(rank: int, world: int, rows: int) -> Iterator[None]:
    """While entered, by every process alike, draws for rows are those of a batch of ``rows`` rows."""
    token = _share.set(Share(rank, world, rows) if world > 1 else None)
    try:
        yield
    finally:
        _share.reset(token)


def of_rows(draw: Callable[[int], Tensor], rows: int) -> Tensor:
    """``draw(rows)``, values (rows, ...) for the rows of a batch; of several processes each has its own rows of one draw.

    Raises ValueError where the batch has another number of rows: what is drawn is then not for its rows.
    """
    share = _share.get()
    if share is None:
        return draw(rows)
    rank, world, whole = share
    mine = draw(whole)[rank::world]
    if len(mine) != rows:
        raise ValueError(f"drawn for {rows} rows, but {len(mine)} of the batch are this process's")
    return mine


def normal_rows(like: Tensor) -> Tensor:
    """Standard normal numbers of the shape and kind of ``like`` (B, ...), drawn for the rows of a batch as ``of_rows`` does."""
    return of_rows(lambda rows: torch.randn(rows, *like.shape[1:], dtype=like.dtype, device=like.device), len(like))


def of_entries(draw: Callable[[int], Tensor], histories: Histories) -> Tensor:
    """``draw(n)``, values (n, ...) for the n entries of a batch's histories, in the same way."""
    share = _share.get()
    if share is None:
        return draw(len(histories.item))
    rank, world, rows = share
    length = torch.zeros(-(-rows // world), dtype=torch.int64, device=histories.item.device)
    length[: len(histories.lengths)] = histories.lengths
    found = [torch.empty_like(length) for _ in range(world)]
    dist.all_gather(found, length)
    lengths = torch.stack(found, 1).flatten()[:rows]
    offset = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    total = int(offset[-1])
    place = Histories(offset, torch.arange(total, device=offset.device))
    return draw(total)[place.take(torch.arange(rank, rows, world, device=offset.device)).item]


def whole(x: Tensor) -> Tensor:
    """``x`` (B, ...) of all rows of the batch, in the order that one process would have them; without gradient."""
    share = _share.get()
    if share is None:
        return x
    _, world, rows = share
    padded = x.new_zeros(-(-rows // world), *x.shape[1:])
    padded[: len(x)] = x.detach()
    found = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(found, padded)
    return torch.stack(found, 1).flatten(0, 1)[:rows]

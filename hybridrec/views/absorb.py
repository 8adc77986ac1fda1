"""Rows with entries taken out: the corruption of discrete diffusion with an absorbing state."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridrec.data.batches import Histories
from hybridrec.saving import configured


class Absorbed(NamedTuple):
    """Entries taken out of rows, each with what is left of its row.

    Shapes: ``target`` (m,) the items taken out; of their contexts ``item`` (n,), ``offset`` (m + 1,), and how many steps
    before its target each entry lies, ``back`` (n,), 1 for the newest.
    """

    target: Tensor
    item: Tensor
    offset: Tensor
    back: Tensor


@configured
class Newest:
    """Every entry of a row as a target, with the ``window`` before it: it and all after it are absorbed.

    The times of an absorbing diffusion (Austin et al. 2021, arXiv 2107.03006, section 3.1) that takes entries out from the
    newest on; an autoregressive diffusion in one order (Hoogeboom et al. 2022, arXiv 2110.02037). For rows in order of time.
    Of a long row ``targets`` entries are drawn. An item that is the target is not read.
    """

    def __init__(self, window: int = 20, targets: int = 50) -> None:
        self.window, self.targets = window, targets

    def __call__(self, history: Histories) -> Absorbed:
        """Targets and what is left of their rows."""
        place = torch.arange(len(history.item), device=history.item.device) - history.offset[:-1][history.rows]
        at = _drawn(history, self.targets, place > 0)
        length = place[at].clamp(max=self.window)
        row = torch.repeat_interleave(torch.arange(len(at), device=at.device), length)
        back = length.cumsum(0)[row] - torch.arange(len(row), device=at.device)  # window .. 1, oldest first
        return _without(history.item[at], history.item[at[row] - back], row, back)

    def whole(self, history: Histories) -> Absorbed:
        """Rows as they are asked: what comes next is the target (none is named)."""
        back = history.offset[1:][history.rows] - torch.arange(len(history.item), device=history.item.device)
        recent = back <= self.window
        offset = F.pad(torch.bincount(history.rows[recent], minlength=len(history.lengths)).cumsum(0), (1, 0))
        return Absorbed(history.item[:0], history.item[recent], offset, back[recent])


@configured
class Anywhere:
    """Every entry of a row as a target, with ``window`` others of its row, drawn at random: it alone is absorbed.

    An absorbing diffusion in any order, for rows without time, or where what is asked did not come last. Every entry that
    is left lies one step ``back``. Of a long row ``targets`` entries are drawn. An item that is the target is not read.
    """

    def __init__(self, window: int = 50, targets: int = 50) -> None:
        self.window, self.targets = window, targets

    def __call__(self, history: Histories) -> Absorbed:
        """Targets and what is left of their rows."""
        n, device = len(history.item), history.item.device
        item = history.item[(history.rows + torch.rand(n, device=device, dtype=torch.float64)).argsort()]  # rows shuffled
        first, size = history.offset[:-1][history.rows], history.lengths[history.rows]
        at = _drawn(history, self.targets, size > 1)
        length = (size[at] - 1).clamp(max=self.window)
        row = torch.repeat_interleave(torch.arange(len(at), device=device), length)
        step = torch.arange(len(row), device=device) - (length.cumsum(0) - length)[row] + 1  # 1 .. window
        other = first[at[row]] + (at[row] - first[at[row]] + step) % size[at[row]]
        return _without(item[at], item[other], row, torch.ones_like(row))

    def whole(self, history: Histories) -> Absorbed:
        """Rows as they are asked: all that is there is read."""
        return Absorbed(history.item[:0], history.item, history.offset, torch.ones_like(history.item))


def _drawn(history: Histories, targets: int, fit: Tensor) -> Tensor:
    """Entries that are ``fit`` (n,) to be targets, some ``targets`` of a long row."""
    chance = targets / (history.lengths - 1).clamp(min=1)
    return (fit & (torch.rand(len(fit), device=fit.device) < chance[history.rows])).nonzero().flatten()


def _without(target: Tensor, item: Tensor, row: Tensor, back: Tensor) -> Absorbed:
    """Contexts without the item that is their target."""
    kept = item != target[row]
    offset = F.pad(torch.bincount(row[kept], minlength=len(target)).cumsum(0), (1, 0))
    return Absorbed(target, item[kept], offset, back[kept])

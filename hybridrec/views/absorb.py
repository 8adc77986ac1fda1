"""Rows with entries taken out: the corruption of discrete diffusion with an absorbing state."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridrec.data.batches import Histories


class Absorbed(NamedTuple):
    """Entries taken out of rows, each with what is left of its row.

    Shapes: ``target`` (m,) the items taken out; of their contexts ``item`` (n,), ``offset`` (m + 1,), and how many steps
    before its target each entry lies, ``back`` (n,), 1 for the newest.
    """

    target: Tensor
    item: Tensor
    offset: Tensor
    back: Tensor


def absorb_newest(history: Histories, window: int, targets: int) -> Absorbed:
    """Every entry of a row as a target, with the ``window`` before it: it and all after it are absorbed.

    The times of an absorbing diffusion (Austin et al. 2021, arXiv 2107.03006, section 3.1) that takes entries out from the
    newest on, all at once; an autoregressive diffusion in one order (Hoogeboom et al. 2022, arXiv 2110.02037). Of a long
    row ``targets`` entries are drawn. An item that is the target is not read.
    """
    place = torch.arange(len(history.item), device=history.item.device) - history.offset[:-1][history.rows]
    chance = targets / (history.lengths - 1).clamp(min=1)
    at = ((place > 0) & (torch.rand(len(place), device=place.device) < chance[history.rows])).nonzero().flatten()
    length = place[at].clamp(max=window)
    row = torch.repeat_interleave(torch.arange(len(at), device=at.device), length)
    back = length.cumsum(0)[row] - torch.arange(len(row), device=at.device)  # window .. 1, oldest first
    item = history.item[at[row] - back]
    kept = item != history.item[at][row]
    offset = torch.cat([length.new_zeros(1), torch.bincount(row[kept], minlength=len(at)).cumsum(0)])
    return Absorbed(history.item[at], item[kept], offset, back[kept])


def newest(history: Histories, window: int) -> Absorbed:
    """Rows as they are asked: nothing is taken out, and what comes next is the target (none is named)."""
    back = history.offset[1:][history.rows] - torch.arange(len(history.item), device=history.item.device)
    recent = back <= window
    offset = F.pad(torch.bincount(history.rows[recent], minlength=len(history.lengths)).cumsum(0), (1, 0))
    return Absorbed(history.item[:0], history.item[recent], offset, back[recent])

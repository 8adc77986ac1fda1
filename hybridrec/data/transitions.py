"""Which items follow one another in histories."""

from __future__ import annotations

import torch
from torch import Tensor

from hybridrec.data.batches import Histories


def transitions(history: Histories, distance: int = 1) -> Tensor:
    """Every two items of a row that stand at most ``distance`` entries apart, the earlier first: links (2, n), with repeats.

    What the item graph of MAERec is made of: Ye, Xia & Huang 2023, arXiv 2305.04619.
    """
    rows, item = history.rows, history.item
    found = [item.new_empty(2, 0)]
    for apart in range(1, min(distance, max(0, len(item) - 1)) + 1):
        same = rows[apart:] == rows[:-apart]
        found.append(torch.stack([item[:-apart][same], item[apart:][same]]))
    return torch.cat(found, dim=1)

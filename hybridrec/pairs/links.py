"""Pairs of nodes: links that are there, each beside links that share one of its ends."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class LinkPairs(NamedTuple):
    """Links (n, 1 + K) from ``one`` to ``two``, the true one first, and which of the others are false: ``false`` (n, K)."""

    one: Tensor
    two: Tensor
    false: Tensor


def against_drawn(links: Tensor, present: Tensor, nodes: int, count: int) -> LinkPairs:
    """Each of ``links`` (2, n) beside ``count`` K whose second end (half of them) or first end is drawn uniformly.

    ``present`` holds the sorted keys ``one * nodes + two`` of all that are linked. What is drawn and linked, or a node to
    itself, is no false link: where a node is linked to all others nothing else could be drawn.
    """
    n, half = links.shape[1], count // 2
    drawn = torch.randint(nodes, (n, count), device=links.device)
    one, two = (end.unsqueeze(1).expand(n, count) for end in links)
    one, two = torch.cat([one[:, :half], drawn[:, half:]], 1), torch.cat([drawn[:, :half], two[:, half:]], 1)
    key = one * nodes + two
    linked = torch.zeros_like(key, dtype=torch.bool)
    if len(present):
        linked = present[torch.searchsorted(present, key).clamp(max=len(present) - 1)] == key
    low, high = links.unsqueeze(2)
    return LinkPairs(torch.cat([low, one], 1), torch.cat([high, two], 1), ~linked & (one != two))

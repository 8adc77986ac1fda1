"""Encoders over graphs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybridrec.graph import Graph


class LightGCN(nn.Module):
    """Neighbours averaged layer by layer, layers averaged: ``mean_k A^k x``.

    He et al. 2020, LightGCN, arXiv 2002.02126, eqs. 3, 4 and 8 (``alpha_k = 1 / (depth + 1)``). ``x`` (N, D) -> (N, D).
    """

    def __init__(self, depth: int = 3) -> None:
        super().__init__()
        self.depth = depth

    def forward(self, graph: Graph, x: Tensor) -> Tensor:
        """Smooth ``x`` (N, D) over ``graph``: (N, D)."""
        total = x
        for _ in range(self.depth):
            x = graph.propagate(x)
            total = total + x
        return torch.div(total, self.depth + 1)

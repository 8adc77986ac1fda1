"""Encoders over hypergraphs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Hypergraph(nn.Module):
    """Nodes gathered into hyperedges and spread back: ``act(H act(H' x))``.

    HCCF, Xia et al. 2022, arXiv 2204.12200, eq. 5, as the authors' PyTorch code simplifies it (no hyperedge-to-hyperedge
    mixing). Shapes: ``incidence`` (N, H), ``x`` (N, D) -> (N, D).
    """

    def __init__(self, slope: float = 0.5) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, incidence: Tensor, x: Tensor) -> Tensor:
        """Messages through the hyperedges: (N, D)."""
        hyperedges = F.leaky_relu(incidence.T @ x, self.slope)  # (H, D)
        return F.leaky_relu(incidence @ hyperedges, self.slope)

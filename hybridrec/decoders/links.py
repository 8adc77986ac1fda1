"""Decoders of links."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class CrossLayerLinks(nn.Module):
    """How likely two nodes are linked, by the products of every layer's vector of one with every layer's of the other.

    MAERec, Ye, Xia & Huang 2023, arXiv 2305.04619: ``MLP(||_ij h_v^i * h_w^j)``, before its sigmoid. ``layers`` is how many
    vectors (N, D) a node has; positions ``one`` and ``two`` of one shape -> scores of that shape.
    """

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Linear(dim * layers**2, dim * layers), nn.ReLU(), nn.Linear(dim * layers, dim), nn.ReLU(), nn.Linear(dim, 1)
        )

    def forward(self, layers: Sequence[Tensor], one: Tensor, two: Tensor) -> Tensor:
        """The scores of the links from ``one`` (...) to ``two`` (...)."""
        x, y = (torch.stack([layer[end] for layer in layers], -2) for end in (one, two))  # (..., L, D)
        return self.mix((x.unsqueeze(-2) * y.unsqueeze(-3)).flatten(-3)).squeeze(-1)

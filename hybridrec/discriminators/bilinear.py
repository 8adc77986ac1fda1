"""Discriminators of mutual information: does this part belong to that whole?"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Bilinear(nn.Module):
    """``z' W c + b``: Velickovic et al. 2019, Deep Graph Infomax, arXiv 1809.10341, eq. 4, before its sigmoid.

    (B, D) and (B, C) or (C,) -> (B,).
    """

    def __init__(self, dim: int, context: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(dim, context or dim)))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor, context: Tensor) -> Tensor:
        """How well they belong together: (B,)."""
        return ((z @ self.weight) * context).sum(-1) + self.bias

"""Decoders to interaction rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class RowDecoder(nn.Module):
    """A perceptron from latent vectors to a score for every item, tanh between: the decoder of MultVAE.

    Liang et al. 2018, arXiv 1802.05814, sec. 2.1. (B, D) -> (B, I); without hidden widths it is one linear layer.
    """

    def __init__(self, dim: int, widths: Sequence[int], items: int) -> None:
        super().__init__()
        sizes = [dim, *widths, items]
        layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
        for layer in layers:
            nn.init.xavier_normal_(layer.weight)
        self.layers = nn.ModuleList(layers)

    def forward(self, z: Tensor) -> Tensor:
        """Scores of all items: (B, I)."""
        for layer in self.layers[:-1]:
            z = torch.tanh(layer(z))
        return self.layers[-1](z)

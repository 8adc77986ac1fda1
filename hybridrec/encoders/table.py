"""Free embeddings of nodes."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import torch
from torch import Tensor, nn


class NodeTable(nn.Module):
    """One learned vector a node, kinds of entity stacked in the order of ``counts``: ``weight`` (N, D), Xavier uniform."""

    def __init__(self, counts: Mapping[str, int], dim: int) -> None:
        super().__init__()
        self.counts = dict(counts)
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(sum(self.counts.values()), dim)))

    def forward(self) -> Tensor:
        """All embeddings: (N, D)."""
        return self.weight

    def split(self, x: Tensor) -> SimpleNamespace:
        """Rows ``x`` (N, ...) by kind of entity, as attributes: ``.user`` (U, ...), ``.item`` (I, ...)."""
        return SimpleNamespace(**dict(zip(self.counts, x.split(list(self.counts.values())), strict=True)))

"""Popularity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Query
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class Popularity(nn.Module):
    """Every user is offered what most users chose: the baseline that knows no user.

    Shapes: ``count`` (I,) training rows of each item.
    """

    count: Tensor

    def __init__(self, data: Dataset) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(data.sides["item"]))

    def solve(self, data: Dataset) -> None:
        """Count the training rows."""
        self.count = torch.bincount(data.train.index[1], minlength=len(self.count)).float().to(self.count.device)

    def catalogue(self) -> Tensor:
        """Item vectors (I, 1)."""
        return self.count.unsqueeze(1)

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, 1), all alike."""
        return self.count.new_ones(len(query.user), 1)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

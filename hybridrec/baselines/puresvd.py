"""PureSVD."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Query
from hybridrec.linear import interactions, right_vectors
from hybridrec.rows import Recency, multiply, timed
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class PureSVD(nn.Module):
    """The history projected on the leading right singular vectors of the interactions: ``x V V'``.

    Cremonesi, Koren & Turrin 2010, Performance of recommender algorithms on top-N recommendation tasks, RecSys.

    ``dim`` is D; ``recency`` weights the history. Shapes: ``vectors`` (I, D).
    """

    vectors: Tensor

    def __init__(self, data: Dataset, dim: int = 64, recency: Recency | None = None) -> None:
        super().__init__()
        self.dim, self.recency = dim, recency
        self.register_buffer("vectors", torch.empty(0))

    def solve(self, data: Dataset) -> None:
        """Find the singular vectors. Raises DataError where ``dim`` is too large, and for recency without time."""
        timed(data, self.recency)
        self.vectors = right_vectors(interactions(data), self.dim).to(self.vectors.device)

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self.vectors

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D), from histories alone."""
        return multiply(query.history, self.vectors, self.recency)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

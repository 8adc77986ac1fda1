"""EASE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Query
from hybridrec.linear import gram, interactions, invert_, regularise_, without_self_
from hybridrec.rows import Recency, multiply, timed
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class EASE(nn.Module):
    """Every item predicted from all others by ridge regression, in closed form.

    Steck 2019, Embarrassingly shallow autoencoders for sparse data, arXiv 1905.03375: minimises
    ``|X - XB|^2 + ridge |B|^2`` with ``diag B = 0``.

    ``recency`` weights the row that is scored; the rows that are learned from stay 0 and 1.
    Shapes: ``weights`` (I, I), held once. ``solve`` raises CatalogueTooLarge, and DataError for recency without time.
    """

    weights: Tensor

    def __init__(self, data: Dataset, ridge: float = 500.0, recency: Recency | None = None) -> None:
        super().__init__()
        self.ridge, self.recency = ridge, recency
        self.register_buffer("weights", torch.empty(0))

    def solve(self, data: Dataset) -> None:
        """Invert the regularised Gram matrix of the training rows."""
        timed(data, self.recency)
        g = regularise_(gram(interactions(data), self.weights.device), self.ridge)
        self.weights = without_self_(invert_(g)).to(self.weights.device)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return multiply(query.history, self.weights, self.recency)

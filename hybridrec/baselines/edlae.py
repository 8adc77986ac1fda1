"""EDLAE."""

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
class EDLAE(nn.Module):
    """The linear denoising autoencoder: EASE whose ridge grows with an item's popularity.

    Steck 2020, Autoencoders that don't overfit towards the identity, NeurIPS 33, at full rank: dropping each
    entry of the input with probability ``dropout`` p and forbidding an item to predict itself is, in expectation, a
    ridge of ``ridge + p / (1 - p) |x_i|^2`` on item i.

    ``recency`` weights the row that is scored; the rows that are learned from stay 0 and 1.
    Shapes: ``weights`` (I, I), held once. ``solve`` raises CatalogueTooLarge, and DataError for recency without time.
    """

    weights: Tensor

    def __init__(self, data: Dataset, ridge: float = 300.0, dropout: float = 0.5, recency: Recency | None = None) -> None:
        super().__init__()
        self.ridge, self.dropout, self.recency = ridge, dropout, recency
        self.register_buffer("weights", torch.empty(0))

    def solve(self, data: Dataset) -> None:
        """Invert the regularised Gram matrix of the training rows."""
        timed(data, self.recency)
        g = regularise_(gram(interactions(data), self.weights.device), self.ridge, self.dropout)
        self.weights = without_self_(invert_(g)).to(self.weights.device)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return multiply(query.history, self.weights, self.recency)

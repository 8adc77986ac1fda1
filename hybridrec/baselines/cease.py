"""EASE with a kernel of texts, or of any other features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Query
from hybridrec.linear import features, gram, interactions, invert_, regularise_, without_self_
from hybridrec.rows import Recency, multiply, timed
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class CEASE(nn.Module):
    """EASE that must predict an item's features as well as its users: they are further rows of the matrix.

    Jeunen, Van Balen & Goethals 2020, Closed-form models for collaborative filtering with side-information, RecSys,
    cEASEr: the Gram matrix is ``X'X + weight F F'``. ``F`` (I, D) holds features of ``modality``, here dense embeddings,
    centred and of unit length, so that ``weight`` reads as the number of users that a likeness of 1 is worth.

    ``dropout`` is EDLAE's: popular items are held back more. ``recency`` weights the row that is scored.
    Shapes: ``weights`` (I, I), held once. ``solve`` raises CatalogueTooLarge, and DataError for a missing modality or for
    recency without time.
    """

    weights: Tensor

    def __init__(
        self,
        data: Dataset,
        ridge: float = 100.0,
        weight: float = 80.0,
        modality: str = "text",
        dropout: float = 0.0,
        recency: Recency | None = None,
    ) -> None:
        super().__init__()
        self.ridge, self.weight, self.modality, self.dropout, self.recency = ridge, weight, modality, dropout, recency
        self.register_buffer("weights", torch.empty(0))

    def solve(self, data: Dataset) -> None:
        """Invert the regularised sum of both Gram matrices."""
        timed(data, self.recency)
        f = features(data, self.modality)
        g = regularise_(gram(interactions(data)), self.ridge, self.dropout)
        g.addmm_(f, f.T, alpha=self.weight)
        self.weights = without_self_(invert_(g)).to(self.weights.device)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return multiply(query.history, self.weights, self.recency)

"""EASE of interactions and EASE of features, added."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Query
from hybridrec.linear import feature_weights, features, gram, interactions, invert_, regularise_, without_self_
from hybridrec.rows import Recency, multiply, timed
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class AddEASE(nn.Module):
    """Two EASE models, of interactions and of item features, mixed: ``(1 - mix) B_X + mix B_F``.

    Jeunen, Van Balen & Goethals 2020, Closed-form models for collaborative filtering with side-information, RecSys,
    Add-EASEr. ``F`` (I, D) holds features of ``modality``, centred and of unit length.

    ``recency`` weights the row that is scored.
    Shapes: ``weights`` (I, I), held once. ``solve`` raises CatalogueTooLarge, and DataError for a missing modality or for
    recency without time.
    """

    weights: Tensor

    def __init__(
        self,
        data: Dataset,
        ridge: float = 100.0,
        feature_ridge: float = 10.0,
        mix: float = 0.2,
        modality: str = "text",
        recency: Recency | None = None,
    ) -> None:
        super().__init__()
        self.ridge, self.feature_ridge, self.mix = ridge, feature_ridge, mix
        self.modality, self.recency = modality, recency
        self.register_buffer("weights", torch.empty(0))

    def solve(self, data: Dataset) -> None:
        """Solve both and add them in place."""
        timed(data, self.recency)
        a, c = feature_weights(features(data, self.modality), self.feature_ridge)
        b = without_self_(invert_(regularise_(gram(interactions(data), self.weights.device), self.ridge)))
        a, c = a.to(b), c.to(b)
        b.mul_(1 - self.mix).addmm_(a, c.T, alpha=self.mix).fill_diagonal_(0)
        self.weights = b.to(self.weights.device)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return multiply(query.history, self.weights, self.recency)

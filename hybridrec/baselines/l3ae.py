"""L3AE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Query
from hybridrec.errors import ArgumentError
from hybridrec.linear import feature_weights, features, gram, interactions, invert_, regularise_
from hybridrec.rows import Recency, multiply, timed
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class L3AE(nn.Module):
    """EASE drawn towards what embedded texts say of the likeness of items.

    Moon, Park & Lee 2025, LLM-enhanced linear autoencoders for recommendation, CIKM, arXiv 2508.13500: first ``S``, the EASE
    of item embeddings ``F`` alone with ``feature_ridge``; then the closed-form minimum of
    ``|X - XB|^2 + ridge |B|^2 + distil |B - S|^2`` with ``diag B = 0``. With ``P = (X'X + ridge + distil)^-1`` it is
    ``B = I + distil P S - P diag(g)``, ``g`` such that the diagonal is zero.

    ``S`` has rank D off its diagonal, so that ``P S`` costs O(I^2 D) and no second matrix (I, I). ``F`` (I, D) holds
    features of ``modality``, centred and of unit length; the authors take them as the language model gives them.
    ``ridge`` may be negative (the authors' best ones are), ``ridge + distil`` not. ``recency`` weights the row scored.
    Shapes: ``weights`` (I, I), held once. ``solve`` raises CatalogueTooLarge, and DataError for a missing modality or for
    recency without time.
    """

    weights: Tensor

    def __init__(
        self,
        data: Dataset,
        ridge: float = 100.0,
        feature_ridge: float = 10.0,
        distil: float = 100.0,
        modality: str = "text",
        recency: Recency | None = None,
    ) -> None:
        super().__init__()
        if ridge + distil <= 0:
            raise ArgumentError(f"ridge + distil must be positive, not {ridge} + {distil}")
        self.ridge, self.feature_ridge, self.distil = ridge, feature_ridge, distil
        self.modality, self.recency = modality, recency
        self.register_buffer("weights", torch.empty(0))

    def solve(self, data: Dataset) -> None:
        """Solve both phases."""
        timed(data, self.recency)
        a, c = feature_weights(features(data, self.modality), self.feature_ridge)
        p = invert_(regularise_(gram(interactions(data), self.weights.device), self.ridge + self.distil))
        a, c = a.to(p), c.to(p)
        self_weight = (a * c).sum(1)  # what A C' has on its diagonal and S has not: (I,)
        pa, diagonal = p @ a, p.diagonal().clone()  # (I, D), (I,)
        ps = (pa * c).sum(1) - diagonal * self_weight  # the diagonal of P S
        p.mul_(-((1 + self.distil * ps) / diagonal + self.distil * self_weight))
        p.addmm_(pa, c.T, alpha=self.distil).fill_diagonal_(0)
        self.weights = p.to(self.weights.device)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return multiply(query.history, self.weights, self.recency)

"""SelfCF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.encoders.graph import LightGCN
from hybridrec.encoders.table import NodeTable
from hybridrec.foldin import known_or_folded
from hybridrec.losses.explicit import bootstrap
from hybridrec.losses.ranking import squared_norm
from hybridrec.memo import Memo
from hybridrec.saving import configured
from hybridrec.views.data import EdgeDrop
from hybridrec.views.feature import Dropout, SignNoise

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class SelfCF(nn.Module):
    """A user predicts the items chosen as they are under dropout, and the items the user; no negatives, no second encoder.

    Zhou et al. 2023, SelfCF, arXiv 2107.03019, eqs. 4 to 9, with embedding dropout as the perturbation of the output.
    contrastive | data-based + feature-based views | natural pairs | BYOL

    ``view`` perturbs what is predicted, ``Dropout(rate)`` unless another is given. The graph that training reads is thinned
    besides, as the authors' code does and the paper does not say: a share of edges drawn between ``least`` and all is kept at
    every step. Scores are ``<q(u), i> + <u, q(i)>``, that is, the product of vectors twice as wide.
    """

    sampler = PairSampler

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        depth: int = 2,
        rate: float = 0.5,
        decay: float = 1e-3,
        view: Dropout | SignNoise | None = None,
        least: float = 0.0,
    ) -> None:
        super().__init__()
        self.graph = data.graph()
        self.nodes = NodeTable(data.sides, dim)
        self.encoder, self.predict = LightGCN(depth), nn.Linear(dim, dim)
        self.view, self.edges, self.decay = view or Dropout(rate), EdgeDrop(1.0, least), decay
        self._memo = Memo()

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``user``, ``item`` (each side predicts the other) and ``decay``; negatives are not used."""
        main = self.nodes.split(self.encoder(self.edges(self.graph), self.nodes()))
        user, item = main.user[batch.user], main.item[batch.positive]
        return {
            "user": bootstrap(self.predict(user), self.view(item)) / 4,
            "item": bootstrap(self.predict(item), self.view(user)) / 4,
            "decay": self.decay * squared_norm(user, item),
        }

    def evidence(self, batch: Pairs) -> dict[str, Any]:
        """What ``diagnostics`` looks at: every item and its view."""
        main = self.nodes.split(self.encoder(self.graph, self.nodes()))
        return {"embeddings": main.item, "views": (main.item, self.view(main.item))}

    def embed(self) -> tuple[Tensor, Tensor]:
        """Users as prediction and vector, items as vector and prediction: (U, 2D) and (I, 2D)."""
        main = self.nodes.split(self.encoder(self.graph, self.nodes()))
        users = torch.cat([self.predict(main.user), main.user], dim=1)
        return users, torch.cat([main.item, self.predict(main.item)], dim=1)

    def catalogue(self) -> Tensor:
        """Item vectors (I, 2D)."""
        return self._memo(self, self.embed)[1]

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, 2D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, *self._memo(self, self.embed))

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

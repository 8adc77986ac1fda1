"""BUIR."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.encoders.graph import LightGCN
from hybridrec.encoders.table import NodeTable
from hybridrec.foldin import known_or_folded
from hybridrec.losses.explicit import bootstrap
from hybridrec.losses.ranking import squared_length
from hybridrec.memo import Memo
from hybridrec.saving import configured
from hybridrec.views.data import EdgeDrop
from hybridrec.views.model import MomentumTwin

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class BUIR(nn.Module):
    """A user predicts what a slow twin makes of the items chosen, and the items what it makes of the user; no negatives.

    Lee et al. 2021, BUIR, arXiv 2105.06323, eqs. 2 to 6, the neighbour-based variant: both encoders read thinned graphs.
    contrastive | data-based + model-based views | natural pairs | BYOL

    ``momentum`` is tau, ``keep`` the share of edges each encoder reads (1 in the authors' runs), ``shrink`` the weight of L2
    over all parameters (half of their weight decay, which the gradient of Adam takes in; it matters much). Scores are
    ``<q(u), i> + <u, q(i)>``, that is, the product of vectors twice as wide.
    """

    sampler = PairSampler

    def __init__(
        self, data: Dataset, dim: int = 64, depth: int = 2, momentum: float = 0.995, keep: float = 0.8, shrink: float = 0.0
    ) -> None:
        super().__init__()
        self.graph = data.graph()
        self.nodes = NodeTable(data.sides, dim)
        self.twin = MomentumTwin(self.nodes, momentum)
        self.encoder, self.predict = LightGCN(depth), nn.Linear(dim, dim)
        self.view, self.shrink = EdgeDrop(keep), shrink
        self._memo = Memo()

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``user``, ``item`` (each side predicts the other) and ``decay``; negatives are not used."""
        self.twin.follow(self.nodes)
        online = self.nodes.split(self.encoder(self.view(self.graph), self.nodes()))
        target = self.nodes.split(self.encoder(self.view(self.graph), self.twin()))
        user, item = online.user[batch.user], online.item[batch.positive]
        return {
            "user": bootstrap(self.predict(user), target.item[batch.positive]),
            "item": bootstrap(self.predict(item), target.user[batch.user]),
            "decay": self.shrink * squared_length(self.nodes(), *self.predict.parameters()),
        }

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

"""RecDCL."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.encoders.graph import LightGCN
from hybridrec.encoders.table import NodeTable
from hybridrec.foldin import known_or_folded
from hybridrec.losses.explicit import barlow_twins, feature_uniformity
from hybridrec.memo import Memo
from hybridrec.pairs.natural import gather
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class RecDCL(nn.Module):
    """Users and what they chose are twins column by column, and each follows the other's past row by row.

    Zhang et al. 2024, RecDCL, arXiv 2401.15635, eqs. 4 to 9: Barlow Twins between users and items, a polynomial kernel that
    keeps columns apart, and a momentum history as the target. No negative pair anywhere.
    contrastive | model-based views | natural pairs | Barlow Twins and BYOL

    ``redundancy`` is gamma, ``apart`` alpha, ``follow`` beta (their weights), ``momentum`` tau.
    """

    sampler = PairSampler
    past: Tensor

    def __init__(
        self,
        data: Dataset,
        dim: int = 256,
        depth: int = 2,
        redundancy: float = 0.01,
        apart: float = 0.2,
        follow: float = 10.0,
        momentum: float = 0.3,
    ) -> None:
        super().__init__()
        self.graph = data.graph()
        self.nodes = NodeTable(data.sides, dim)
        self.encoder = LightGCN(depth)
        middle = (nn.Linear(dim, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, dim, bias=False))
        self.project, self.predict = nn.Sequential(*middle), nn.Linear(dim, dim)
        self.redundancy, self.apart, self.follow, self.momentum = redundancy, apart, follow, momentum
        self.register_buffer("past", torch.zeros(self.graph.nodes, dim), persistent=False)
        self._memo = Memo()

    def embed(self) -> SimpleNamespace:
        """Smoothed embeddings by side: ``.user`` (U, D), ``.item`` (I, D)."""
        return self.nodes.split(self.encoder(self.graph, self.nodes()))

    def target(self, rows: Tensor, now: Tensor) -> Tensor:
        """A momentum mean of the embeddings (B, D) of nodes ``rows`` when last met and ``now``, which replaces them."""
        with torch.no_grad():
            target = self.momentum * self.past[rows] + (1 - self.momentum) * now
            self.past[rows] = now.detach()
        return target

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``twins``, ``apart`` and ``follow`` of a batch of pairs; its negatives are not used."""
        main = self.embed()
        # Correlations, their normalisation and what was met are of the rows of all processes, each of which has all nodes.
        users, items = gather(batch.user)[0], gather(batch.positive)[0]
        user, item = main.user[users], main.item[items]
        one, two = self.project(F.normalize(user, dim=1)), self.project(F.normalize(item, dim=1))
        twins = barlow_twins(one, two, self.redundancy) / one.shape[1]
        apart = (feature_uniformity(one) + feature_uniformity(two)) / 2
        user_past = self.target(users, user)
        item_past = self.target(items + self.nodes.counts["user"], item)
        pairs = ((self.predict(user), item_past), (self.predict(item), user_past))
        like = torch.stack([F.cosine_similarity(x, past).mean() for x, past in pairs]).mean()
        return {"twins": twins, "apart": self.apart * apart, "follow": -self.follow * like}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, self.embed).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, self.embed).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

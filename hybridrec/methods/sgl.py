"""SGL."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.encoders.graph import LightGCN
from hybridrec.encoders.table import NodeTable
from hybridrec.foldin import known_or_folded
from hybridrec.graph import Graph
from hybridrec.losses.contrastive import info_nce
from hybridrec.losses.ranking import bpr, squared_length, squared_norm
from hybridrec.memo import Memo
from hybridrec.pairs.natural import natural
from hybridrec.saving import configured
from hybridrec.views.data import EdgeDrop, NodeDrop, RandomWalk

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class SGL(nn.Module):
    """Two thinned graphs agree on every node, beside ranking on the whole graph.

    Wu et al. 2021, SGL, arXiv 2010.10783, eqs. 10 to 13. Candidates are the nodes of the batch.
    contrastive | data-based views | natural pairs | InfoNCE

    ``view`` thins the graph: ``EdgeDrop(keep)`` unless another is given, ``NodeDrop`` or ``RandomWalk``; ``weight`` is
    lambda_1, ``decay`` lambda_2 over a batch's embeddings and ``shrink`` that over all, ``alpha`` the weight of every layer
    (their mean unless given).
    """

    sampler = PairSampler

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        depth: int = 3,
        keep: float = 0.9,
        temperature: float = 0.2,
        weight: float = 0.1,
        decay: float = 1e-4,
        view: EdgeDrop | NodeDrop | RandomWalk | None = None,
        alpha: float | None = None,
        shrink: float = 0.0,
    ) -> None:
        super().__init__()
        self.graph = data.graph()
        self.nodes = NodeTable(data.sides, dim)
        self.view = view or EdgeDrop(keep)
        self.encoder = LightGCN(depth, alpha)
        self.temperature, self.weight, self.decay, self.shrink = temperature, weight, decay, shrink
        self._memo = Memo()

    def embed(self, graph: Graph | Sequence[Graph]) -> SimpleNamespace:
        """Embeddings smoothed over ``graph`` by side: ``.user`` (U, D), ``.item`` (I, D)."""
        return self.nodes.split(self.encoder(graph, self.nodes()))

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``rank``, ``contrast`` and ``decay`` of a batch of pairs."""
        main, one, two = (self.embed(g) for g in (self.graph, self.view(self.graph), self.view(self.graph)))
        rank = bpr(main.user[batch.user], main.item[batch.positive], main.item[batch.negative])
        users = info_nce(natural(one.user, two.user, batch.user), self.temperature)
        items = info_nce(natural(one.item, two.item, batch.positive), self.temperature)
        free = self.nodes.split(self.nodes())
        decay = squared_norm(free.user[batch.user], free.item[batch.positive], free.item[batch.negative])
        decay = self.decay * decay + self.shrink * squared_length(self.nodes())
        return {"rank": rank, "contrast": self.weight * (users + items), "decay": decay}

    def evidence(self, batch: Pairs) -> dict[str, Any]:
        """What ``diagnostics`` looks at: every item and its view."""
        main, view = self.embed(self.graph), self.embed(self.view(self.graph))
        return {"embeddings": main.item, "views": (main.item, view.item)}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, lambda: self.embed(self.graph)).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, lambda: self.embed(self.graph)).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

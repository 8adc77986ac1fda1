"""LightGCN."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.encoders.graph import LightGCN as Encoder
from hybridrec.encoders.table import NodeTable
from hybridrec.foldin import known_or_folded
from hybridrec.losses.ranking import bpr, squared_norm
from hybridrec.memo import Memo
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class LightGCN(nn.Module):
    """Graph smoothing of free embeddings, trained to rank; no self-supervision: the contrast methods' baseline.

    He et al. 2020, LightGCN, arXiv 2002.02126. Loss: eq. 15, the L2 term over the batch's own embeddings.
    supervised | - | - | BPR

    ``dim`` is D, ``depth`` the number of layers, ``decay`` the weight of the L2 term, ``alpha`` the weight of
    every layer (their mean unless given).
    """

    sampler = PairSampler

    def __init__(self, data: Dataset, dim: int = 64, depth: int = 3, decay: float = 1e-4, alpha: float | None = None) -> None:
        super().__init__()
        self.graph = data.graph()
        self.nodes = NodeTable(data.sides, dim)
        self.encoder = Encoder(depth, alpha)
        self.decay = decay
        self._memo = Memo()

    def embed(self) -> SimpleNamespace:
        """Smoothed embeddings by side: ``.user`` (U, D), ``.item`` (I, D)."""
        return self.nodes.split(self.encoder(self.graph, self.nodes()))

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``rank`` and ``decay`` of a batch of pairs."""
        main, free = self.embed(), self.nodes.split(self.nodes())
        rank = bpr(main.user[batch.user], main.item[batch.positive], main.item[batch.negative])
        decay = squared_norm(free.user[batch.user], free.item[batch.positive], free.item[batch.negative])
        return {"rank": rank, "decay": self.decay * decay}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, self.embed).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, self.embed).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

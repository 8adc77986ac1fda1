"""DirectAU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.encoders.graph import LightGCN
from hybridrec.encoders.table import NodeTable
from hybridrec.foldin import known_or_folded
from hybridrec.losses.explicit import alignment, uniformity
from hybridrec.losses.ranking import squared_norm
from hybridrec.memo import Memo
from hybridrec.pairs.natural import gather
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class DirectAU(nn.Module):
    """Users lie near what they chose, and users and items are each spread evenly over the sphere; nothing else.

    Wang et al. 2022, DirectAU, arXiv 2206.12811, eqs. 5 to 7. ``depth`` 0 is plain matrix factorisation.
    contrastive | - | natural pairs | alignment and uniformity

    ``gamma`` weighs uniformity, ``decay`` the L2 term.
    """

    sampler = PairSampler

    def __init__(self, data: Dataset, dim: int = 64, depth: int = 2, gamma: float = 2.0, decay: float = 1e-6) -> None:
        super().__init__()
        self.graph = data.graph()
        self.nodes = NodeTable(data.sides, dim)
        self.encoder = LightGCN(depth)
        self.gamma, self.decay = gamma, decay
        self._memo = Memo()

    def embed(self) -> SimpleNamespace:
        """Smoothed embeddings by side: ``.user`` (U, D), ``.item`` (I, D)."""
        return self.nodes.split(self.encoder(self.graph, self.nodes()))

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``align``, ``spread`` and ``decay`` of a batch of pairs; its negatives are not used."""
        main, free = self.embed(), self.nodes.split(self.nodes())
        user, item = main.user[batch.user], main.item[batch.positive]
        spread = self.gamma * (uniformity(gather(user)[0]) + uniformity(gather(item)[0])) / 2  # the rows of all processes
        decay = squared_norm(free.user[batch.user], free.item[batch.positive])
        return {"align": alignment(user, item), "spread": spread, "decay": self.decay * decay}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, self.embed).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, self.embed).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

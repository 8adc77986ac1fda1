"""NCL."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.encoders.graph import LightGCN
from hybridrec.encoders.table import NodeTable
from hybridrec.foldin import known_or_folded
from hybridrec.losses.contrastive import info_nce
from hybridrec.losses.ranking import bpr, squared_norm
from hybridrec.memo import Memo
from hybridrec.pairs.natural import against_all
from hybridrec.pairs.score import prototypes, prototypical
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class NCL(nn.Module):
    """A node agrees with its even-hop neighbourhood and with the prototype of its cluster.

    Lin et al. 2022, NCL, arXiv 2202.06200, eqs. 5 to 14. Clusters are found anew before every epoch after ``warmup``.
    contrastive | - | score-based pairs | InfoNCE

    ``hop`` is k, the even layer contrasted; ``clusters`` K of either side; ``structure`` and ``prototype`` are the weights
    lambda_1 and lambda_2 (a mean over the batch here, where the authors sum), ``items`` the paper's alpha; ``alpha`` weighs
    every layer (their mean unless given).
    """

    sampler = PairSampler

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        depth: int = 3,
        hop: int = 2,
        clusters: int = 1000,
        warmup: int = 20,
        temperature: float = 0.1,
        structure: float = 1e-3,
        prototype: float = 1e-4,
        items: float = 1.0,
        decay: float = 1e-4,
        alpha: float | None = None,
    ) -> None:
        super().__init__()
        self.graph = data.graph()
        self.nodes = NodeTable(data.sides, dim)
        self.encoder, self.hop = LightGCN(depth, alpha), hop
        self.through = LightGCN(max(depth, hop))  # one pass for what is ranked by and what is contrasted
        self.clusters, self.warmup = clusters, warmup
        self.temperature, self.structure, self.prototype, self.items, self.decay = (
            temperature,
            structure,
            prototype,
            items,
            decay,
        )
        self._found: dict[str, tuple[Tensor, Tensor]] = {}
        self._epochs = 0
        self._memo = Memo()

    def refresh(self) -> None:
        """Find the prototypes of users and items, once the embeddings say something."""
        self._epochs += 1
        if self._epochs > self.warmup:
            free = self.nodes.split(self.nodes())
            self._found = {side: prototypes(getattr(free, side), self.clusters) for side in ("user", "item")}

    def embed(self) -> SimpleNamespace:
        """Smoothed embeddings by side: ``.user`` (U, D), ``.item`` (I, D)."""
        return self.nodes.split(self.encoder(self.graph, self.nodes()))

    def layers(self) -> tuple[SimpleNamespace, SimpleNamespace, SimpleNamespace]:
        """By side: the free embeddings, those of the even layer contrasted, and the smoothed ones that ``embed`` gives."""
        layers = self.through.layers(self.graph, self.nodes())
        smoothed = self.encoder.joined(layers[: self.encoder.depth + 1])
        return self.nodes.split(layers[0]), self.nodes.split(layers[self.hop]), self.nodes.split(smoothed)

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``rank``, ``structure``, ``prototype`` (after the warm-up) and ``decay`` of a batch of pairs."""
        free, far, main = self.layers()
        rank = bpr(main.user[batch.user], main.item[batch.positive], main.item[batch.negative])
        users = info_nce(against_all(far.user, free.user, batch.user), self.temperature)
        items = info_nce(against_all(far.item, free.item, batch.positive), self.temperature)
        decay = squared_norm(free.user[batch.user], free.item[batch.positive], free.item[batch.negative])
        terms = {"rank": rank, "structure": self.structure * (users + self.items * items), "decay": self.decay * decay}
        if self._found:
            users = info_nce(prototypical(free.user, batch.user, *self._found["user"]), self.temperature)
            items = info_nce(prototypical(free.item, batch.positive, *self._found["item"]), self.temperature)
            terms["prototype"] = self.prototype * (users + self.items * items)
        return terms

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, self.embed).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, self.embed).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

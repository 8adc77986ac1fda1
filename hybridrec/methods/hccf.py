"""HCCF."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.encoders.hypergraph import Hypergraph
from hybridrec.encoders.table import NodeTable
from hybridrec.foldin import known_or_folded
from hybridrec.losses.contrastive import info_nce
from hybridrec.losses.ranking import bpr, squared_length
from hybridrec.memo import Memo
from hybridrec.pairs.natural import against_all
from hybridrec.protocols import View
from hybridrec.saving import configured
from hybridrec.views.data import EdgeDrop
from hybridrec.views.feature import Dropout
from hybridrec.views.model import LearnedHypergraph

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class HCCF(nn.Module):
    """What a node hears from its neighbours agrees, layer by layer, with what it hears through learned hyperedges.

    Xia et al. 2022, HCCF, arXiv 2204.12200, eqs. 3 to 12. As the authors' PyTorch code has it, which they recommend over the
    paper's: no mixing between hyperedges, the local side of the contrast takes no gradient, layers are added up.
    contrastive | model-based views | natural pairs | InfoNCE

    ``hyperedges`` is H, None for that code's variant for sparse data: the embeddings are the incidences, none of which is
    dropped, and the contrast begins and ends a layer earlier, with the free embeddings against themselves, pushed apart.
    ``keep`` is the share of edges and incidences kept while training, ``slope`` that of LeakyReLU (the code has none: 1),
    ``scale`` that of incidences (``mult`` in the code), ``weight`` lambda_1, ``decay`` lambda_2 over all parameters.
    """

    sampler = PairSampler

    def __init__(
        self,
        data: Dataset,
        dim: int = 32,
        depth: int = 2,
        hyperedges: int | None = 128,
        keep: float = 0.5,
        slope: float = 0.5,
        temperature: float = 0.1,
        weight: float = 0.2,
        decay: float = 1e-6,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.graph = data.graph()
        self.nodes = NodeTable(data.sides, dim)
        self.users, self.items = (LearnedHypergraph(dim, hyperedges, scale) for _ in range(2))
        self.encoder = Hypergraph(slope)
        self.sparse = hyperedges is None
        self.thin, self.drop = EdgeDrop(keep), Dropout(0.0 if self.sparse else 1 - keep)
        self.depth, self.temperature, self.weight, self.decay = depth, temperature, weight, decay
        self._memo = Memo()

    def layers(self, thin: View, drop: View) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """All layers added up (N, D), and by layer what is contrasted: what came over the graph and through hyperedges."""
        x = self.nodes()
        free = self.nodes.split(x)
        user_edges, item_edges = drop(self.users(free.user)), drop(self.items(free.item))
        total = x
        local, wide = ([x], [x]) if self.sparse else ([], [])
        for _ in range(self.depth):
            side = self.nodes.split(x)
            local.append(thin(self.graph).propagate(x))
            wide.append(torch.cat([self.encoder(user_edges, side.user), self.encoder(item_edges, side.item)]))
            x = local[-1] + wide[-1]
            total = total + x
        return total, local[: self.depth], wide[: self.depth]

    def embed(self) -> SimpleNamespace:
        """Embeddings by side, nothing dropped: ``.user`` (U, D), ``.item`` (I, D)."""
        return self.nodes.split(self.layers(lambda g: g, lambda x: x)[0])

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``rank``, ``contrast`` and ``decay`` of a batch of pairs."""
        total, local, wide = self.layers(self.thin, self.drop)
        main = self.nodes.split(total)
        rank = bpr(main.user[batch.user], main.item[batch.positive], main.item[batch.negative])
        contrast = rank.new_zeros(())
        for one, two in zip(local, wide, strict=True):
            near, far = self.nodes.split(one.detach()), self.nodes.split(two)
            contrast = contrast + info_nce(against_all(near.user, far.user, batch.user), self.temperature)
            contrast = contrast + info_nce(against_all(near.item, far.item, batch.positive), self.temperature)
        decay = squared_length(*self.parameters())
        return {"rank": rank, "contrast": self.weight * contrast, "decay": self.decay * decay}

    def evidence(self, batch: Pairs) -> dict[str, Any]:
        """What ``diagnostics`` looks at: every item, and what its last layers hear from the graph and through hyperedges."""
        total, local, wide = self.layers(self.thin, self.drop)
        side = self.nodes.split
        return {"embeddings": side(total).item, "views": (side(local[-1]).item, side(wide[-1]).item)}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, self.embed).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, self.embed).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

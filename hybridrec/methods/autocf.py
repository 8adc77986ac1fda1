"""AutoCF."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.encoders.graph import Attention, LightGCN
from hybridrec.encoders.table import NodeTable
from hybridrec.foldin import known_or_folded
from hybridrec.graph import Graph
from hybridrec.losses.contrastive import log_sum_exp, repulsion
from hybridrec.losses.ranking import squared_length
from hybridrec.memo import Memo
from hybridrec.pairs.natural import against_all
from hybridrec.saving import configured
from hybridrec.views.masking import Masked, SubgraphMask

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class AutoCF(nn.Module):
    """A masked graph autoencoder that learns what to mask: hidden links are rebuilt by attention, all else is pushed apart.

    Xia et al. 2023, AutoCF, arXiv 2303.07797, eqs. 3 to 13. As in the authors' code, dot products are compared unscaled,
    a mask is kept for ``hold`` batches, and the attention sees the node itself at every time.
    reconstructive | model-based views | natural pairs | masked links and InfoNCE

    ``depth`` counts graph layers before one layer of ``heads`` attention; ``seeds`` and ``hops`` say what is masked, ``extra``
    the share of nodes masked besides; ``weight`` is that of pushing users and items apart, ``decay`` over all parameters.
    """

    sampler = PairSampler

    def __init__(
        self,
        data: Dataset,
        dim: int = 32,
        depth: int = 2,
        heads: int = 4,
        seeds: int = 100,
        hops: int = 2,
        extra: float = 0.2,
        hold: int = 10,
        weight: float = 1.0,
        decay: float = 1e-7,
    ) -> None:
        super().__init__()
        self.graph = data.graph()
        self.nodes = NodeTable(data.sides, dim)
        self.encoder, self.decoder = LightGCN(depth), Attention(dim, heads)
        self.view = SubgraphMask(seeds, hops, extra)
        self.hold, self.weight, self.decay = hold, weight, decay
        self._masked: Masked | None = None
        self._batches = 0
        self._memo = Memo()

    def embed(self, encoder: Graph, decoder: Graph) -> SimpleNamespace:
        """Graph layers over one graph, attention over another, all added up, by side: ``.user`` (U, D), ``.item`` (I, D)."""
        layers = self.encoder.layers(encoder, self.nodes())
        return self.nodes.split(torch.stack([*layers, self.decoder(decoder, layers[-1])]).sum(0))

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``rebuild``, ``apart``, ``decay`` and, where a new mask is drawn, ``infomax``; negatives are not used."""
        terms = {}
        if self._masked is None or self._batches % self.hold == 0:
            self._masked, scores = self.view.draw(self.graph, self.nodes())
            terms["infomax"] = -scores.mean()
        self._batches += 1
        main = self.embed(*self._masked)
        terms["rebuild"] = -(main.user[batch.user] * main.item[batch.positive]).sum(1).mean()
        spread = repulsion(against_all(main.user, main.user, batch.user)) + repulsion(
            against_all(main.item, main.item, batch.positive)
        )
        users, back = batch.user.unique(return_inverse=True)
        terms["apart"] = self.weight * spread + log_sum_exp(main.user[users], main.item)[back].mean()
        terms["decay"] = self.decay * squared_length(*self.parameters())
        return terms

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, lambda: self.embed(self.graph, self.graph)).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, lambda: self.embed(self.graph, self.graph)).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

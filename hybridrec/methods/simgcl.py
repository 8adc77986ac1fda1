"""SimGCL."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.encoders.graph import LightGCN
from hybridrec.encoders.table import NodeTable
from hybridrec.foldin import known_or_folded
from hybridrec.losses.contrastive import info_nce
from hybridrec.losses.ranking import bpr, squared_length, squared_norm
from hybridrec.memo import Memo
from hybridrec.pairs.natural import natural
from hybridrec.protocols import View
from hybridrec.saving import configured
from hybridrec.views.feature import SignNoise

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class SimGCL(nn.Module):
    """Two noisy embeddings of every node agree, beside ranking: the graph itself is left alone.

    Yu et al. 2022, SimGCL, arXiv 2112.08679, eqs. 8 to 10: noise at every layer, layers 1 to ``depth`` averaged. RLMRec's code,
    Ren et al. 2024, arXiv 2310.15950, adds up all layers (``skip=0, alpha=1``) and shrinks all parameters (``shrink``).
    contrastive | feature-based views | natural pairs | InfoNCE

    ``eps`` is the length of the noise, ``weight`` lambda, ``decay`` the weight of the L2 term over a batch's embeddings and
    ``shrink`` that over all, ``alpha`` the weight of every layer (their mean unless given), of which the first ``skip`` are
    left out.
    """

    sampler = PairSampler

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        depth: int = 3,
        eps: float = 0.1,
        temperature: float = 0.2,
        weight: float = 0.5,
        decay: float = 1e-4,
        alpha: float | None = None,
        skip: int = 1,
        shrink: float = 0.0,
    ) -> None:
        super().__init__()
        self.graph = data.graph()
        self.nodes = NodeTable(data.sides, dim)
        self.encoder = LightGCN(depth)
        self.noise = SignNoise(eps)
        self.alpha, self.skip = 1 / (depth + 1 - skip) if alpha is None else alpha, skip
        self.temperature, self.weight, self.decay, self.shrink = temperature, weight, decay, shrink
        self._memo = Memo()

    def embed(self, noise: View) -> SimpleNamespace:
        """Embeddings by side, each layer passed through ``noise``: ``.user`` (U, D), ``.item`` (I, D)."""
        layers = self.encoder.layers(self.graph, self.nodes(), noise)
        return self.nodes.split(torch.stack(layers[self.skip :]).sum(0) * self.alpha)

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``rank``, ``contrast`` and ``decay`` of a batch of pairs."""
        main, one, two = self.embed(lambda x: x), self.embed(self.noise), self.embed(self.noise)
        rank = bpr(main.user[batch.user], main.item[batch.positive], main.item[batch.negative])
        users = info_nce(natural(one.user, two.user, batch.user), self.temperature)
        items = info_nce(natural(one.item, two.item, batch.positive), self.temperature)
        free = self.nodes.split(self.nodes())
        decay = squared_norm(free.user[batch.user], free.item[batch.positive], free.item[batch.negative])
        decay = self.decay * decay + self.shrink * squared_length(self.nodes())
        return {"rank": rank, "contrast": self.weight * (users + items), "decay": decay}

    def evidence(self, batch: Pairs) -> dict[str, Any]:
        """What ``diagnostics`` looks at: every item and its view."""
        main, view = self.embed(lambda x: x), self.embed(self.noise)
        return {"embeddings": main.item, "views": (main.item, view.item)}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, lambda: self.embed(lambda x: x)).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, lambda: self.embed(lambda x: x)).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

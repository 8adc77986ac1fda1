"""XSimGCL."""

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
from hybridrec.losses.ranking import bpr, squared_norm
from hybridrec.memo import Memo
from hybridrec.pairs.natural import natural
from hybridrec.protocols import View
from hybridrec.saving import configured
from hybridrec.views.feature import SignNoise

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class XSimGCL(nn.Module):
    """One noisy pass serves ranking and contrast: its last embedding agrees with that of an earlier layer.

    Yu et al. 2023, XSimGCL, arXiv 2209.02544, eqs. 9 and 10.
    contrastive | feature-based views | natural pairs | InfoNCE

    ``layer`` is l*, the layer contrasted with the average; ``eps`` the length of the noise; ``weight`` lambda.
    """

    sampler = PairSampler

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        depth: int = 2,
        layer: int = 1,
        eps: float = 0.2,
        temperature: float = 0.15,
        weight: float = 0.2,
        decay: float = 1e-4,
    ) -> None:
        super().__init__()
        self.graph = data.graph()
        self.nodes = NodeTable(data.sides, dim)
        self.encoder = LightGCN(depth)
        self.noise = SignNoise(eps)
        self.layer, self.temperature, self.weight, self.decay = layer, temperature, weight, decay
        self._memo = Memo()

    def embed(self, noise: View) -> tuple[SimpleNamespace, SimpleNamespace]:
        """By side, each layer passed through ``noise``: the mean of layers 1 to depth, and layer l*."""
        layers = self.encoder.layers(self.graph, self.nodes(), noise)
        return self.nodes.split(torch.stack(layers[1:]).mean(0)), self.nodes.split(layers[self.layer])

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``rank``, ``contrast`` and ``decay`` of a batch of pairs."""
        main, early = self.embed(self.noise)
        rank = bpr(main.user[batch.user], main.item[batch.positive], main.item[batch.negative])
        users = info_nce(natural(main.user, early.user, batch.user), self.temperature)
        items = info_nce(natural(main.item, early.item, batch.positive), self.temperature)
        free = self.nodes.split(self.nodes())
        decay = squared_norm(free.user[batch.user], free.item[batch.positive], free.item[batch.negative])
        return {"rank": rank, "contrast": self.weight * (users + items), "decay": self.decay * decay}

    def evidence(self, batch: Pairs) -> dict[str, Any]:
        """What ``diagnostics`` looks at: every item, and the two layers that are contrasted."""
        main, early = self.embed(self.noise)
        return {"embeddings": main.item, "views": (main.item, early.item)}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, lambda: self.embed(lambda x: x)[0]).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, lambda: self.embed(lambda x: x)[0]).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

"""DCCF."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.encoders.table import NodeTable
from hybridrec.foldin import known_or_folded
from hybridrec.losses.contrastive import info_nce
from hybridrec.losses.ranking import bpr, squared_length
from hybridrec.memo import Memo
from hybridrec.pairs.natural import natural
from hybridrec.saving import configured
from hybridrec.views.model import CosineGraph

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


class Layer(NamedTuple):
    """What one layer says of every node, (N, D) each: the graph, the intents, and the graph reweighed by either."""

    graph: Tensor
    intent: Tensor
    by_graph: Tensor
    by_intent: Tensor


@configured
class DCCF(nn.Module):
    """Nodes are also mixtures of latent intents; the graph agrees with them and with itself reweighed by either.

    Ren et al. 2023, DCCF, arXiv 2305.02759, eqs. 4 to 13.
    contrastive | model-based views | natural pairs | InfoNCE

    ``intents`` is K, ``weight`` lambda_1, ``decay`` lambda_2 over all parameters.
    """

    sampler = PairSampler

    def __init__(
        self,
        data: Dataset,
        dim: int = 32,
        depth: int = 2,
        intents: int = 128,
        temperature: float = 0.1,
        weight: float = 1e-3,
        decay: float = 1e-4,
    ) -> None:
        super().__init__()
        self.graph = data.graph()
        self.nodes = NodeTable(data.sides, dim)
        self.intents = nn.ParameterDict({s: nn.init.xavier_uniform_(torch.empty(dim, intents)) for s in ("user", "item")})
        self.reweigh = CosineGraph()
        self.depth, self.temperature, self.weight, self.decay = depth, temperature, weight, decay
        self._memo = Memo()

    def layers(self) -> tuple[Tensor, list[Layer]]:
        """All layers added up (N, D), and what each is made of."""
        x = total = self.nodes()
        layers = []
        for _ in range(self.depth):
            side = self.nodes.split(x)
            near = self.graph.propagate(x)
            mixed = [
                F.softmax(z @ w, dim=1) @ w.T for z, w in ((side.user, self.intents["user"]), (side.item, self.intents["item"]))
            ]
            intent = torch.cat(mixed)
            layer = Layer(near, intent, self.reweigh(self.graph, near, x), self.reweigh(self.graph, intent, x))
            x = torch.stack(layer).sum(0) + x
            total = total + x
            layers.append(layer)
        return total, layers

    def embed(self) -> SimpleNamespace:
        """Embeddings by side: ``.user`` (U, D), ``.item`` (I, D)."""
        return self.nodes.split(self.layers()[0])

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``rank``, ``contrast`` and ``decay`` of a batch of pairs."""
        total, layers = self.layers()
        main = self.nodes.split(total)
        rank = bpr(main.user[batch.user], main.item[batch.positive], main.item[batch.negative])
        contrast = rank.new_zeros(())
        for layer in layers:
            one = self.nodes.split(layer.graph)
            for two in map(self.nodes.split, layer[1:]):
                contrast = contrast + info_nce(natural(one.user, two.user, batch.user), self.temperature)
                contrast = contrast + info_nce(natural(one.item, two.item, batch.positive), self.temperature)
        decay = squared_length(*self.parameters())
        return {"rank": rank, "contrast": self.weight * contrast, "decay": self.decay * decay}

    def evidence(self, batch: Pairs) -> dict[str, Any]:
        """What ``diagnostics`` looks at: every item, and what its last layer says by graph and by intents."""
        total, layers = self.layers()
        side = self.nodes.split
        return {"embeddings": side(total).item, "views": (side(layers[-1].graph).item, side(layers[-1].intent).item)}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, self.embed).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, self.embed).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

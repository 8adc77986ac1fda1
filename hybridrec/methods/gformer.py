"""GFormer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.encoders.graph import Attention, LightGCN
from hybridrec.encoders.position import AnchorPosition, nearness
from hybridrec.encoders.table import NodeTable
from hybridrec.foldin import known_or_folded
from hybridrec.graph import Graph
from hybridrec.losses.contrastive import log_sum_exp, repulsion
from hybridrec.losses.ranking import bpr, squared_length
from hybridrec.memo import Memo
from hybridrec.pairs.natural import against_all
from hybridrec.saving import configured
from hybridrec.views.masking import RationaleMask, Rationales

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


class Drawn(NamedTuple):
    """What is kept for some batches: the rationales, and how near (N, K) every node is to the nodes ``anchor`` (K,)."""

    rationales: Rationales
    near: Tensor
    anchor: Tensor


@configured
class GFormer(nn.Module):
    """A graph transformer finds the links that explain most; they are masked and rebuilt, and alone must rank as well.

    Li et al. 2023, Graph transformer for recommendation, arXiv 2306.02330, sec. 3. As in the authors' code, what is compared
    is dot products as they are, users and items are pushed apart as in AutoCF, the core and the rest of the graph are pushed
    apart by ``log sum_d exp(core_d * rest_d)``, a draw is kept for ``hold`` batches, and recommendation reads graph layers
    alone. Draws here are of undirected edges, and one position layer serves rationales and embeddings. A position says where a
    node stands, not, as in eq. 3, what it is too (``own``): the authors' code lays other nodes' vectors in that place, and
    with the node's own what is trained is far from what recommends (docs/general.md).
    reconstructive | model-based views | natural pairs | masked links and InfoNCE

    ``anchors`` nodes tell positions; ``keep`` is the share of edges not masked, ``share`` that of core and rest, ``noise`` that
    of random links shown while rationales are found; ``weight`` pushes users and items apart, ``apart`` core and rest,
    ``core`` weighs ranking by the core, ``gate`` the transformer's part in core and rest, ``decay`` all parameters.
    """

    sampler = PairSampler

    def __init__(
        self,
        data: Dataset,
        dim: int = 32,
        depth: int = 2,
        heads: int = 4,
        anchors: int = 32,
        keep: float = 0.9,
        share: float = 0.1,
        noise: float = 0.01,
        hold: int = 10,
        weight: float = 1.0,
        apart: float = 1e-3,
        core: float = 1.0,
        gate: float = 0.1,
        decay: float = 1e-4,
        own: bool = False,
    ) -> None:
        super().__init__()
        self.graph = data.graph()
        self.nodes = NodeTable(data.sides, dim)
        self.encoder, self.decoder, self.position = LightGCN(depth), Attention(dim, heads), AnchorPosition(dim, own)
        self.view = RationaleMask(keep, share)
        self.anchors, self.noise, self.hold = anchors, noise, hold
        self.weight, self.apart, self.core, self.gate, self.decay = weight, apart, core, gate, decay
        self._drawn: Drawn | None = None
        self._batches = 0
        self._memo = Memo()

    @torch.no_grad()
    def draw(self) -> Drawn:
        """Anchors and rationales, drawn anew: what attention to the graph, and some random links, is worth to both ends."""
        anchor = torch.randperm(self.graph.nodes)[: self.anchors].to(self.nodes().device)
        near = nearness(self.graph, anchor)
        extra = torch.randint(self.graph.nodes, (2, int(self.noise * 2 * self.graph.edges)), device=anchor.device)
        links = torch.cat([torch.stack(self.graph.ends), extra], dim=1)
        noisy = Graph.between(links, self.graph.start, self.graph.nodes)
        worth = self.decoder.weights(noisy, self.position(near, anchor, self.nodes()))
        weight = worth.new_zeros(noisy.edges).index_add(0, noisy.edge, worth) / 2
        return Drawn(self.view(noisy, weight), near, anchor)

    def masked(self, drawn: Drawn) -> tuple[Tensor, list[Tensor]]:
        """Graph, position and attention over what is not masked, added up: (N, D); and the graph layers, (N, D) each."""
        hidden = drawn.rationales.masked
        layers = self.encoder.layers(hidden.encoder, self.nodes())
        placed = self.position(drawn.near, drawn.anchor, layers[-1])
        return torch.stack([*layers, placed, self.decoder(hidden.decoder, placed)]).sum(0), layers

    def through(self, graph: Graph, layers: list[Tensor]) -> Tensor:
        """What ``graph`` alone makes of the layers below each: (N, D)."""
        return layers[0] + self.gate * self.decoder(graph, layers[0]) + graph.propagate(torch.stack(layers[:-1]).sum(0))

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``rebuild``, ``apart``, ``core``, ``rest`` and ``decay`` of a batch of pairs."""
        if self._drawn is None or self._batches % self.hold == 0:
            self._drawn = self.draw()
        self._batches += 1
        total, layers = self.masked(self._drawn)
        main = self.nodes.split(total)
        core, rest = (self.nodes.split(self.through(g, layers)) for g in self._drawn.rationales[1:])
        spread = repulsion(against_all(main.user, main.user, batch.user)) + repulsion(
            against_all(main.item, main.item, batch.positive)
        )
        users, back = batch.user.unique(return_inverse=True)
        return {
            "rebuild": -(main.user[batch.user] * main.item[batch.positive]).sum(1).mean(),
            "apart": self.weight * spread + log_sum_exp(main.user[users], main.item)[back].mean(),
            "core": self.core * bpr(core.user[batch.user], core.item[batch.positive], main.item[batch.negative]),
            "rest": self.apart * (core.user * rest.user)[batch.user].logsumexp(1).mean(),
            "decay": self.decay * squared_length(*self.parameters()),
        }

    def embed(self) -> SimpleNamespace:
        """Graph layers over the whole graph added up, by side: ``.user`` (U, D), ``.item`` (I, D)."""
        return self.nodes.split(torch.stack(self.encoder.layers(self.graph, self.nodes())).sum(0))

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, self.embed).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, self.embed).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

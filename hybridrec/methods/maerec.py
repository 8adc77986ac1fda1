"""MAERec."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Histories, Query, Rows
from hybridrec.data.sequences import HistorySampler, entry_share, mean_length, newest, prepended, readable, shifted
from hybridrec.data.transitions import transitions
from hybridrec.decoders.links import CrossLayerLinks
from hybridrec.encoders.graph import LightGCN
from hybridrec.encoders.sequence import Transformer
from hybridrec.graph import Graph
from hybridrec.losses.ranking import squared_length
from hybridrec.losses.sampled import softmax_of
from hybridrec.memo import Memo
from hybridrec.objectives import Objective, SampledSoftmax, Wanted
from hybridrec.pairs.links import against_drawn
from hybridrec.saving import configured
from hybridrec.views.paths import HiddenPaths, PathMask, reward

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class MAERec(nn.Module):
    """A masked autoencoder over the graph of which item follows which makes the vectors that a causal transformer reads.

    Ye, Xia & Huang 2023, MAERec, arXiv 2305.04619, section 3. Paths to hide are learned (``views.paths``), and the more so
    the more hiding them has helped to foretell; hidden links are rebuilt among false ones from the layers of the rest.
    reconstructive | model-based views (paths) | - | masked links and next item
    Scenario: sequential

    As in the authors' code a mask is kept for ``hold`` batches, ``edges`` of its links are rebuilt a batch, each against
    ``negatives`` others that share one end or the other, from all layers but the last. As in the paper the softmax of the
    true link has its logarithm, which that code leaves out; it is a mean here, and scores are without their sigmoid. The
    graph has no loops. The next item is foretold under ``objective``, a sampled softmax unless given.

    ``layers`` counts graph layers, ``depth`` those of the transformer; items at most ``distance`` entries apart are linked.
    ``seeds``, ``hops`` and ``keep`` say what is hidden, ``floor`` what a mask that did not help counts, ``weight`` what
    rebuilding does, ``decay`` what all parameters do. Of a history longer than ``window`` the last ``window - 1`` entries are
    read; entries whose item has no training row are passed over. ``stride`` is SASRec's.
    """

    met: Tensor

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        depth: int = 2,
        heads: int = 2,
        window: int = 50,
        dropout: float = 0.2,
        stride: int | None = None,
        layers: int = 2,
        distance: int = 1,
        seeds: int = 50,
        hops: int = 3,
        keep: float = 0.5,
        hold: int = 10,
        edges: int = 2048,
        negatives: int = 40,
        weight: float = 1.0,
        floor: float = 0.2,
        decay: float = 1e-6,
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        items = data.sides["item"]
        self.graph = Graph.between(transitions(data.histories(), distance), {"item": 0}, items)
        self.table = nn.Parameter(torch.randn(items + 1, dim) * 0.02)  # the last is the start
        self.layers, self.encoder = LightGCN(layers, alpha=1.0), Transformer(dim, depth, heads, window, dropout)
        self.decoder, self.view = CrossLayerLinks(dim, layers), PathMask(seeds, hops, keep)
        self.hold, self.edges, self.negatives = hold, edges, negatives
        self.weight, self.floor, self.decay = weight, floor, decay
        self.objective, self.length = objective or SampledSoftmax(), mean_length(data, window)
        self.window = window
        self.sampler = partial(HistorySampler, window=window, stride=stride)
        self.register_buffer("met", torch.bincount(data.train.index[1], minlength=items) > 0)
        self._hidden: HiddenPaths | None = None
        self._losses: list[float] = []
        self._batches = 0
        self._memo = Memo()

    def embed(self, graph: Graph) -> list[Tensor]:
        """What each layer makes of the items, their own vectors first: (I, D) each."""
        return self.layers.layers(graph, self.table[:-1])

    def forward(self, batch: Rows) -> dict[str, Tensor]:
        """Terms ``next``, ``rebuild``, ``decay`` and, where a new mask is drawn, ``mask``."""
        terms = {}
        if self._hidden is None or self._batches % self.hold == 0:
            self._hidden, score = self.view.draw(self.graph, self.table[:-1])
            terms["mask"] = -reward(self._losses, self.floor) * score.mean()
            self._losses = self._losses[-1:]
        self._batches += 1
        history, embedded = batch.history, self.embed(self._hidden.graph)
        items = torch.stack(embedded).sum(0)
        wanted = Wanted(history.item, history.rows, history)
        loss = self.objective(self.read(shifted(history, len(items)), items), items, wanted)
        self._losses = [*self._losses, loss.item()]
        terms["next"] = loss * entry_share(batch, self.length)
        terms["rebuild"] = self.weight * self.rebuild(embedded, self._hidden.links)
        terms["decay"] = self.decay * squared_length(*self.parameters())
        return terms

    def rebuild(self, embedded: list[Tensor], links: Tensor) -> Tensor:
        """How well some of the hidden ``links`` (2, n) are told from false ones: a scalar."""
        some = links[:, torch.randperm(links.shape[1], device=links.device)[: self.edges]]
        if not some.shape[1]:
            return embedded[0].new_zeros(())
        present = self.graph.row * self.graph.nodes + self.graph.col
        pairs = against_drawn(some, present, self.graph.nodes, self.negatives)
        score = self.decoder(embedded[:-1], pairs.one, pairs.two)  # (n, 1 + K)
        return softmax_of(score[:, 0], score[:, 1:].masked_fill(~pairs.false, -torch.inf))

    def read(self, history: Histories, items: Tensor) -> Tensor:
        """What is known at each entry (n, D), read with the vectors ``items`` (I, D) and the start's."""
        return self.encoder(history, torch.cat([items, self.table[-1:]])[history.item])

    def catalogue(self) -> Tensor:
        """Item vectors (I, D), over the whole graph."""
        return self._memo(self, lambda: torch.stack(self.embed(self.graph)).sum(0))

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): what is known after each history."""
        history = prepended(readable(query.history, self.met, self.window - 1), len(self.met))
        return self.read(history, self.catalogue())[newest(history)]

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

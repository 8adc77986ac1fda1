"""LightGCL."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.encoders.graph import LightGCN
from hybridrec.encoders.table import NodeTable
from hybridrec.errors import ArgumentError
from hybridrec.foldin import known_or_folded
from hybridrec.losses.contrastive import clamped_nce, info_nce
from hybridrec.losses.ranking import bpr, squared_length
from hybridrec.memo import Memo
from hybridrec.pairs.natural import against_all
from hybridrec.saving import configured
from hybridrec.views.model import SVDGraph

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class LightGCL(nn.Module):
    """The graph agrees on every node with its few largest singular components.

    Cai et al. 2023, LightGCL, arXiv 2302.08191, eqs. 2 to 8, with layers added up. The contrast is over products, those of
    positives clamped to [-clamp, clamp], as in the authors' code; over cosines, as the paper has it, with ``clamp=None``.
    contrastive | model-based views | natural pairs | InfoNCE

    ``rank`` is q, ``weight`` lambda_1, ``decay`` lambda_2 over all parameters. Raises ArgumentError for a ``clamp`` that is
    not above 0.
    """

    sampler = PairSampler

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        depth: int = 2,
        rank: int = 5,
        temperature: float = 0.2,
        weight: float = 0.2,
        decay: float = 1e-7,
        clamp: float | None = 5.0,
    ) -> None:
        super().__init__()
        if clamp is not None and not clamp > 0:
            raise ArgumentError(f"clamp must be above 0, or None for cosines, not {clamp}")
        self.graph = data.graph()
        self.global_graph = SVDGraph(self.graph, data.sides["user"], rank)
        self.nodes = NodeTable(data.sides, dim)
        self.encoder = LightGCN(depth)
        self.contrast = partial(info_nce, temperature=temperature)
        if clamp is not None:
            self.contrast = partial(clamped_nce, temperature=temperature, clamp=clamp)
        self.weight, self.decay = weight, decay
        self._memo = Memo()

    def embed(self) -> SimpleNamespace:
        """Embeddings smoothed over the graph by side: ``.user`` (U, D), ``.item`` (I, D)."""
        return self.nodes.split(torch.stack(self.encoder.layers(self.graph, self.nodes())).sum(0))

    def views(self) -> tuple[SimpleNamespace, SimpleNamespace]:
        """Embeddings by side over the graph, and over its largest components."""
        layers = self.encoder.layers(self.graph, self.nodes())
        # Every layer of the global view starts from the layer below of the graph itself (eq. 5).
        seen = layers[0] + self.global_graph.propagate(torch.stack(layers[:-1]).sum(0))
        return self.nodes.split(torch.stack(layers).sum(0)), self.nodes.split(seen)

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``rank``, ``contrast`` and ``decay`` of a batch of pairs."""
        main, seen = self.views()
        rank = bpr(main.user[batch.user], main.item[batch.positive], main.item[batch.negative])
        users = self.contrast(against_all(seen.user, main.user, batch.user))
        items = self.contrast(against_all(seen.item, main.item, batch.positive))
        decay = squared_length(*self.parameters())
        return {"rank": rank, "contrast": self.weight * (users + items), "decay": self.decay * decay}

    def evidence(self, batch: Pairs) -> dict[str, Any]:
        """What ``diagnostics`` looks at: every item and its view."""
        main, seen = self.views()
        return {"embeddings": main.item, "views": (main.item, seen.item)}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, self.embed).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, self.embed).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

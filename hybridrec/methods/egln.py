"""EGLN."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.discriminators.bilinear import Bilinear
from hybridrec.encoders.graph import LightGCN
from hybridrec.encoders.table import NodeTable
from hybridrec.foldin import known_or_folded
from hybridrec.losses.contrastive import jensen_shannon
from hybridrec.losses.ranking import bpr, squared_norm
from hybridrec.memo import Memo
from hybridrec.saving import configured
from hybridrec.views.model import LinkProposal, Proposed, WeighedGraph

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset
    from hybridrec.graph import Graph


@configured
class EGLN(nn.Module):
    """The graph gains the links it seems to lack, and every true link tells of the whole of it.

    Yang et al. 2021, Enhanced graph learning for CF via mutual information maximization (SIGIR, doi
    10.1145/3404835.3462928), sec. 3; links are proposed anew before every epoch, and the likeness of users and items is fitted
    to the pairs of the batch, where the authors fit the whole matrix.
    contrastive | model-based views | natural pairs | Jensen-Shannon

    ``links`` are proposed for every node after ``warmup`` epochs on the graph as it is, since what vectors that know nothing
    propose is noise (the authors load a trained encoder); ``structure`` and ``inform`` weigh the fit of the graph and mutual
    information, ``alpha`` every layer (their mean unless given).
    """

    sampler = PairSampler
    epochs: Tensor

    def __init__(
        self,
        data: Dataset,
        dim: int = 32,
        depth: int = 3,
        links: int = 2,
        structure: float = 0.1,
        inform: float = 0.1,
        warmup: int = 20,
        decay: float = 1e-4,
        alpha: float | None = None,
    ) -> None:
        super().__init__()
        self.graph = data.graph()
        self.nodes = NodeTable(data.sides, dim)
        self.view, self.encoder = LinkProposal(dim, links), LightGCN(depth, alpha)
        self.discriminator = Bilinear(2 * dim)
        self.structure, self.inform, self.warmup, self.decay = structure, inform, warmup, decay
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))  # begun
        self._proposed: Proposed | None = None
        self._memo = Memo()

    def propose(self) -> Proposed | None:
        """The graph with the links that the embeddings of now propose; None until the warm-up is over."""
        if int(self.epochs) <= self.warmup:
            return None
        free = self.nodes.split(self.nodes())
        return self.view.propose(self.graph, free.user, free.item)

    def refresh(self) -> None:
        """Begin an epoch: propose links anew."""
        self.epochs += 1
        self._proposed = self.propose()

    def enhanced(self, proposed: Proposed | None) -> Graph | WeighedGraph:
        """The proposed graph, its links weighed by the embeddings of now; the graph as it is where none is proposed."""
        if proposed is None:
            return self.graph
        free = self.nodes.split(self.nodes())
        return self.view.weigh(proposed, free.user, free.item)

    def embed(self) -> SimpleNamespace:
        """Embeddings smoothed over the enhanced graph, by side: ``.user`` (U, D), ``.item`` (I, D)."""
        return self.nodes.split(self.encoder(self.enhanced(self.propose()), self.nodes()))

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``rank``, ``structure``, ``inform`` and ``decay`` of a batch of pairs."""
        graph = self.enhanced(self._proposed or self.propose())
        main, free = self.nodes.split(self.encoder(graph, self.nodes())), self.nodes.split(self.nodes())
        rank = bpr(main.user[batch.user], main.item[batch.positive], main.item[batch.negative])
        user, item = self.view.project(free.user, free.item)
        near, far = ((user[batch.user] * item[i]).sum(1).sigmoid() for i in (batch.positive, batch.negative))
        fit = (1 - near).square().mean() + far.square().mean()
        # A link is the two ends side by side; the graph is the mean of its links, that is, of nodes by their degree.
        users, items = main.user.sigmoid(), main.item.sigmoid()
        share = self.nodes.split(graph.degree.unsqueeze(1) / (graph.degree.sum() / 2))
        whole = torch.cat([(share.user * users).sum(0), (share.item * items).sum(0)])  # (2D,)
        true, false = (torch.cat([users[batch.user], items[i]], 1) for i in (batch.positive, batch.negative))
        inform = jensen_shannon(self.discriminator(true, whole), self.discriminator(false, whole))
        decay = squared_norm(free.user[batch.user], free.item[batch.positive], free.item[batch.negative])
        terms = {"rank": rank, "structure": self.structure * fit, "inform": self.inform * inform}
        return {**terms, "decay": self.decay * decay}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, self.embed).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, self.embed).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

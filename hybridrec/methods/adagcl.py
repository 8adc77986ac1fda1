"""AdaGCL."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.encoders.graph import LightGCN, Propagates
from hybridrec.encoders.row import moved
from hybridrec.encoders.table import NodeTable
from hybridrec.foldin import known_or_folded
from hybridrec.losses.adversarial import discriminate
from hybridrec.losses.contrastive import info_nce
from hybridrec.losses.ranking import bpr, squared_length
from hybridrec.losses.reconstruction import gaussian_kl
from hybridrec.memo import Memo
from hybridrec.pairs.natural import natural
from hybridrec.saving import configured
from hybridrec.views.generative import LinkDecoder
from hybridrec.views.model import EdgeMask

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class AdaGCL(nn.Module):
    """A graph rewritten by a variational autoencoder agrees on every node with one whose edges pass through learned gates.

    Jiang et al. 2023, AdaGCL, arXiv 2305.10837, eqs. 2 to 12. Either generator learns from embeddings that it does not move,
    those of now (in the authors' code the first has a table of its own), and the contrast moves the embeddings alone. Left out
    is the code's further step, which contrasts each view with itself a step before.
    contrastive | model-based views | natural pairs | InfoNCE

    ``weight`` is lambda_1; ``beta`` that of the autoencoder's KL, ``sparse`` that of open gates; gates harden from
    temperature 2 by ``cooling`` an epoch; ``decay`` over all parameters.
    """

    sampler = PairSampler

    def __init__(
        self,
        data: Dataset,
        dim: int = 32,
        depth: int = 2,
        temperature: float = 0.5,
        weight: float = 0.1,
        beta: float = 0.1,
        sparse: float = 1e-4,
        cooling: float = 0.98,
        decay: float = 1e-5,
    ) -> None:
        super().__init__()
        self.graph = data.graph()
        self.nodes = NodeTable(data.sides, dim)
        self.encoder = LightGCN(depth, alpha=1.0)
        self.generator = LinkDecoder(dim)
        self.gates = nn.ModuleList(EdgeMask(dim) for _ in range(depth))
        self.temperature, self.weight, self.beta, self.sparse = temperature, weight, beta, sparse
        self.cooling, self.decay = cooling, decay
        self._heat = 2.0
        self._memo = Memo()

    def refresh(self) -> None:
        """Harden the gates a little."""
        self._heat = max(0.05, self._heat * self.cooling)

    def embed(self, graph: Propagates) -> SimpleNamespace:
        """Embeddings smoothed over ``graph`` by side: ``.user`` (U, D), ``.item`` (I, D)."""
        return self.nodes.split(self.encoder(graph, self.nodes()))

    def gated(self, x: Tensor, heat: float | None) -> tuple[list[Propagates], Tensor]:
        """The graphs that the gates leave for embeddings ``x`` (N, D), one a layer, and how open the gates are, summed."""
        graphs: list[Propagates] = []
        opened = x.new_zeros(())
        for gate in self.gates:
            graph, share = gate(self.graph, x, heat)
            opened = opened + share
            graphs.append(graph)
            x = graph.propagate(x)
        return graphs, opened

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``rank``, ``contrast``, ``generate``, ``denoise`` and ``decay`` of a batch of pairs."""
        main = self.embed(self.graph)
        rank = bpr(main.user[batch.user], main.item[batch.positive], main.item[batch.negative])
        z, generate = self.generate(torch.cat([main.user, main.item]).detach(), batch)
        free = self.nodes().detach()
        graphs, opened = self.gated(free, self._heat)
        clean = self.nodes.split(self.encoder(graphs, free))
        denoise = bpr(clean.user[batch.user], clean.item[batch.positive], clean.item[batch.negative]) + self.sparse * opened
        one, two = self.views(z)
        users = info_nce(natural(one.user, two.user, batch.user), self.temperature)
        items = info_nce(natural(one.item, two.item, batch.positive), self.temperature)
        decay = self.decay * squared_length(*self.parameters())
        contrast = self.weight * (users + items)
        return {"rank": rank, "contrast": contrast, "generate": generate, "denoise": denoise, "decay": decay}

    def generate(self, seen: Tensor, batch: Pairs) -> tuple[Tensor, Tensor]:
        """Latents (N, D) of embeddings ``seen`` (N, D), and how badly they tell true links from drawn ones."""
        mean, log_variance = self.generator.mean(seen), self.generator.log_variance(seen)
        z = moved(mean, log_variance, torch.randn_like(mean))  # of nodes: the same in all processes, as they stand
        latent = self.nodes.split(z)
        user, near, far = latent.user[batch.user], latent.item[batch.positive], latent.item[batch.negative]
        links = discriminate(self.generator.logits(user, near), self.generator.logits(user, far))
        return z.detach(), links + self.beta * gaussian_kl(mean, log_variance) + bpr(user, near, far)

    def views(self, z: Tensor) -> tuple[SimpleNamespace, SimpleNamespace]:
        """Embeddings over the graph that latents ``z`` (N, D) rewrite, and over that which calm gates leave."""
        with torch.no_grad():
            rewritten, (calm, _) = self.generator(self.graph, z), self.gated(self.nodes(), None)
        return self.embed(rewritten), self.nodes.split(self.encoder(calm, self.nodes()))

    def evidence(self, batch: Pairs) -> dict[str, Any]:
        """What ``diagnostics`` looks at: every item and its two views."""
        main = self.embed(self.graph)
        one, two = self.views(self.generate(torch.cat([main.user, main.item]), batch)[0])
        return {"embeddings": main.item, "views": (one.item, two.item)}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, lambda: self.embed(self.graph)).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, lambda: self.embed(self.graph)).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T

"""RLMRec: collaborative embeddings held to what texts say of the same users and items."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.data.batches import Pairs, PairSampler, Query
from hybridrec.encoders.graph import LightGCN
from hybridrec.encoders.row import mean_of
from hybridrec.encoders.table import NodeTable
from hybridrec.encoders.tied import feature
from hybridrec.errors import DataError
from hybridrec.foldin import known_or_folded
from hybridrec.losses.contrastive import info_nce
from hybridrec.losses.ranking import bpr, squared_norm
from hybridrec.memo import Memo
from hybridrec.pairs.natural import Contrast, dealt
from hybridrec.saving import configured
from hybridrec.views.data import EdgeDrop

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class RLMRec(nn.Module):
    """LightGCN whose users and items agree with their embedded texts: RLMRec-Con.

    Ren et al. 2024, Representation learning with large language models for recommendation, arXiv 2310.15950, eqs. 6 and 7:
    ``-log exp(cos(e, f(s)) / t) / sum_j exp(cos(e, f(s_j)) / t)``, with f a perceptron that takes texts s to the width of e.
    contrastive | data-based views (edge dropping, text) | natural pairs | InfoNCE
    Scenario: general, multi-modal

    Candidates are the texts of the batch's nodes, each node once; the authors' code has all users' texts for users, counts a
    node as often as it is drawn, and thins the ranking's graph to ``keep`` of its edges, as here. ``weight`` and
    ``temperature`` are of the alignment, ``decay`` of the L2 term over the batch (the code's is over all parameters),
    ``alpha`` the weight of every layer (their mean unless given; the code adds layers up, 1).

    Texts are frozen vectors of ``text_dim`` numbers, features ``modality``: of items, and of users where there are such, else
    the mean of what they chose. Shapes: ``texts`` (N, F), users first. Raises DataError where the data have rows and no such
    features.
    """

    sampler = PairSampler
    texts: Tensor

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        depth: int = 3,
        modality: str = "text",
        text_dim: int = 384,
        keep: float = 0.8,
        temperature: float = 0.2,
        weight: float = 1e-2,
        decay: float = 1e-4,
        alpha: float | None = None,
    ) -> None:
        super().__init__()
        self.graph, self.nodes, self.encoder = data.graph(), NodeTable(data.sides, dim), LightGCN(depth, alpha)
        self.view = EdgeDrop(keep)
        self.meaning = perceptron(text_dim, dim)
        self.register_buffer("texts", profiles(data, modality, text_dim), persistent=False)
        self.temperature, self.weight, self.decay = temperature, weight, decay
        self._memo = Memo()

    def embed(self) -> SimpleNamespace:
        """Smoothed embeddings by side: ``.user`` (U, D), ``.item`` (I, D)."""
        return self.nodes.split(self.encoder(self.graph, self.nodes()))

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``rank``, ``align`` and ``decay`` of a batch of pairs."""
        x = self.encoder(self.view(self.graph), self.nodes())  # (N, D)
        align = [
            info_nce(met(index, lambda n: x[n], lambda n: self.meaning(self.texts[n])), self.temperature)
            for index in places(self.nodes, batch)
        ]
        return {**ranking(self.nodes, x, batch, self.decay), "align": self.weight * torch.stack(align).sum()}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, self.embed).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, self.embed).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T


@configured
class RLMRecGen(nn.Module):
    """LightGCN that rebuilds the embedded texts of nodes whose own embeddings were hidden: RLMRec-Gen.

    Ren et al. 2024, arXiv 2310.15950, eqs. 6 and 8: a share ``hidden`` of nodes has a learned token in place of its embedding,
    and a perceptron of what the graph makes of it must pick that node's text among those of all hidden nodes. The ranking
    term reads the same masked embeddings, as the authors' code does.
    reconstructive | data-based views (masking, edge dropping, text) | natural pairs | InfoNCE
    Scenario: general, multi-modal

    Arguments, texts, shapes and errors are those of ``RLMRec``.
    """

    sampler = PairSampler
    texts: Tensor

    def __init__(
        self,
        data: Dataset,
        dim: int = 64,
        depth: int = 3,
        modality: str = "text",
        text_dim: int = 384,
        keep: float = 0.8,
        hidden: float = 0.1,
        temperature: float = 0.2,
        weight: float = 1e-2,
        decay: float = 1e-4,
        alpha: float | None = None,
    ) -> None:
        super().__init__()
        self.graph, self.nodes, self.encoder = data.graph(), NodeTable(data.sides, dim), LightGCN(depth, alpha)
        self.view, self.hidden = EdgeDrop(keep), hidden
        self.token = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, dim)))
        self.meaning = perceptron(dim, text_dim)
        self.register_buffer("texts", profiles(data, modality, text_dim), persistent=False)
        self.temperature, self.weight, self.decay = temperature, weight, decay
        self._memo = Memo()

    def embed(self) -> SimpleNamespace:
        """Smoothed embeddings by side: ``.user`` (U, D), ``.item`` (I, D)."""
        return self.nodes.split(self.encoder(self.graph, self.nodes()))

    def masked(self) -> Tensor:
        """Which nodes are hidden in this step (n,), one at least."""
        count = max(1, int(self.hidden * len(self.texts)))
        return torch.randperm(len(self.texts), device=self.texts.device)[:count]

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Terms ``rank``, ``rebuild`` and ``decay`` of a batch of pairs."""
        hidden, free = self.masked(), self.nodes()
        away = torch.zeros(len(free), 1, dtype=torch.bool, device=free.device).index_fill_(0, hidden, True)
        x = self.encoder(self.view(self.graph), torch.where(away, self.token, free))  # (N, D)
        pairs = met(hidden, lambda n: self.meaning(x[n]), lambda n: self.texts[n])
        return {**ranking(self.nodes, x, batch, self.decay), "rebuild": self.weight * info_nce(pairs, self.temperature)}

    def catalogue(self) -> Tensor:
        """Item vectors (I, D)."""
        return self._memo(self, self.embed).item

    def represent(self, query: Query) -> Tensor:
        """User vectors (B, D): learned where the user is known, else folded in from the history."""
        return known_or_folded(query, self._memo(self, self.embed).user, self.catalogue())

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.represent(query) @ self.catalogue().T


def profiles(data: Dataset, modality: str, width: int) -> Tensor:
    """Texts of users, then of items, of length 1: (N, ``width``); empty where ``data`` have no rows. Raises DataError."""
    if not len(data.train):
        return torch.empty(0, width)
    items = F.normalize(feature(data, modality).values.float(), dim=1)
    if items.shape[1] != width:
        raise DataError(f"features {modality!r} of {data.name!r} have {items.shape[1]} numbers; pass text_dim={items.shape[1]}")
    own = data.features.get(data.source, {}).get(modality)
    users = mean_of(data.histories(), items) if own is None else own.values.float()
    return torch.cat([F.normalize(users, dim=1), items])


def perceptron(width: int, out: int) -> nn.Sequential:
    """The authors' two layers with a leaky ReLU between, half way from ``width`` to ``out``."""
    between = (width + out) // 2
    first, second = nn.Linear(width, between), nn.Linear(between, out)
    for layer in (first, second):
        nn.init.xavier_uniform_(layer.weight)
    return nn.Sequential(first, nn.LeakyReLU(), second)


def met(index: Tensor, one: Callable[[Tensor], Tensor], two: Callable[[Tensor], Tensor]) -> Contrast:
    """Two views of the nodes in ``index`` (n,), each node once, and made for no others."""
    nodes, mine, over = dealt(index)
    return Contrast(one(nodes[mine]), two(nodes), mine, over)


def places(nodes: NodeTable, batch: Pairs) -> tuple[Tensor, ...]:
    """Where the batch's users, chosen items and other items stand among all nodes."""
    of = nodes.split(torch.arange(len(nodes()), device=batch.user.device))
    return of.user[batch.user], of.item[batch.positive], of.item[batch.negative]


def ranking(nodes: NodeTable, x: Tensor, batch: Pairs, decay: float) -> dict[str, Tensor]:
    """Terms ``rank``, over embeddings ``x`` (N, D), and ``decay``, over the free ones."""
    at = places(nodes, batch)
    return {"rank": bpr(*(x[n] for n in at)), "decay": decay * squared_norm(*(nodes()[n] for n in at))}

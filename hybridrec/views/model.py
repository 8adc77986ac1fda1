"""Model-based views: a second structure or a second model, made from the first or learned beside it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.errors import ArgumentError
from hybridrec.graph import Graph
from hybridrec.saving import configured


class SVDGraph(nn.Module):
    """The ``rank`` largest singular components of a user-item graph: what all of it says, none of its noise.

    LightGCL, Cai et al. 2023, arXiv 2302.08191, eqs. 3 to 5: ``R ~ U S V'``, kept as two factors and never multiplied out.
    Shapes: ``users`` (U, rank) and ``items`` (I, rank) hold U and V, ``spectrum`` (rank,) S; N = U + I.
    """

    users: Tensor
    items: Tensor
    spectrum: Tensor

    def __init__(self, graph: Graph, users: int, rank: int = 5) -> None:
        super().__init__()
        row, col = graph.row, graph.col.long()
        up = row < users  # each edge once: the user's entry
        block = torch.sparse_coo_tensor(
            torch.stack([row[up], col[up] - users]), graph.value[up], (users, graph.nodes - users), check_invariants=True
        )
        rank = min(rank, *block.shape)
        # A random projection, wider than the rank and iterated, then cut, finds the leading subspace.
        u, s, v = torch.svd_lowrank(block, q=min(rank + 10, *block.shape), niter=8)
        for name, x in (("users", u), ("items", v), ("spectrum", s)):
            self.register_buffer(name, x[..., :rank].contiguous())

    def propagate(self, x: Tensor) -> Tensor:
        """``A x`` for the low-rank graph, node embeddings ``x`` (N, D) -> (N, D)."""
        user, item = x.split([len(self.users), len(self.items)])
        s = self.spectrum.unsqueeze(1)
        return torch.cat([self.users @ (s * (self.items.T @ item)), self.items @ (s * (self.users.T @ user))])


class LearnedHypergraph(nn.Module):
    """Hyperedges learned as vectors: node v belongs to hyperedge h by ``scale <x_v, w_h>``.

    HCCF, Xia et al. 2022, arXiv 2204.12200, eq. 5. ``weight`` (D, H); embeddings (N, D) -> incidence (N, H). With
    ``hyperedges=None`` every direction of the embeddings is one, and nothing else is learned: the authors' code for sparse
    data. Messages through a hyperedge are sums over all nodes: ``scale``, ``mult`` there, keeps them in bounds where nodes
    are many.
    """

    def __init__(self, dim: int, hyperedges: int | None = 128, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.weight = None
        if hyperedges is not None:
            self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(dim, hyperedges)))

    def forward(self, x: Tensor) -> Tensor:
        """The incidence of every node: (N, H)."""
        return x * self.scale if self.weight is None else x @ (self.weight * self.scale)


class MomentumTwin(nn.Module):
    """A copy of a module that follows it: ``theta' <- m theta' + (1 - m) theta``, without gradients.

    BYOL, Grill et al. 2020, arXiv 2006.07733, sec. 3.1; BUIR, Lee et al. 2021, arXiv 2105.06323, eq. 3. The original is
    handed to every call of ``follow``, so that the twin owns its copy alone.
    """

    def __init__(self, module: nn.Module, momentum: float = 0.995) -> None:
        super().__init__()
        self.momentum = momentum
        self.copy = copy.deepcopy(module).requires_grad_(False)

    @torch.no_grad()
    def follow(self, module: nn.Module) -> None:
        """One step towards ``module``."""
        for mine, its in zip(self.copy.parameters(), module.parameters(), strict=True):
            mine.lerp_(its, 1 - self.momentum)

    @torch.no_grad()
    def forward(self, *args: Any) -> Any:
        """What the copy answers."""
        return self.copy(*args)


@configured
class ModelDropout:
    """A module as its dropout makes it, drawn anew at every call: DuoRec, Qiu et al. 2022, arXiv 2110.05730, section 3.3.

    The same weights, training or not; gradients flow. ``rate`` takes the place of every dropout's own, None keeps them.
    """

    def __init__(self, rate: float | None = None) -> None:
        if rate is not None and not 0 <= rate < 1:
            raise ArgumentError(f"rate must lie in [0, 1), not {rate}")
        self.rate = rate

    def __call__(self, x: nn.Module) -> Callable[..., Any]:
        """``x`` under dropout, to be called as ``x`` is."""

        def dropped(*args: Any) -> Any:
            training = {module: module.training for module in x.modules()}
            rates = {drop: drop.p for drop in x.modules() if isinstance(drop, nn.Dropout)}
            try:
                x.train()
                for drop, own in rates.items():
                    drop.p = own if self.rate is None else self.rate
                return x(*args)
            finally:
                for module, was in training.items():
                    module.training = was
                for drop, own in rates.items():
                    drop.p = own

        return dropped


class EdgeMask(nn.Module):
    """Learned gates on the edges of a graph, from the embeddings of their ends: hard-concrete, so that they reach 0 and 1.

    Louizos et al. 2018, arXiv 1712.01312, eqs. 10 and 11; on graphs in PTDNet (Luo et al. 2021, arXiv 2011.07057) and
    AdaGCL (Jiang et al. 2023, arXiv 2305.10837, eq. 7). Both entries of an edge share a gate.
    Shapes: ``logits`` and ``forward`` give one number an edge, (E,).
    """

    def __init__(self, dim: int, low: float = -0.45, high: float = 1.05) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.near = nn.Linear(dim, dim)
        self.judge = nn.Linear(dim, 1)

    def logits(self, graph: Graph, x: Tensor) -> Tensor:
        """How much each edge is believed: (E,)."""
        first, second = graph.ends
        hidden = F.relu(self.near(x))
        return self.judge(hidden[first] + hidden[second]).squeeze(1)

    def gate(self, logits: Tensor, temperature: float | None = 1.0) -> Tensor:
        """Gates in [0, 1]: random while training, their middle otherwise or where ``temperature`` is None."""
        if self.training and temperature is not None:
            u = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6)
            logits = (u.log() - (-u).log1p() + logits) / temperature
        return (logits.sigmoid() * (self.high - self.low) + self.low).clamp(0, 1)

    def forward(self, graph: Graph, x: Tensor, temperature: float | None = 1.0) -> tuple[WeighedGraph, Tensor]:
        """The graph with its edges gated, normalised by what is left of them, and the share of gates that are open."""
        logits = self.logits(graph, x)
        return weighed(graph, self.gate(logits, temperature)[graph.edge]), self.open(logits, temperature or 1.0)

    def open(self, logits: Tensor, temperature: float = 1.0) -> Tensor:
        """The expected share of gates that are not 0, arXiv 1712.01312 eq. 12: the L0 penalty, a scalar."""
        shift = torch.log(torch.tensor(-self.low / self.high, device=logits.device))
        return torch.sigmoid(logits - temperature * shift).mean()


class CosineGraph(nn.Module):
    """The graph reweighed by how alike the ends of its edges are: ``(cos + 1) / 2``, each row summing to 1.

    DCCF, Ren et al. 2023, arXiv 2305.02759, eqs. 8 to 10. No parameter of its own: it learns through what it is shown.
    """

    def forward(self, graph: Graph, seen: Tensor, x: Tensor) -> Tensor:
        """``x`` (N, D) averaged over neighbours, weighed by the likeness of ``seen`` (N, D): (N, D)."""
        unit = F.normalize(seen, dim=-1)
        weight = (graph.dot(unit, unit) + 1) / 2  # (2E,)
        mass = weight.new_zeros(graph.nodes).index_add(0, graph.row, weight)
        return graph.aggregate(x, weight) / mass.clamp(min=1e-12).unsqueeze(1)


class Proposed(NamedTuple):
    """A graph with links added, and which of its entries were there before: ``true`` (2E,)."""

    graph: Graph
    true: Tensor


@dataclass(frozen=True)
class WeighedGraph:
    """A graph whose entries have weights (2E,) of their own, and the weighted ``degree`` (N,) of its nodes."""

    graph: Graph
    weight: Tensor
    degree: Tensor

    def propagate(self, x: Tensor) -> Tensor:
        """``A x``, with gradients to the weights too: (N, D) -> (N, D)."""
        return self.graph.aggregate(x, self.weight)


def weighed(graph: Graph, value: Tensor, least: float = 0.01) -> WeighedGraph:
    """``graph`` with entries worth ``value`` (2E,), normalised symmetrically: ``value_ij / sqrt(degree_i degree_j)``.

    Degrees are sums of values, and count as ``least`` where they are lower.
    """
    degree = value.new_zeros(graph.nodes).index_add(0, graph.row, value)
    scale = degree.clamp(min=least).rsqrt()
    return WeighedGraph(graph, value * scale[graph.row] * scale[graph.col], degree)


class LinkProposal(nn.Module):
    """The links a graph seems to lack: for every node of one side the ``k`` of the other that look most alike.

    EGLN, Yang et al. 2021 (SIGIR, doi 10.1145/3404835.3462928), sec. 3.1: ``s_ui = sigmoid cos(W_1 u, W_2 i)``. A true link
    weighs 1, a proposed one s, and the whole is normalised symmetrically. Proposals are found without a (U, I) matrix.
    """

    def __init__(self, dim: int, k: int = 2) -> None:
        super().__init__()
        self.k = k
        self.user, self.item = (nn.Parameter(nn.init.xavier_uniform_(torch.empty(dim, dim))) for _ in range(2))

    def project(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Where users (U, D) and items (I, D) are compared, of unit length."""
        return F.normalize(user @ self.user, dim=1), F.normalize(item @ self.item, dim=1)

    @torch.no_grad()
    def propose(self, graph: Graph, user: Tensor, item: Tensor) -> Proposed:
        """``graph`` and the links proposed for it, from embeddings of users (U, D) and items (I, D)."""
        u, i = self.project(user, item)
        links = []
        for one, other, flip in ((u, i, False), (i, u, True)):
            k = min(self.k, len(other))
            best = torch.cat([(part @ other.T).topk(k, dim=1).indices for part in one.split(max(1, (1 << 22) // len(other)))])
            row = torch.arange(len(one), device=best.device).repeat_interleave(k)
            pair = torch.stack([best.flatten(), row] if flip else [row, best.flatten()])
            links.append(pair + pair.new_tensor([[0], [len(u)]]))
        whole = Graph.between(torch.cat([torch.stack(graph.ends), *links], dim=1), graph.start, graph.nodes)
        true = torch.isin(whole.row * whole.nodes + whole.col, graph.row * graph.nodes + graph.col)
        return Proposed(whole, true)

    def weigh(self, proposed: Proposed, user: Tensor, item: Tensor) -> WeighedGraph:
        """The proposed graph with weights that gradients pass through: something with ``propagate``."""
        seen = torch.cat(self.project(user, item))
        value = torch.where(proposed.true, 1.0, torch.sigmoid(proposed.graph.dot(seen, seen)))  # (2E,)
        return weighed(proposed.graph, value)

"""Encoders over graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from hybridrec.errors import ArgumentError
from hybridrec.graph import Graph


class Propagates(Protocol):
    """What an encoder asks of a graph: the product ``A x``, (N, D) -> (N, D)."""

    def propagate(self, x: Tensor) -> Tensor: ...


def _same(x: Tensor) -> Tensor:
    return x


class LightGCN(nn.Module):
    """Neighbours averaged layer by layer, layers added up: ``sum_k alpha A^k x``.

    He et al. 2020, LightGCN, arXiv 2002.02126, eqs. 3, 4 and 8. ``alpha`` weighs every layer, ``1 / (depth + 1)`` unless
    given (several code bases take 1). ``x`` (N, D) -> (N, D).
    """

    def __init__(self, depth: int = 3, alpha: float | None = None) -> None:
        super().__init__()
        self.depth = depth
        self.alpha = 1 / (depth + 1) if alpha is None else alpha

    def forward(self, graph: Propagates | Sequence[Propagates], x: Tensor) -> Tensor:
        """Smooth ``x`` (N, D) over ``graph``, one graph for all layers or one a layer: (N, D)."""
        return self.joined(self.layers(graph, x))

    def joined(self, layers: Sequence[Tensor]) -> Tensor:
        """``layers``, (N, D) each, weighed and added up: (N, D)."""
        first, *rest = layers
        for layer in rest:
            first = first + layer
        return first * self.alpha

    def layers(
        self, graph: Propagates | Sequence[Propagates], x: Tensor, noise: Callable[[Tensor], Tensor] = _same
    ) -> list[Tensor]:
        """``x`` and what each layer makes of it, passed through ``noise`` on its way: depth + 1 of (N, D)."""
        steps = graph if isinstance(graph, Sequence) else [graph] * self.depth
        layers = [x]
        for step in steps:
            layers.append(noise(step.propagate(layers[-1])))
        return layers


class Attention(nn.Module):
    """Multi-head attention of every node over its neighbours and itself.

    The graph transformer of AutoCF (Xia et al. 2023, arXiv 2303.07797, eq. 9): ``sum_h softmax_j(<Q_h x_i, K_h x_j>) V_h x_j``,
    heads side by side, logits held in [-10, 10]. ``x`` (N, D) -> (N, D).
    """

    def __init__(self, dim: int, heads: int = 4) -> None:
        super().__init__()
        if dim % heads:
            raise ArgumentError(f"width {dim} cannot be shared by {heads} heads: take a multiple")
        self.heads = heads
        self.query, self.key, self.value = (nn.Parameter(nn.init.xavier_uniform_(torch.empty(dim, dim))) for _ in range(3))

    def forward(self, graph: Graph, x: Tensor) -> Tensor:
        """Attend over ``graph``: (N, D)."""
        parts = []
        for (near, own, mass), v in zip(self.heads_of(graph, x), (x @ self.value).chunk(self.heads, 1), strict=True):
            parts.append((graph.aggregate(v, near) + own.unsqueeze(1) * v) / mass.unsqueeze(1))
        return torch.cat(parts, dim=1)

    def weights(self, graph: Graph, x: Tensor) -> Tensor:
        """What every entry is worth to its row, summed over heads: (2E,)."""
        return torch.stack([near / mass[graph.row] for near, _, mass in self.heads_of(graph, x)]).sum(0)

    def heads_of(self, graph: Graph, x: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """By head: the exponentials of every entry (2E,) and of the node itself (N,), and their sum (N,)."""
        for q, k in zip(*((x @ w).chunk(self.heads, 1) for w in (self.query, self.key)), strict=True):
            # exp is safe within +-10, and the node itself joins without an entry of its own.
            near = graph.dot(q, k).clamp(-10, 10).exp()  # (2E,)
            own = (q * k).float().sum(1).clamp(-10, 10).exp()  # (N,)
            yield near, own, own + own.new_zeros(len(own)).index_add(0, graph.row, near)

"""Encoders of where a node stands in its graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hybridrec.graph import Graph


class AnchorPosition(nn.Module):
    """What a node hears from anchors, the less the further they are: ``mean_k W [x_k / (d_vk + 1), x_v]``.

    P-GNN, You et al. 2019, arXiv 1906.04817, eq. 2, as GFormer (Li et al. 2023, arXiv 2306.02330, eq. 3) has it. The mean
    goes through W, so that no (N, K, D) is held. Without ``own`` the node's own x_v is left out: only where it stands counts.
    ``near`` (N, K), ``x`` (N, D) -> (N, D).
    """

    def __init__(self, dim: int, own: bool = True) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * dim if own else dim, dim)
        self.own = own

    def forward(self, near: Tensor, anchor: Tensor, x: Tensor) -> Tensor:
        """Where every node stands, from nearness (N, K) to the nodes ``anchor`` (K,): (N, D)."""
        heard = near @ x[anchor] / len(anchor)
        return self.mix(torch.cat([heard, x], dim=1) if self.own else heard)


@torch.no_grad()
def nearness(graph: Graph, anchor: Tensor) -> Tensor:
    """``1 / (d + 1)`` for the steps d of the shortest path from every node to each ``anchor`` (K,), 0 without one: (N, K)."""
    one = torch.ones(len(graph.col), device=graph.col.device)
    reached = torch.zeros(graph.nodes, len(anchor), device=one.device)
    reached[anchor, torch.arange(len(anchor), device=one.device)] = 1
    near, steps = reached.clone(), 1
    while bool((front := (graph.aggregate(reached, one) > 0) & (reached == 0)).any()):
        steps += 1
        reached[front], near[front] = 1, 1 / steps
    return near

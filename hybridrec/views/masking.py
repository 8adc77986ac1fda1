"""A model-based view for masked autoencoding: which parts of a graph are hidden is learned."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridrec.graph import Graph


class Masked(NamedTuple):
    """A graph with parts hidden, and the graph that the decoder is asked to look along."""

    encoder: Graph
    decoder: Graph


class SubgraphMask:
    """Hides the surroundings of nodes that agree most with them, and offers the decoder false links to tell from true ones.

    AutoCF, Xia et al. 2023, arXiv 2303.07797, eqs. 3 to 8. ``seeds`` nodes are drawn by ``consistency``; every edge within
    ``hops`` of one is hidden. The decoder sees what is left and as many random links as the graph has entries, among the
    masked nodes and a share ``extra`` of all nodes.
    """

    def __init__(self, seeds: int = 100, hops: int = 2, extra: float = 0.2) -> None:
        self.seeds, self.hops, self.extra = seeds, hops, extra

    def draw(self, graph: Graph, x: Tensor) -> tuple[Masked, Tensor]:
        """The masked graph for node embeddings ``x`` (N, D), and the noisy scores (N,) whose mean is to be raised."""
        score = consistency(graph, x).log()
        uniform = torch.rand_like(score).clamp(min=1e-8)
        score = score - (-uniform.log()).log()  # Gumbel noise: the largest are a draw without replacement
        with torch.no_grad():
            return self.mask(graph, score.topk(min(self.seeds, len(score))).indices), score

    def mask(self, graph: Graph, seeds: Tensor) -> Masked:
        """Hide what surrounds ``seeds`` (n,)."""
        low, high = graph.ends
        front = torch.zeros(graph.nodes, dtype=torch.bool, device=low.device)
        front[seeds] = True
        masked, kept = front.clone(), torch.ones_like(low, dtype=torch.bool)
        for hop in range(self.hops):
            touched = kept & (front[low] | front[high])
            kept &= ~touched
            front = torch.zeros_like(front)
            front[low[touched]] = True
            front[high[touched]] = True
            if hop < self.hops - 1:
                masked |= front
        masked[torch.randint(graph.nodes, (int(self.extra * graph.nodes),), device=low.device)] = True
        among = masked.nonzero().flatten()
        ends = among[torch.randint(len(among), (2, 2 * graph.edges), device=low.device)]
        links = torch.cat([ends, torch.stack([low[kept], high[kept]])], dim=1)
        return Masked(graph.keep(kept), Graph.between(links, graph.start, graph.nodes))


def consistency(graph: Graph, x: Tensor) -> Tensor:
    """How much each node agrees with the nodes up to two steps away: ``sigmoid cos(x_v, their mean)``, (N,), with gradient.

    arXiv 2303.07797, eq. 3, with the authors' counts of walks as weights. ``x`` (N, D).
    """
    one = x.new_ones(len(graph.col))
    degree = graph.degree.to(x.dtype).unsqueeze(1)
    first = graph.aggregate(x, one) - x
    second = graph.aggregate(first, one) - first - degree * x
    count = degree + graph.aggregate(degree, one) - 2 * degree
    around = (first + second) / (count + 1e-8)
    return torch.sigmoid(F.cosine_similarity(around, x, dim=1))

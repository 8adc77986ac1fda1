"""Model-based views for masked autoencoding: which parts of a graph are hidden is learned."""

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
        score = gumbel(consistency(graph, x).log())  # the largest are a draw without replacement
        with torch.no_grad():
            return self.mask(graph, score.topk(min(self.seeds, len(score))).indices), score

    def mask(self, graph: Graph, seeds: Tensor) -> Masked:
        """Hide what surrounds ``seeds`` (n,)."""
        kept, masked = within(graph, seeds, self.hops)
        masked[torch.randint(graph.nodes, (int(self.extra * graph.nodes),), device=masked.device)] = True
        return hidden(graph, kept, masked.nonzero().flatten(), 2 * graph.edges)


def within(graph: Graph, seeds: Tensor, hops: int, keep: float = 1.0) -> tuple[Tensor, Tensor]:
    """Which edges (E,) are left when those at ``seeds`` (n,) are taken away, then those at their other ends, ``hops`` times.

    Of the nodes reached by step k, a share ``keep ** k`` passes on. The second result says at which nodes (N,) edges were
    taken away.
    """
    low, high = graph.ends
    front = torch.zeros(graph.nodes, dtype=torch.bool, device=low.device)
    front[seeds] = True
    masked, kept = front.clone(), torch.ones_like(low, dtype=torch.bool)
    for hop in range(1, hops + 1):
        touched = kept & (front[low] | front[high])
        kept &= ~touched
        front = torch.zeros_like(front)
        front[low[touched]] = True
        front[high[touched]] = True
        if keep < 1:
            front &= torch.rand(graph.nodes, device=low.device) < keep**hop
        if hop < hops:
            masked |= front
    return kept, masked


def hidden(graph: Graph, kept: Tensor, among: Tensor, links: int) -> Masked:
    """``graph`` with only the edges ``kept`` (E,), and with random ``links`` between the nodes ``among`` (n,) besides."""
    ends = among[torch.randint(len(among), (2, links), device=among.device)] if len(among) else among.new_empty(2, 0)
    low, high = graph.ends
    seen = torch.cat([ends, torch.stack([low[kept], high[kept]])], dim=1)
    return Masked(graph.keep(kept), Graph.between(seen, graph.start, graph.nodes))


def gumbel(score: Tensor) -> Tensor:
    """``score`` with Gumbel noise: its k largest are k draws without replacement from ``exp(score)``."""
    return score - (-torch.rand_like(score).clamp(min=1e-8).log()).log()


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


class Rationales(NamedTuple):
    """A graph with parts hidden, and two small graphs: of the edges that matter most, and of those that matter least."""

    masked: Masked
    core: Graph
    rest: Graph


class RationaleMask:
    """Hides edges that explain most, so that they are to be rebuilt, and draws what explains most and least.

    GFormer, Li et al. 2023, arXiv 2306.02330, eqs. 5 to 8: of ``weight`` (E,) on the edges, the encoder's graph is a draw of a
    share ``keep`` from ``exp(-weight)`` (weights held below 3), ``core`` a draw of a share ``share`` from ``weight``, ``rest``
    one from ``exp(-weight)``. The decoder sees ``links`` as many random links as the graph has entries, between ends of what
    was hidden and ``extra`` times as many nodes besides.
    """

    def __init__(self, keep: float = 0.9, share: float = 0.1, extra: float = 0.5, links: float = 0.8) -> None:
        self.keep, self.share, self.extra, self.links = keep, share, extra, links

    @torch.no_grad()
    def __call__(self, graph: Graph, weight: Tensor) -> Rationales:
        dull, bright = -weight.clamp(max=3), (weight + 1e-3).log()
        kept = drawn(dull, self.keep)
        ends = torch.cat(graph.ends)
        lost = ends[~kept.repeat(2)]
        more = ends[torch.randint(len(ends), (int(self.extra * len(lost)),), device=ends.device)]
        masked = hidden(graph, kept, torch.cat([lost, more]), int(self.links * 2 * graph.edges))
        return Rationales(masked, graph.keep(drawn(bright, self.share)), graph.keep(drawn(dull, self.share)))


def drawn(score: Tensor, share: float) -> Tensor:
    """A ``share`` of the entries drawn without replacement from ``exp(score)`` (n,), as a mask (n,)."""
    mask = torch.zeros_like(score, dtype=torch.bool)
    mask[gumbel(score).topk(int(share * len(score))).indices] = True
    return mask

"""Data-based views: what is known of users and items, thinned at random."""

from __future__ import annotations

import torch
from torch import Tensor

from hybridrec.data.batches import Histories
from hybridrec.graph import Graph
from hybridrec.saving import configured
from hybridrec.shares import of_entries, of_rows


def _kept(n: int, keep: float | Tensor, device: torch.device) -> Tensor:
    return torch.rand(n, device=device) < keep


@configured
class EdgeDrop:
    """The graph with each edge kept with probability ``keep``, normalised anew: SGL-ED, Wu et al. 2021, arXiv 2010.10783.

    With ``least`` that probability is drawn between the two at every call, as the authors of BUIR and SelfCF have it.
    """

    def __init__(self, keep: float = 0.9, least: float | None = None) -> None:
        self.keep, self.least = keep, least

    def __call__(self, x: Graph) -> Graph:
        device = x.col.device
        keep = self.keep if self.least is None else torch.empty((), device=device).uniform_(self.least, self.keep)
        return x.keep(_kept(x.edges, keep, device))


@configured
class NodeDrop:
    """The graph with each node, and all its edges, kept with probability ``keep``: SGL-ND, arXiv 2010.10783, eq. 6."""

    def __init__(self, keep: float = 0.9) -> None:
        self.keep = keep

    def __call__(self, x: Graph) -> Graph:
        node = _kept(x.nodes, self.keep, x.col.device)
        edges = torch.zeros(x.edges, dtype=torch.bool, device=node.device)
        edges[x.edge] = node[x.row] & node[x.col]  # both entries of an edge say the same
        return x.keep(edges)


@configured
class RandomWalk:
    """One thinned graph a layer, so that what is reached is a random walk: SGL-RW, arXiv 2010.10783, eq. 8.

    Returns ``depth`` graphs; the graph encoders take one a layer.
    """

    def __init__(self, keep: float = 0.9, depth: int = 3) -> None:
        self.keep, self.depth = keep, depth

    def __call__(self, x: Graph) -> list[Graph]:
        return [x.keep(_kept(x.edges, self.keep, x.col.device)) for _ in range(self.depth)]


@configured
class RowMask:
    """Histories with each entry kept with probability ``keep``: the corruption of CDAE (Wu et al. 2016, WSDM)."""

    def __init__(self, keep: float = 0.5) -> None:
        self.keep = keep

    def __call__(self, x: Histories) -> Histories:
        kept = of_entries(lambda n: _kept(n, self.keep, x.item.device), x)
        ends = torch.cat([x.offset.new_zeros(1), kept.cumsum(0)])
        return Histories(ends[x.offset], x.item[kept], None if x.time is None else x.time[kept])


def part_of_rows(history: Histories, alone: float = 0.0) -> Tensor:
    """Which entries (n,) are left when a share of each row, drawn uniformly, is; of a row none with probability ``alone``."""
    device = history.item.device
    lot = of_rows(lambda rows: torch.rand(rows, 2, device=device), len(history.lengths))
    share = lot[:, 0] * (lot[:, 1] >= alone)
    return of_entries(lambda n: torch.rand(n, device=device), history) < share[history.rows]

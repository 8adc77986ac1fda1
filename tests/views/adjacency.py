"""A small graph and its dense form, for tests of views."""

import torch

from hybridrec.data.dataset import Relation
from hybridrec.graph import Graph


def small_graph():
    """Twelve users, nine items, 60 edges: nodes 0 to 11 and 12 to 20."""
    index = torch.rand(12, 9, generator=torch.Generator().manual_seed(0)).flatten().argsort()[:60]
    return Graph.of([Relation("user", "item", torch.stack([index // 9, index % 9]))], {"user": 12, "item": 9})


def dense(graph):
    """A graph's normalised adjacency as a matrix (N, N)."""
    a = torch.zeros(graph.nodes, graph.nodes)
    a[graph.row, graph.col.long()] = graph.value
    return a

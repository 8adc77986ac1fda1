"""The normalised graph against scipy and dense autograd."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from hybridrec.data.dataset import Relation
from hybridrec.graph import Graph, _Product

USERS, ITEMS = 7, 9


def relation(seed=0, edges=30):
    random = np.random.default_rng(seed)
    return Relation(
        "user", "item", torch.from_numpy(np.stack([random.integers(0, USERS - 1, edges), random.integers(0, ITEMS, edges)]))
    )


def graph(seed=0):
    return Graph.of([relation(seed)], {"user": USERS, "item": ITEMS})


def scipy_normalised(r):
    """``D^-1/2 A D^-1/2`` by scipy, links counted once."""
    row, col = r.index[0].numpy(), r.index[1].numpy() + USERS
    n = USERS + ITEMS
    a = sp.coo_matrix((np.ones(len(row)), (row, col)), (n, n)).tocsr()
    a = ((a + a.T) > 0).astype(float)
    degree = np.asarray(a.sum(1)).ravel()
    scale = sp.diags(np.divide(1, np.sqrt(degree), where=degree > 0, out=np.zeros(n)))
    return (scale @ a @ scale).tocsr()


def dense(g):
    matrix = torch.zeros(g.nodes, g.nodes)
    matrix[g.row.long(), g.col.long()] = g.value
    return matrix


def test_of_agrees_with_scipy():
    g, wanted = graph(), scipy_normalised(relation())
    assert g.crow.tolist() == wanted.indptr.tolist()
    assert g.col.tolist() == wanted.indices.tolist()
    np.testing.assert_allclose(g.value.numpy(), wanted.data, rtol=1e-6)
    assert g.edges == wanted.nnz // 2 and g.nodes == USERS + ITEMS
    assert g.start == {"user": 0, "item": USERS}
    assert g.degree[USERS - 1] == 0, "a node without an edge stays"


def test_propagate_agrees_with_scipy():
    x = np.random.default_rng(1).normal(size=(USERS + ITEMS, 5)).astype(np.float32)
    wanted = scipy_normalised(relation()) @ x
    np.testing.assert_allclose(graph().propagate(torch.from_numpy(x)).numpy(), wanted, atol=1e-6)


def test_gradient_of_two_layers_agrees_with_dense_autograd():
    g = graph()
    x = torch.randn(g.nodes, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weight = torch.randn(g.nodes, 4, generator=torch.Generator().manual_seed(1))
    (g.propagate(g.propagate(x).tanh()) * weight).sum().backward()
    sparse, x.grad = x.grad, None
    ((dense(g) @ (dense(g) @ x).tanh()) * weight).sum().backward()
    torch.testing.assert_close(sparse, x.grad)


def test_the_product_passes_gradcheck():
    g = graph()
    x = torch.randn(g.nodes, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: _Product.apply(g.crow, g.col, g.value.double(), y), (x,))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_keep_agrees_with_dense_renormalisation(share):
    g = graph()
    edges = torch.rand(g.edges, generator=torch.Generator().manual_seed(2)) < share
    kept = g.keep(edges)
    adjacency = (dense(g) != 0).float()
    low, high = g.ends
    adjacency[low[~edges], high[~edges]] = adjacency[high[~edges], low[~edges]] = 0
    scale = adjacency.sum(1).clamp(min=1).rsqrt()
    torch.testing.assert_close(dense(kept), scale[:, None] * adjacency * scale)
    assert kept.edges == int(edges.sum()) and kept.nodes == g.nodes
    x = torch.randn(g.nodes, 3)
    torch.testing.assert_close(kept.propagate(x), dense(kept) @ x)


def test_an_edge_has_one_number_at_both_its_entries():
    g = graph()
    ends = {}
    for row, col, edge in zip(g.row.tolist(), g.col.tolist(), g.edge.tolist(), strict=True):
        ends.setdefault(edge, set()).add((row, col))
    assert sorted(ends) == list(range(g.edges))
    assert all(pair == {(a, b), (b, a)} for pair in ends.values() for a, b in [next(iter(pair))])


def test_links_to_oneself_are_left_out_and_repeats_count_once():
    trust = Relation("user", "user", torch.tensor([[0, 1, 2, 2, 0], [1, 0, 2, 1, 1]]))
    g = Graph.of([trust], {"user": 3})
    assert sorted(zip(g.row.tolist(), g.col.tolist(), strict=True)) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    half = 2**-0.5
    torch.testing.assert_close(dense(g), torch.tensor([[0, half, 0], [half, 0, half], [0, half, 0]]))


def test_relations_share_one_range_of_nodes():
    about = Relation("item", "entity", torch.tensor([[0, 8], [1, 0]]))
    g = Graph.of([relation(), about], {"user": USERS, "item": ITEMS, "entity": 2})
    assert g.start == {"user": 0, "item": USERS, "entity": USERS + ITEMS} and g.nodes == USERS + ITEMS + 2
    adjacency = dense(g) != 0
    assert adjacency[USERS, USERS + ITEMS + 1] and adjacency[USERS + 8, USERS + ITEMS] and adjacency[USERS + ITEMS :].sum() == 2


def test_a_graph_without_an_edge():
    g = Graph.of([Relation.empty("user", "item")], {"user": 2, "item": 3})
    assert g.edges == 0 and g.nodes == 5
    assert g.propagate(torch.ones(5, 2)).tolist() == torch.zeros(5, 2).tolist()
    assert Graph.of([], {}).nodes == 0

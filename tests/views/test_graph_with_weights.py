"""Graph products with learned weights: what views and encoders that weigh edges stand on."""

import pytest
import torch
from adjacency import small_graph

from hybridrec.views.data import EdgeDrop


@pytest.fixture
def graph():
    return small_graph()


def dense_of(graph, values):
    a = torch.zeros(graph.nodes, graph.nodes)
    return a.index_put((graph.row, graph.col.long()), values)


def assert_equal_with_gradients(ours, wanted, inputs):
    torch.testing.assert_close(ours, wanted)
    upstream = torch.randn_like(wanted)
    mine, its = torch.autograd.grad(ours, inputs, upstream), torch.autograd.grad(wanted, inputs, upstream)
    for x, y in zip(mine, its, strict=True):
        torch.testing.assert_close(x, y)


def test_aggregate_equals_the_dense_product_and_its_gradients(graph):
    torch.manual_seed(0)
    weight, x = torch.randn(120, requires_grad=True), torch.randn(21, 4, requires_grad=True)
    assert_equal_with_gradients(graph.aggregate(x, weight), dense_of(graph, weight) @ x, (weight, x))


def test_dot_equals_the_dense_product_and_its_gradients(graph):
    torch.manual_seed(0)
    x, y = torch.randn(21, 4, requires_grad=True), torch.randn(21, 4, requires_grad=True)
    assert_equal_with_gradients(graph.dot(x, y), (x @ y.T)[graph.row, graph.col.long()], (x, y))


def test_softmax_equals_the_dense_softmax_and_its_gradients(graph):
    torch.manual_seed(0)
    logits = (5 * torch.randn(120)).requires_grad_()
    absent = dense_of(graph, torch.ones(120)) == 0
    whole = dense_of(graph, logits).masked_fill(absent, -torch.inf).softmax(1)
    assert_equal_with_gradients(graph.softmax(logits), whole[graph.row, graph.col.long()], (logits,))


def test_reverse_swaps_row_and_column_of_a_thinned_graph_too(graph):
    for g in (graph, EdgeDrop(0.5)(graph)):
        assert torch.equal(g.row[g.reverse], g.col.long())
        assert torch.equal(g.col.long()[g.reverse], g.row)


def test_ends_are_in_the_order_of_edge_numbers(graph):
    for g in (graph, EdgeDrop(0.5)(graph)):
        low, high = g.ends
        assert len(low) == g.edges == int(g.edge.max()) + 1
        up = g.row < g.col
        assert torch.equal(low[g.edge.long()[up]], g.row[up]) and torch.equal(high[g.edge.long()[up]], g.col.long()[up])


def test_weights_on_an_empty_graph(graph):
    none = EdgeDrop(0.0)(graph)
    x = torch.randn(21, 2, requires_grad=True)
    assert none.dot(x, x).shape == (0,)
    assert (none.aggregate(x, none.dot(x, x)) == 0).all()

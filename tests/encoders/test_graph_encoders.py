import pytest
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import shortest_path

from hybridrec.data.dataset import Relation
from hybridrec.encoders.graph import Attention, LightGCN
from hybridrec.encoders.hypergraph import Hypergraph
from hybridrec.encoders.position import AnchorPosition, nearness
from hybridrec.graph import Graph
from hybridrec.views.data import RandomWalk


@pytest.fixture
def graph():
    index = torch.tensor([[0, 0, 1, 2, 2], [0, 1, 1, 2, 3]])
    return Graph.of([Relation("user", "item", index)], {"user": 4, "item": 4})


def dense(graph):
    return torch.zeros(8, 8).index_put((graph.row, graph.col.long()), graph.value)


def test_lightgcn_is_a_sum_of_powers(graph):
    a, x = dense(graph), torch.randn(8, 3)
    wanted = (x + a @ x + a @ a @ x) / 3
    torch.testing.assert_close(LightGCN(2)(graph, x), wanted)
    torch.testing.assert_close(LightGCN(2, alpha=1.0)(graph, x), 3 * wanted)


def test_lightgcn_takes_a_graph_a_layer(graph):
    torch.manual_seed(0)
    walk, x = RandomWalk(0.6, depth=2)(graph), torch.randn(8, 3)
    first, second = (dense(g) for g in walk)
    torch.testing.assert_close(LightGCN(2)(walk, x), (x + first @ x + second @ first @ x) / 3)


def test_layers_pass_their_noise_on(graph):
    x = torch.randn(8, 3)
    layers = LightGCN(2).layers(graph, x, noise=lambda z: z + 1)
    torch.testing.assert_close(layers[2], dense(graph) @ (dense(graph) @ x + 1) + 1)


def test_attention_equals_dense_masked_attention_and_its_gradients(graph):
    torch.manual_seed(0)
    layer = Attention(6, heads=2)
    x = torch.randn(8, 6, requires_grad=True)
    mask = (dense(graph) == 0) & ~torch.eye(8, dtype=torch.bool)
    q, k, v = (torch.stack((x @ w).chunk(2, 1)) for w in (layer.query, layer.key, layer.value))
    logits = (q @ k.transpose(1, 2)).clamp(-10, 10).masked_fill(mask, -torch.inf)
    wanted = torch.cat(list(logits.softmax(2) @ v), dim=1)
    ours = layer(graph, x)
    torch.testing.assert_close(ours, wanted)
    inputs, upstream = (x, *layer.parameters()), torch.randn_like(wanted)
    for a, b in zip(torch.autograd.grad(ours, inputs, upstream), torch.autograd.grad(wanted, inputs, upstream), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_attention_tells_what_each_entry_is_worth(graph):
    torch.manual_seed(0)
    layer, x = Attention(6, heads=2), torch.randn(8, 6)
    mask = (dense(graph) == 0) & ~torch.eye(8, dtype=torch.bool)
    q, k = (torch.stack((x @ w).chunk(2, 1)) for w in (layer.query, layer.key))
    wanted = (q @ k.transpose(1, 2)).masked_fill(mask, -torch.inf).softmax(2).sum(0)
    torch.testing.assert_close(layer.weights(graph, x), wanted[graph.row, graph.col.long()])


def test_nearness_is_that_of_shortest_paths(graph):
    anchor = torch.tensor([0, 6, 3])
    steps = shortest_path(csr_matrix(dense(graph).numpy() > 0), unweighted=True)[:, anchor.numpy()]
    torch.testing.assert_close(nearness(graph, anchor), torch.from_numpy(1 / (steps + 1)).float())  # 1 / (inf + 1) = 0


def test_positions_are_means_over_anchors(graph):
    torch.manual_seed(0)
    layer, x, anchor = AnchorPosition(3), torch.randn(8, 3), torch.tensor([0, 6])
    near = nearness(graph, anchor)
    wanted = torch.stack([layer.mix(torch.cat([near[:, [k]] * x[v], x], 1)) for k, v in enumerate(anchor)]).mean(0)
    torch.testing.assert_close(layer(near, anchor, x), wanted)
    layer = AnchorPosition(3, own=False)
    wanted = torch.stack([layer.mix(near[:, [k]] * x[v]) for k, v in enumerate(anchor)]).mean(0)
    torch.testing.assert_close(layer(near, anchor, x), wanted)


def test_attention_says_which_width_does_not_divide():
    with pytest.raises(ValueError, match="width 6 cannot be shared by 4 heads"):
        Attention(6, heads=4)


def test_hypergraph_by_hand():
    h, x = torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0], [3.0]])
    # Into the hyperedge: 1 - 3 = -2, at slope .5 that is -1; back: -1 (at slope .5: -.5) and 1.
    torch.testing.assert_close(Hypergraph(0.5)(h, x), torch.tensor([[-0.5], [1.0]]))
    torch.testing.assert_close(Hypergraph(1.0)(h, x), F.leaky_relu(h @ (h.T @ x), 1.0))

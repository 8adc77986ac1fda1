import pytest
import torch
import torch.nn.functional as F
from adjacency import dense, small_graph

from hybridrec.data.dataset import Relation
from hybridrec.graph import Graph
from hybridrec.views.masking import SubgraphMask, consistency


@pytest.fixture
def chain():
    """Users 0 to 3, items 4 to 7, one path 0-4-1-5-2-6-3-7."""
    index = torch.tensor([[0, 1, 1, 2, 2, 3, 3], [0, 0, 1, 1, 2, 2, 3]])
    return Graph.of([Relation("user", "item", index)], {"user": 4, "item": 4})


def links(graph):
    return {tuple(x) for x in torch.stack(graph.ends, 1).tolist()}


def test_a_mask_hides_what_lies_within_its_hops(chain):
    view = SubgraphMask(hops=1, extra=0.0)
    assert links(view.mask(chain, torch.tensor([1])).encoder) == links(chain) - {(1, 4), (1, 5)}
    view = SubgraphMask(hops=2, extra=0.0)
    assert links(view.mask(chain, torch.tensor([1])).encoder) == links(chain) - {(1, 4), (1, 5), (0, 4), (2, 5)}


def test_false_links_lie_among_the_masked_nodes(chain):
    torch.manual_seed(0)
    masked = SubgraphMask(hops=2, extra=0.0).mask(chain, torch.tensor([1]))
    assert links(masked.decoder) - links(masked.encoder) == {(1, 4), (1, 5), (4, 5)}


def test_consistency_counts_walks_as_the_authors_do():
    torch.manual_seed(0)
    graph = small_graph()
    a, x = (dense(graph) > 0).float(), torch.randn(21, 4, requires_grad=True)
    degree = a.sum(1, keepdim=True)
    first = a @ x - x
    second = a @ first - first - degree * x
    wanted = torch.sigmoid(F.cosine_similarity((first + second) / (degree + a @ degree - 2 * degree + 1e-8), x, dim=1))
    ours = consistency(graph, x)
    torch.testing.assert_close(ours, wanted)
    for p, q in zip(torch.autograd.grad(ours.sum(), x), torch.autograd.grad(wanted.sum(), x), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_a_drawn_mask_hides_edges_and_its_scores_have_a_gradient():
    torch.manual_seed(0)
    graph, x = small_graph(), torch.randn(21, 4, requires_grad=True)
    masked, scores = SubgraphMask(seeds=3).draw(graph, x)
    assert masked.encoder.edges < graph.edges
    (-scores.mean()).backward()
    assert x.grad.norm() > 0

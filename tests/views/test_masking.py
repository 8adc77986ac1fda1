import pytest
import torch
import torch.nn.functional as F
from adjacency import dense, small_graph

from hybridrec.data.dataset import Relation
from hybridrec.graph import Graph
from hybridrec.views.masking import RationaleMask, SubgraphMask, consistency, drawn


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


def test_rationales_are_shares_of_the_edges_and_follow_their_weights():
    torch.manual_seed(0)
    graph, view = small_graph(), RationaleMask(keep=0.8, share=0.2)
    weight = torch.where(torch.arange(60) < 12, 50.0, 0.0)  # twelve edges explain everything
    twelve = {tuple(x) for x in torch.stack(graph.ends, 1)[:12].tolist()}
    found = view(graph, weight)
    assert graph.edges == 60 and found.masked.encoder.edges == 48 and found.core.edges == found.rest.edges == 12
    assert links(found.core) == twelve
    assert links(found.masked.encoder) <= links(graph) and links(found.masked.encoder) <= links(found.masked.decoder)
    # Weights are held below 3, so that what explains most is hidden oftener than by chance, not always.
    hidden = torch.stack([~drawn(-weight.clamp(max=3), 0.8) for _ in range(200)]).float().mean(0)
    assert hidden[:12].mean() > 0.6 > 0.2 > hidden[12:].mean()


def test_draws_without_replacement_are_in_proportion_at_first():
    torch.manual_seed(0)
    score = torch.tensor([0.1, 0.2, 0.7]).log()
    first = torch.stack([drawn(score, 0.34) for _ in range(4000)]).float().mean(0)
    torch.testing.assert_close(first, score.exp(), atol=0.03, rtol=0)

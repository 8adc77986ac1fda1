"""Paths hidden in item graphs: what is related, what is hidden, and what a mask is worth, against dense matrices."""

import pytest
import torch
import torch.nn.functional as F
from adjacency import dense, small_graph

from hybridrec.graph import Graph
from hybridrec.views.masking import within
from hybridrec.views.paths import PathMask, relatedness, reward


def line(n=8):
    at = torch.arange(n - 1)
    return Graph.between(torch.stack([at, at + 1]), {"item": 0}, n)


def links(graph):
    return {tuple(x) for x in torch.stack(graph.ends, 1).tolist()}


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_relatedness_is_the_mean_cosine_over_walks(hops):
    torch.manual_seed(0)
    graph = small_graph()
    a, x = (dense(graph) > 0).double(), torch.randn(21, 4, requires_grad=True)
    walks = sum(torch.linalg.matrix_power(a, k) for k in range(1, hops + 1))
    cosine = F.cosine_similarity(x.unsqueeze(1), x.unsqueeze(0), dim=2)
    expected = (walks.float() * cosine).sum(1) / walks.sum(1).clamp(min=1).float()
    found = relatedness(graph, x, hops)
    torch.testing.assert_close(found, expected)
    for one, two in zip(*(torch.autograd.grad(y.sum(), x) for y in (found, expected)), strict=True):
        torch.testing.assert_close(one, two)


def test_paths_from_the_seeds_are_hidden_step_by_step():
    graph = line()
    kept, around = within(graph, torch.tensor([3]), 2)
    assert links(graph.keep(kept)) == {(0, 1), (5, 6), (6, 7)}
    assert around.nonzero().flatten().tolist() == [2, 3, 4]
    torch.manual_seed(0)
    met = {tuple(within(graph, torch.tensor([3]), 2, 0.5)[0].tolist()) for _ in range(60)}
    # Either neighbour passes on or not.
    assert {tuple(sorted(links(graph.keep(torch.tensor(k))))) for k in met} == {
        tuple(sorted({(0, 1), (5, 6), (6, 7)} | more)) for more in ({(1, 2)}, {(4, 5)}, {(1, 2), (4, 5)}, set())
    }


def test_a_mask_hides_links_around_what_is_most_related_and_gives_them_back():
    torch.manual_seed(0)
    graph = line()
    x = torch.randn(8, 4, requires_grad=True)
    (hidden, ends), score = PathMask(seeds=1, hops=1).draw(graph, x)
    seed = int(score.argmax())
    gone = {link for link in links(graph) if seed in link}
    assert links(hidden) == links(graph) - gone
    assert {tuple(link) for link in ends.T.tolist()} == gone
    score.mean().backward()
    assert x.grad.abs().sum() > 0


def test_a_mask_counts_whole_where_the_last_step_brought_more_than_those_before():
    assert reward([]) == reward([3.0, 2.0]) == 1.0
    assert reward([3.0, 2.5, 1.5], 0.2) == 1.0  # 1 after 0.5
    assert reward([3.0, 2.0, 1.5], 0.2) == 0.2
    assert reward([3.0, 2.0, 2.0, 1.4], 0.1) == 1.0  # 0.6 after 0.5 on average

import pytest
import torch
from adjacency import dense, small_graph

from hybridrec.data.batches import Histories
from hybridrec.views.data import EdgeDrop, NodeDrop, RandomWalk, RowMask, part_of_rows


@pytest.fixture
def graph():
    return small_graph()


def normalised(a):
    degree = (a > 0).sum(1).clamp(min=1).float()
    return (a > 0) / (degree.unsqueeze(1) * degree).sqrt()


@pytest.mark.parametrize("view", [EdgeDrop(0.6), NodeDrop(0.8)])
def test_a_thinned_graph_is_a_normalised_symmetric_part_of_the_whole(view, graph):
    torch.manual_seed(0)
    thin = dense(view(graph))
    assert 0 < (thin > 0).sum() < (dense(graph) > 0).sum()
    assert not ((thin > 0) & (dense(graph) == 0)).any()
    torch.testing.assert_close(thin, thin.T)
    torch.testing.assert_close(thin, normalised(thin))


def test_edge_drop_keeps_the_share_it_was_told(graph):
    torch.manual_seed(0)
    kept = sum(EdgeDrop(0.3)(graph).edges for _ in range(200)) / 200
    assert abs(kept - 0.3 * 60) < 1
    assert EdgeDrop(1.0)(graph).edges == 60


def test_edge_drop_draws_the_share_anew_where_it_is_told_the_least(graph):
    torch.manual_seed(0)
    kept = torch.tensor([float(EdgeDrop(1.0, least=0.2)(graph).edges) for _ in range(300)]) / 60
    assert abs(kept.mean() - 0.6) < 0.05 and kept.min() < 0.35 and kept.max() > 0.9


def test_node_drop_takes_all_edges_of_a_node_and_only_those(graph):
    torch.manual_seed(1)
    whole, thin = dense(graph) > 0, dense(NodeDrop(0.7)(graph)) > 0
    gone = ~thin.any(1)
    assert gone.any() and not gone.all()
    assert (thin[~gone][:, ~gone] == whole[~gone][:, ~gone]).all()


def test_random_walk_thins_every_layer_anew(graph):
    torch.manual_seed(0)
    walk = RandomWalk(0.5, depth=3)(graph)
    assert len(walk) == 3
    assert not torch.equal(dense(walk[0]) > 0, dense(walk[1]) > 0)


def test_views_compose(graph):
    torch.manual_seed(0)
    twice = dense(EdgeDrop(0.5)(EdgeDrop(0.5)(graph)))
    torch.testing.assert_close(twice, normalised(twice))


def test_row_mask_keeps_order_and_rows():
    torch.manual_seed(0)
    whole = Histories.lists([list(range(50)), [], [7, 3]])
    part = RowMask(0.5)(whole)
    assert len(part.offset) == 4 and part.offset[-1] == len(part.item)
    first = part.item[: part.offset[1]]
    assert 10 < len(first) < 40 and (first.diff() > 0).all()
    assert part.lengths[1] == 0
    assert torch.equal(RowMask(1.0)(whole).item, whole.item)


def test_part_of_rows_keeps_a_share_drawn_for_each_row():
    history = Histories(torch.arange(0, 2001 * 50, 50), torch.zeros(2000 * 50, dtype=torch.int64))
    torch.manual_seed(0)
    share = part_of_rows(history, alone=0.25).view(2000, 50).float().mean(1)
    assert (share == 0).float().mean() == pytest.approx(0.25 + 0.75 / 51, abs=0.03)  # of 50 none, by a uniform share: 1 in 51
    assert share[share > 0].mean() == pytest.approx(0.51, abs=0.02)

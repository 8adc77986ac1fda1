import pytest
import torch
from adjacency import dense, small_graph

from hybridrec.views.generative import LinkDecoder
from hybridrec.views.model import CosineGraph, EdgeMask, LearnedHypergraph, LinkProposal, ModelDropout, MomentumTwin, SVDGraph


@pytest.fixture
def graph():
    return small_graph()


def test_svd_graph_equals_the_truncated_dense_svd(graph):
    torch.manual_seed(0)
    block = dense(graph)[:12, 12:]
    u, s, vt = torch.linalg.svd(block)
    low = u[:, :4] @ torch.diag(s[:4]) @ vt[:4]
    x = torch.randn(21, 5)
    wanted = torch.cat([low @ x[12:], low.T @ x[:12]])
    torch.testing.assert_close(SVDGraph(graph, 12, rank=4).propagate(x), wanted, atol=1e-4, rtol=1e-3)


def test_svd_graph_of_full_rank_is_the_graph(graph):
    x = torch.randn(21, 3)
    torch.testing.assert_close(SVDGraph(graph, 12, rank=99).propagate(x), graph.propagate(x), atol=1e-5, rtol=1e-4)


def test_learned_hypergraph_by_hand():
    view = LearnedHypergraph(2, 3, scale=0.5)
    with torch.no_grad():
        view.weight.copy_(torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]]))
    torch.testing.assert_close(view(torch.tensor([[1.0, 3.0]])), torch.tensor([[0.5, 1.5, -0.5]]))


def test_momentum_twin_follows_at_its_pace_and_takes_no_gradient():
    line = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        line.weight.fill_(1.0)
    twin = MomentumTwin(line, momentum=0.9)
    with torch.no_grad():
        line.weight.fill_(2.0)
    assert twin(torch.ones(1, 1)).item() == 1.0
    twin.follow(line)
    torch.testing.assert_close(twin(torch.ones(1, 1)), torch.tensor([[1.1]]))
    assert not twin(torch.ones(1, 1, requires_grad=True)).requires_grad
    assert not any(p.requires_grad for p in twin.parameters())


def test_edge_mask_gates_reach_zero_and_one_and_learn(graph):
    torch.manual_seed(0)
    mask, x = EdgeMask(4), torch.randn(21, 4)
    assert mask.logits(graph, x).shape == (60,)
    extreme = torch.tensor([-9.0, 0.0, 9.0])
    gates = mask.eval().gate(extreme)
    torch.testing.assert_close(gates, torch.tensor([0.0, 0.3, 1.0]))  # (1/2 * 1.5 - 0.45)
    mask.train()
    many = mask.gate(torch.zeros(10_000))
    assert (many == 0).float().mean() > 0.1 and (many > 0.9).float().mean() > 0.1
    # The share of open gates is what the penalty says it is.
    share = (many > 0).float().mean()
    torch.testing.assert_close(mask.open(torch.zeros(1)), share, atol=0.02, rtol=0)
    mask.gate(mask.logits(graph, x)).sum().backward()
    assert all(p.grad.norm() > 0 for p in mask.parameters())


def test_cosine_graph_equals_the_dense_reweighed_mean_and_its_gradients(graph):
    torch.manual_seed(0)
    seen, x = torch.randn(21, 4, requires_grad=True), torch.randn(21, 3, requires_grad=True)
    unit = torch.nn.functional.normalize(seen, dim=1)
    weight = (dense(graph) > 0) * (unit @ unit.T + 1) / 2
    wanted = weight @ x / weight.sum(1, keepdim=True)
    ours = CosineGraph()(graph, seen, x)
    torch.testing.assert_close(ours, wanted)
    for a, b in zip(
        torch.autograd.grad(ours.square().sum(), (seen, x)), torch.autograd.grad(wanted.square().sum(), (seen, x)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_proposed_links_are_the_most_alike_and_weigh_their_likeness(graph):
    torch.manual_seed(0)
    view, user, item = LinkProposal(4, k=1), torch.randn(12, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    likeness = torch.nn.functional.cosine_similarity((user @ view.user).unsqueeze(1), (item @ view.item).unsqueeze(0), dim=2)
    wanted = (dense(graph)[:12, 12:] > 0).float()
    extra = torch.zeros_like(wanted)
    extra[torch.arange(12), likeness.argmax(1)] = 1
    extra[likeness.argmax(0), torch.arange(9)] = 1
    block = wanted + (extra * (1 - wanted)) * likeness.sigmoid()
    whole = torch.zeros(21, 21)
    whole[:12, 12:], whole[12:, :12] = block, block.T
    degree = whole.sum(1)
    x = torch.randn(21, 3)
    ours = view.weigh(view.propose(graph, user, item), user, item)
    torch.testing.assert_close(ours.degree, degree)
    torch.testing.assert_close(ours.propagate(x), (whole / (degree.unsqueeze(1) * degree).sqrt()) @ x)
    ours.propagate(x).square().sum().backward()
    assert user.grad.norm() > 0 and view.item.grad.norm() > 0


def test_model_dropout_draws_anew_and_leaves_the_module_as_it_was():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.1)).eval()
    x = torch.randn(50, 8)
    view = ModelDropout(0.5)(module)
    one, two = view(x), view(x)
    assert 0.35 < (one == 0).float().mean() < 0.65 and not torch.equal(one, two)
    both = (one != 0) & (two != 0)
    torch.testing.assert_close(one[both], two[both])
    torch.testing.assert_close(one[both], 2 * module(x)[both])
    assert module[1].p == 0.1 and not module.training and not module[1].training
    assert 0.05 < (ModelDropout()(module)(x) == 0).float().mean() < 0.15


def test_gates_weigh_the_graph_and_calm_ones_draw_nothing(graph):
    torch.manual_seed(0)
    mask, x = EdgeMask(4), torch.randn(21, 4)
    gate = torch.zeros(21, 21)
    low, high = graph.ends
    gate[low, high] = gate[high, low] = (mask.logits(graph, x).sigmoid() * 1.5 - 0.45).clamp(0, 1).detach()
    scale = gate.sum(1).clamp(min=0.01).rsqrt()
    weighed, opened = mask(graph, x, None)
    torch.testing.assert_close(weighed.propagate(x), scale.unsqueeze(1) * gate * scale @ x)
    torch.testing.assert_close(opened, mask.open(mask.logits(graph, x)))
    hot, _ = mask(graph, x, 1.0)
    assert not torch.equal(hot.weight, weighed.weight)


def test_a_link_decoder_keeps_the_edges_it_believes(graph):
    torch.manual_seed(0)
    decoder, z = LinkDecoder(4), torch.randn(21, 4)
    low, high = graph.ends
    believed = decoder.judge(z[low] * z[high]).squeeze(1).sigmoid() > 0.5
    assert 0 < believed.sum() < 60
    torch.testing.assert_close(dense(decoder(graph, z)), dense(graph.keep(believed)))

import pytest
import torch
import torch.nn.functional as F
from torch import tensor

from hybridrec.losses import contrastive
from hybridrec.losses.contrastive import info_nce, jensen_shannon, log_sum_exp, nt_xent


def vectors(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.mark.parametrize("rows", [1, 3, 1000])
@pytest.mark.parametrize("upstream", [torch.linspace(-1, 2, 10, dtype=torch.float64), torch.full((10,), 0.3).double()])
def test_log_sum_exp_equals_the_dense_computation_whatever_the_chunk(monkeypatch, rows, upstream):
    monkeypatch.setattr(contrastive, "LEAST_ROWS", rows)
    monkeypatch.setattr(contrastive, "SCORES_CPU", 1)
    a, c = vectors(10, 4), vectors(7, 4, seed=1)
    ours = log_sum_exp(a, c)
    dense = (a @ c.T).logsumexp(1)
    torch.testing.assert_close(ours, dense)
    for x, y in zip(torch.autograd.grad(ours, (a, c), upstream), torch.autograd.grad(dense, (a, c), upstream), strict=True):
        torch.testing.assert_close(x, y)


def test_log_sum_exp_gradients_agree_with_finite_differences():
    assert torch.autograd.gradcheck(log_sum_exp, (vectors(3, 2), vectors(4, 2, seed=1)))


def test_log_sum_exp_does_not_overflow():
    a = tensor([[100.0], [-100.0]], requires_grad=True)
    out = log_sum_exp(a, tensor([[10.0], [-10.0]]))
    torch.testing.assert_close(out, tensor([1000.0, 1000.0]))
    out.sum().backward()
    torch.testing.assert_close(a.grad, tensor([[10.0], [-10.0]]))


def test_log_sum_exp_of_the_same_tensor_twice_adds_both_gradients():
    x, y = vectors(5, 3), vectors(5, 3)
    log_sum_exp(x, x).sum().backward()
    (y @ y.T).logsumexp(1).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


def test_log_sum_exp_leaves_out_gradients_nobody_asked_for():
    a = vectors(3, 2)
    log_sum_exp(a, vectors(4, 2).detach()).sum().backward()
    assert a.grad is not None


def test_info_nce_by_hand():
    # Two orthogonal nodes whose views agree: each row is -log(e^2 / (e^2 + e^0)).
    views = tensor([[3.0, 0.0], [0.0, 0.5]])
    loss = info_nce((views, views * 7, tensor([0, 1])), temperature=0.5)
    torch.testing.assert_close(loss, torch.log1p(torch.exp(tensor(-2.0))))


def test_info_nce_equals_cross_entropy_over_cosines():
    a, c, target = vectors(6, 5), vectors(9, 5, seed=1), tensor([0, 3, 3, 8, 1, 5])
    scores = F.cosine_similarity(a.float().unsqueeze(1), c.float().unsqueeze(0), dim=-1) / 0.2
    torch.testing.assert_close(info_nce((a, c, target), 0.2), F.cross_entropy(scores, target))
    ours = torch.autograd.grad(info_nce((a, c, target), 0.2), (a, c))
    wanted = torch.autograd.grad(F.cross_entropy(scores, target), (a, c))
    for x, y in zip(ours, wanted, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6)


def test_jensen_shannon_by_hand():
    loss = jensen_shannon(tensor([0.0, 0.0]), tensor([0.0]))
    torch.testing.assert_close(loss, 2 * torch.log(tensor(2.0)))
    assert jensen_shannon(tensor([9.0]), tensor([-9.0])) < 1e-3


@pytest.mark.slow
def test_full_candidate_info_nce_over_a_million_nodes_stays_under_four_gib():
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    c = torch.randn(1_000_000, 64, requires_grad=True)
    index = torch.randint(1_000_000, (256,))
    info_nce((c[index], c, index), 0.2).backward()
    assert c.grad.isfinite().all()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20 < 4


def test_log_sum_exp_is_exact_under_autocast():
    a, c = torch.randn(5, 4, requires_grad=True), torch.randn(7, 4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = log_sum_exp(a, c)
    found.sum().backward()
    one, two = a.detach().clone().requires_grad_(), c.detach().clone().requires_grad_()
    wanted = (one @ two.T).logsumexp(1)
    wanted.sum().backward()
    assert torch.allclose(found, wanted) and torch.allclose(a.grad, one.grad) and torch.allclose(c.grad, two.grad)


def test_nt_xent_equals_the_sum_over_candidates_that_count():
    a, c = vectors(2, 3), vectors(4, 3, seed=1)
    apart = tensor([[True, True, False, True], [False, True, True, True]])
    score = torch.exp(F.cosine_similarity(a.float().unsqueeze(1), c.float().unsqueeze(0), dim=2) / 0.5)
    first = -(score[0, 1] / (score[0, 0] + score[0, 1] + score[0, 3])).log()
    second = -(score[1, 2] / score[1, 1:].sum()).log()
    torch.testing.assert_close(nt_xent((a, c, tensor([1, 2]), apart), 0.5), (first + second) / 2)

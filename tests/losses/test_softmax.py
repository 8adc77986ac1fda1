"""The blocked softmax against torch's on whole scores."""

import pytest
import torch
import torch.nn.functional as F

from hybridrec.losses import softmax
from hybridrec.losses.softmax import catalogue_cross_entropy, sampled_cross_entropy


@pytest.mark.parametrize(("scores", "rows"), [(1, 1), (50, 1), (1, 3), (1 << 21, 64), (320, 1)])
def test_value_and_gradients_equal_those_on_whole_scores(scores, rows, monkeypatch):
    monkeypatch.setattr(softmax, "SCORES_CPU", scores)
    monkeypatch.setattr(softmax, "ROWS", rows)
    torch.manual_seed(0)
    h = (5 * torch.randn(7, 4, dtype=torch.float64)).requires_grad_()
    v = torch.randn(20, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randint(20, (7,))
    found, wanted = catalogue_cross_entropy(h, v, target), F.cross_entropy(h @ v.T, target)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(3 * found, (h, v)), torch.autograd.grad(3 * wanted, (h, v)))


def test_large_scores_do_not_overflow():
    h = torch.full((2, 1), 1e4, requires_grad=True)
    loss = catalogue_cross_entropy(h, torch.tensor([[1.0], [0.0]]), torch.tensor([0, 1]))
    assert loss.item() == pytest.approx(5e3)
    loss.backward()
    assert h.grad.isfinite().all()


def test_a_sample_estimates_the_sum_over_the_catalogue():
    torch.manual_seed(0)
    h, v = torch.randn(3, 4, dtype=torch.float64), torch.randn(20, 4, dtype=torch.float64)
    target = torch.tensor([4, 0, 19])
    # The whole catalogue drawn once each: all but the target's own weight is exact.
    torch.testing.assert_close(sampled_cross_entropy(h, v, target, torch.arange(20), 20), F.cross_entropy(h @ v.T, target))
    # Of 10 draws each stands for two items; by hand for the first row.
    drawn = torch.tensor([4, 1, 2, 3, 5, 6, 7, 8, 9, 10])
    score = h[0] @ v.T
    wanted = (score[4].exp() + 2 * score[drawn[1:]].exp().sum()).log() - score[4]
    torch.testing.assert_close(sampled_cross_entropy(h[:1], v, target[:1], drawn, 20), wanted)

import torch
import torch.nn.functional as F
from torch import tensor
from torch.distributions import Normal, kl_divergence

from hybridrec.losses.reconstruction import (
    annealed,
    bernoulli,
    gaussian,
    gaussian_kl,
    kl_per_dimension,
    multinomial,
    scaled_cosine_error,
)

DENSE = tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
ROWS, ITEMS = DENSE.nonzero().T
PREDICTION = tensor([[0.5, -1.0, 2.0], [0.1, 0.2, 0.3], [3.0, 0.0, -1.0]])


def assert_same_with_gradient(ours, wanted):
    x, y = PREDICTION.clone().requires_grad_(), PREDICTION.clone().requires_grad_()
    a, b = ours(x), wanted(y)
    torch.testing.assert_close(a, b)
    a.backward()
    b.backward()
    torch.testing.assert_close(x.grad, y.grad)


def test_multinomial_equals_dense():
    assert_same_with_gradient(lambda x: multinomial(x, ROWS, ITEMS), lambda x: -(F.log_softmax(x, 1) * DENSE).sum() / 3)


def test_gaussian_equals_dense_weighted():
    weight = 1 + 9 * DENSE
    assert_same_with_gradient(lambda x: gaussian(x, ROWS, ITEMS, 10.0), lambda x: (weight * (DENSE - x).square()).sum() / 3)


def test_bernoulli_equals_binary_cross_entropy():
    assert_same_with_gradient(
        lambda x: bernoulli(x, ROWS, ITEMS), lambda x: F.binary_cross_entropy_with_logits(x, DENSE, reduction="sum") / 3
    )


def test_scaled_cosine_error_by_hand():
    # Cosines 1, 0 and -1 give 0, 1 and 2^3.
    p, t = tensor([[2.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), tensor([[1.0, 0.0], [0.0, 4.0], [-1.0, 0.0]])
    torch.testing.assert_close(scaled_cosine_error(p, t, gamma=3.0), tensor(3.0))
    p.requires_grad_()
    scaled_cosine_error(p, t).backward()
    assert p.grad.isfinite().all()


def test_gaussian_kl_equals_torch_distributions():
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    wanted = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_per_dimension(mean, log_variance), wanted)
    torch.testing.assert_close(gaussian_kl(mean, log_variance), wanted.sum(1).mean())
    assert gaussian_kl(torch.zeros(2, 3), torch.zeros(2, 3)) == 0


def test_annealing_climbs_to_its_cap():
    assert [annealed(s, 4, 0.2) for s in (0, 1, 4, 9)] == [0.0, 0.05, 0.2, 0.2]
    assert annealed(0, 0, 0.3) == 0.3

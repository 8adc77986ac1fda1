import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import tensor

from hybridrec.losses.explicit import alignment, barlow_twins, bootstrap, feature_uniformity, uniformity, vicreg


def vectors(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def test_alignment_by_hand():
    # Right angles are sqrt(2) apart on the sphere, whatever their length; equal directions are 0 apart.
    one, two = tensor([[5.0, 0.0], [1.0, 1.0]]), tensor([[0.0, 0.1], [2.0, 2.0]])
    torch.testing.assert_close(alignment(one, two), tensor(1.0))


def test_uniformity_by_hand():
    # Opposite points are 2 apart: log exp(-2 * 4).
    torch.testing.assert_close(uniformity(tensor([[1.0, 0.0], [-3.0, 0.0]])), tensor(-8.0), atol=5e-3, rtol=0)
    torch.testing.assert_close(uniformity(tensor([[1.0, 0.0], [2.0, 0.0], [1.0, 0.0]])), tensor(0.0), atol=1e-4, rtol=0)


def test_uniformity_equals_pairwise_distances_and_their_gradient():
    x, y = vectors(40, 6), vectors(40, 6)
    ours, wanted = uniformity(x), torch.pdist(F.normalize(y, dim=-1)).square().mul(-2).exp().mean().log()
    torch.testing.assert_close(ours, wanted)
    ours.backward()
    wanted.backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-4, atol=1e-6)


def test_bootstrap_by_hand_and_target_takes_no_gradient():
    p, z = tensor([[1.0, 0.0]], requires_grad=True), tensor([[0.0, 2.0]], requires_grad=True)
    loss = bootstrap(p, z)
    torch.testing.assert_close(loss, tensor(2.0))
    loss.backward()
    assert z.grad is None and p.grad.norm() > 0


def test_barlow_twins_equals_numpy_correlation():
    one, two = vectors(50, 4), vectors(50, 4, seed=1)
    c = np.corrcoef(one.detach().numpy().T, two.detach().numpy().T)[:4, 4:]
    wanted = ((1 - np.diag(c)) ** 2).sum() + 0.01 * ((c**2).sum() - (np.diag(c) ** 2).sum())
    loss = barlow_twins(one, two, 0.01)
    assert math.isclose(loss.item(), wanted, rel_tol=1e-4)
    loss.backward()
    assert one.grad.norm() > 0 and two.grad.norm() > 0


def test_barlow_twins_is_blind_to_scale_and_shift_and_zero_for_whitened_twins():
    x = torch.linalg.qr(vectors(30, 3).detach() - vectors(30, 3).detach().mean(0))[0]
    assert barlow_twins(x, 5 * x + 2) < 1e-6


def test_vicreg_equals_numpy():
    one, two = vectors(20, 3), vectors(20, 3, seed=1)
    a, b = one.detach().double().numpy(), two.detach().double().numpy()
    wanted = 25 * ((a - b) ** 2).mean()
    for x in (a, b):
        c = np.cov(x.T)
        wanted += 25 / 2 * np.maximum(0, 1 - np.sqrt(np.diag(c) + 1e-4)).mean() + ((c**2).sum() - (np.diag(c) ** 2).sum()) / 3
    assert math.isclose(vicreg(one, two).item(), wanted, rel_tol=1e-4)


def test_vicreg_spreads_a_collapsed_batch():
    x = (0.01 * vectors(30, 4)).detach().requires_grad_()
    spread = x.std(0).mean()
    for _ in range(50):
        (grad,) = torch.autograd.grad(vicreg(x, x), x)
        x = (x - 0.1 * grad).detach().requires_grad_()
    assert x.std(0).mean() > 10 * spread


def test_feature_uniformity_by_hand_and_falls_as_columns_part():
    # Two equal columns of three rows: every product is 3, so log 3^4.
    x = tensor([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]])
    torch.testing.assert_close(feature_uniformity(x), tensor(4 * math.log(3.0)))
    assert feature_uniformity(vectors(500, 8)) < feature_uniformity(vectors(500, 1).repeat(1, 8)) - 1

"""Dropout: rate, scale, gradient, and when it does nothing."""

import pytest
import torch

from hybridrec.dropout import Dropout, dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.73])
def test_leaves_out_at_the_rate_and_keeps_the_mean(rate):
    x = torch.full((501, 201), 3.0)
    y = dropout(x, rate)
    assert y.unique().tolist() == pytest.approx([0, 3 / (1 - rate)], rel=1e-4)
    sigma = (rate * (1 - rate) / x.numel()) ** 0.5
    assert (y == 0).double().mean().item() == pytest.approx(rate, abs=5 * sigma)
    assert (y == 0).double().mean(0).std() < 3 * (rate * (1 - rate) / 501) ** 0.5  # no column is spared
    for step in range(1, 5):  # neighbours share a draw, not their fate
        a, b = (y == 0).flatten()[:-step], (y == 0).flatten()[step:]
        assert (a & b).double().mean().item() == pytest.approx(rate**2, abs=6 * sigma)


def test_gradient_is_of_what_was_kept():
    x = torch.randn(40, 7, dtype=torch.float64, requires_grad=True)
    y = dropout(x, 0.3)
    y.sum().backward()
    kept = y.detach() != 0
    assert y.dtype == torch.float64
    torch.testing.assert_close(x.grad, kept.double() / (1 - round(0.3 * 2**16) / 2**16))
    torch.testing.assert_close(y.detach(), x.detach() * x.grad)


def test_the_generator_decides():
    x = torch.ones(1000)
    torch.manual_seed(3)
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    torch.manual_seed(3)
    torch.testing.assert_close(dropout(x, 0.5), first)
    assert not torch.equal(first, second)


def test_edges():
    x = torch.randn(3, 0, 2)
    assert dropout(x, 0.5).shape == (3, 0, 2)
    x = torch.randn(5, 3).T
    assert dropout(x, 0.0) is x
    assert dropout(x, 0.9, training=False) is x
    assert dropout(x, 1.0).eq(0).all()
    assert Dropout(0.9).eval()(x) is x
    assert (Dropout(0.9)(torch.ones(100)) == 0).any()
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="rate"):
            dropout(x, rate)

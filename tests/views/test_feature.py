import torch

from hybridrec.views.feature import Adversarial, Dropout, SignNoise


def test_sign_noise_has_its_length_and_keeps_every_sign():
    torch.manual_seed(0)
    x = torch.randn(20, 8, requires_grad=True)
    y = SignNoise(0.3)(x)
    torch.testing.assert_close((y - x).norm(dim=1), torch.full((20,), 0.3))
    assert (y.sign() == x.sign()).all()
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.ones_like(x))


def test_dropout_keeps_the_mean():
    torch.manual_seed(0)
    y = Dropout(0.25)(torch.ones(10_000))
    assert abs((y == 0).float().mean() - 0.25) < 0.02
    assert abs(y.mean() - 1) < 0.02


def test_adversarial_steps_along_the_gradient_and_raises_the_loss_most():
    x = torch.tensor([[1.0, 2.0], [0.0, 0.0]], requires_grad=True)

    def loss(z):
        return (3 * z[0, 0] + 4 * z[0, 1]) * 10

    y = Adversarial(0.5)(x, loss)
    torch.testing.assert_close(y, torch.tensor([[1.3, 2.4], [0.0, 0.0]]))  # the second row has no gradient
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.ones_like(x))
    for _ in range(20):
        other = torch.nn.functional.normalize(torch.randn(2), dim=0) * 0.5
        assert loss(y) >= loss(x + torch.stack([other, torch.zeros(2)]))


def test_adversarial_works_under_no_grad():
    with torch.no_grad():
        y = Adversarial(1.0)(torch.ones(1, 3), lambda z: z.sum())
    torch.testing.assert_close(y, torch.ones(1, 3) * (1 + 3**-0.5))

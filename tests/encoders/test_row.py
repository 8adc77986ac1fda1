import torch
import torch.nn.functional as F
from torch.distributions import Normal

from hybridrec.data.batches import Histories
from hybridrec.encoders.row import DenseGaussianRows, GaussianRows, RowLinear, draw, log_density, mean_of, unit

ROWS = Histories.lists([[0, 3], [], [1, 2, 4]])
DENSE = torch.tensor([[1.0, 0, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 1, 0, 1]])


def test_row_linear_equals_a_dense_layer_on_unit_rows_and_its_gradients():
    layer = RowLinear(5, 4)
    wanted = F.linear(F.normalize(DENSE, dim=1), layer.weight.T, layer.bias)
    ours = layer(ROWS)
    torch.testing.assert_close(ours, wanted)
    inputs = tuple(layer.parameters())
    for a, b in zip(
        torch.autograd.grad(ours.square().sum(), inputs), torch.autograd.grad(wanted.square().sum(), inputs), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_row_linear_takes_a_scale_of_its_own():
    layer = RowLinear(5, 4)
    torch.testing.assert_close(layer(ROWS, torch.full((3,), 2.0)), F.linear(2 * DENSE, layer.weight.T, layer.bias))


def test_unit_and_mean():
    torch.testing.assert_close(unit(ROWS), torch.tensor([2**-0.5, 1.0, 3**-0.5]))
    items = torch.arange(10.0).view(5, 2)
    torch.testing.assert_close(mean_of(ROWS, items), torch.tensor([[3.0, 4.0], [0.0, 0.0], [14 / 3, 17 / 3]]))


def test_gaussian_rows_equal_the_dense_formula():
    encoder = GaussianRows(5, 6, 2)
    mean, log_variance = encoder(ROWS)
    hidden = torch.tanh(F.normalize(DENSE, dim=1) @ encoder.first.weight + encoder.first.bias)
    torch.testing.assert_close(torch.cat([mean, log_variance], 1), encoder.second(hidden))


def test_dense_gaussian_rows_follow_the_authors_layers():
    encoder = DenseGaussianRows(5, 6, 2)
    h1 = encoder.norms[0](F.silu(F.normalize(DENSE, dim=1) @ encoder.first.weight + encoder.first.bias))
    h2 = encoder.norms[1](F.silu(encoder.inner[0](h1) + h1))
    h3 = encoder.norms[2](F.silu(encoder.inner[1](h2) + h1 + h2))
    h4 = encoder.norms[3](F.silu(encoder.inner[2](h3) + h1 + h2 + h3))
    h5 = encoder.norms[4](F.silu(encoder.inner[3](h4) + h1 + h2 + h3 + h4))
    torch.testing.assert_close(torch.cat(encoder(ROWS), 1), encoder.last(h5))


def test_draws_have_their_mean_and_variance_and_pass_gradients():
    torch.manual_seed(0)
    mean = torch.full((20_000, 1), 3.0, requires_grad=True)
    z = draw(mean, torch.full((20_000, 1), 1.0))
    assert abs(z.mean() - 3) < 0.05 and abs(z.var() - torch.e) < 0.1
    z.sum().backward()
    assert (mean.grad == 1).all()


def test_log_density_equals_torch_distributions():
    z, mean, log_variance = torch.randn(3, 2), torch.randn(3, 2), torch.randn(3, 2)
    torch.testing.assert_close(log_density(z, mean, log_variance), Normal(mean, (log_variance / 2).exp()).log_prob(z))
    torch.testing.assert_close(log_density(z, 0.0, 10.0), Normal(0.0, torch.e**5).log_prob(z))

"""The input and output of a denoiser that never hold users x items, against the dense computation."""

import torch

from hybridrec.data.batches import Histories
from hybridrec.losses.diffusion import catalogue_squared_error
from hybridrec.views.noise import noisy_rows


def rows(batch: int, items: int, each: int) -> tuple[Histories, torch.Tensor]:
    chosen = torch.rand(batch, items).argsort(1)[:, :each]
    chosen[0] = chosen[0].sort().values
    history = Histories.lists([*map(list, chosen.tolist()), []])  # and a row without an item
    return history, torch.rand(len(history.item), dtype=torch.float64) + 0.1


def dense(history: Histories, items: int, value: torch.Tensor) -> torch.Tensor:
    matrix = torch.zeros(len(history.offset) - 1, items, dtype=value.dtype)
    return matrix.index_put((history.rows, history.item), value)


def test_squared_error_and_its_gradients_equal_the_dense_ones():
    torch.manual_seed(0)
    history, value = rows(6, 50, 4)
    h = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    v = torch.randn(50, 5, dtype=torch.float64, requires_grad=True)
    per_row = torch.rand(7, dtype=torch.float64)
    error = catalogue_squared_error(h, v, history.offset, history.item, value)
    wanted = (h @ v.T - dense(history, 50, value)).square().sum(1)
    torch.testing.assert_close(error, wanted)
    found = torch.autograd.grad((per_row * error).sum(), (h, v))
    torch.testing.assert_close(found, torch.autograd.grad((per_row * wanted).sum(), (h, v)))


def test_squared_error_worked_by_hand():
    # V h = (1, 2, 3), x = (0, 1, 0): 1 + 1 + 9.
    v, h = torch.tensor([[1.0], [2.0], [3.0]]), torch.ones(1, 1)
    assert catalogue_squared_error(h, v, torch.tensor([0, 1]), torch.tensor([1]), torch.ones(1)).tolist() == [11.0]


def test_a_gram_matrix_already_at_hand_changes_nothing():
    torch.manual_seed(0)
    history, value = rows(3, 40, 4)
    h, v = torch.randn(4, 5, dtype=torch.float64), torch.randn(40, 5, dtype=torch.float64)
    args = (history.offset, history.item, value)
    torch.testing.assert_close(catalogue_squared_error(h, v, *args), catalogue_squared_error(h, v, *args, gram=v.T @ v))
    scale = torch.ones(4, dtype=torch.float64)
    torch.manual_seed(1)
    one = noisy_rows(v, *args, scale)
    torch.manual_seed(1)
    torch.testing.assert_close(one, noisy_rows(v, *args, scale, gram=v.T @ v))


def test_without_noise_rows_and_gradient_equal_the_dense_ones():
    torch.manual_seed(0)
    history, value = rows(6, 50, 4)
    w = torch.randn(50, 5, dtype=torch.float64, requires_grad=True)
    out = torch.randn(7, 5, dtype=torch.float64)
    read = noisy_rows(w, history.offset, history.item, value, torch.zeros(7, dtype=torch.float64))
    wanted = dense(history, 50, value) @ w
    torch.testing.assert_close(read, wanted)
    torch.testing.assert_close(torch.autograd.grad((read * out).sum(), w), torch.autograd.grad((wanted * out).sum(), w))


def test_noise_has_the_distribution_of_dense_noise():
    torch.manual_seed(0)
    n, items = 200_000, 30
    w = torch.randn(items, 4, dtype=torch.float64)
    empty = torch.zeros(n + 1, dtype=torch.int64), torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.float64)
    z = noisy_rows(w, *empty, torch.full((n,), 0.5, dtype=torch.float64))
    assert z.mean(0).abs().max() < 5 * 0.5 * w.norm(dim=0).max() / n**0.5
    torch.testing.assert_close(z.T @ z / n, 0.25 * w.T @ w, atol=0.15, rtol=0.02)
    # Gaussian along any direction: the fourth moment is three times the square of the second.
    along = z @ torch.randn(4, dtype=torch.float64)
    assert abs(along.pow(4).mean() / along.square().mean() ** 2 - 3) < 0.1


def test_gradient_of_the_noise_equals_the_dense_gradient_in_expectation():
    torch.manual_seed(0)
    n, items = 400_000, 12
    w = torch.randn(items, 3, dtype=torch.float64, requires_grad=True)
    a = torch.randn(3, 3, dtype=torch.float64)
    empty = torch.zeros(n + 1, dtype=torch.int64), torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.float64)
    scale = torch.rand(n, dtype=torch.float64)

    def loss(z):
        return (torch.tanh(z @ a).square().sum(1) + z[:, 0].sin()).mean()

    sparse = torch.autograd.grad(loss(noisy_rows(w, *empty, scale)), w)[0]
    noise = torch.randn(n, items, dtype=torch.float64)
    wanted = torch.autograd.grad(loss(scale.unsqueeze(1) * (noise @ w)), w)[0]
    assert wanted.abs().max() > 0.02
    torch.testing.assert_close(sparse, wanted, atol=0.003, rtol=0)


def test_gradient_given_the_noise_is_the_mean_of_dense_gradients_that_share_it():
    """Fix z = W'e; e is then free only outside W's columns. Average dense gradients over that freedom."""
    torch.manual_seed(0)
    w = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    empty = torch.zeros(2, dtype=torch.int64), torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.float64)
    z = noisy_rows(w, *empty, torch.ones(1, dtype=torch.float64))
    out = torch.randn(1, 3, dtype=torch.float64)
    found = torch.autograd.grad((z * out).sum(), w)[0]
    basis = torch.linalg.qr(w.detach())[0]
    inside = w.detach() @ torch.linalg.solve(w.detach().T @ w.detach(), z.detach()[0])
    free = torch.randn(100_000, 8, dtype=torch.float64)
    e = inside + free - free @ basis @ basis.T
    torch.testing.assert_close(e[:3] @ w.detach(), z.detach().expand(3, 3), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found, e.mean(0).unsqueeze(1) * out, atol=0.02, rtol=0)


def test_fewer_items_than_dimensions_draw_the_noise_itself():
    torch.manual_seed(0)
    n = 100_000
    w = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    empty = torch.zeros(n + 1, dtype=torch.int64), torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.float64)
    z = noisy_rows(w, *empty, torch.ones(n, dtype=torch.float64))
    torch.testing.assert_close(z.T @ z / n, w.T @ w, atol=0.1, rtol=0.03)
    assert torch.isfinite(torch.autograd.grad(z.square().mean(), w)[0]).all()


def test_nothing_of_size_batch_times_items_is_allocated():
    from torch.utils._python_dispatch import TorchDispatchMode

    biggest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal biggest
            out = func(*args, **(kwargs or {}))
            for x in out if isinstance(out, tuple | list) else [out]:
                if isinstance(x, torch.Tensor):
                    biggest = max(biggest, x.numel())
            return out

    torch.manual_seed(0)
    history, value = rows(99, 2000, 5)
    w, v = (torch.randn(2000, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    with Watch():
        read = noisy_rows(w, history.offset, history.item, value, torch.ones(100, dtype=torch.float64))
        catalogue_squared_error(read, v, history.offset, history.item, value).mean().backward()
    assert biggest == 2000 * 8

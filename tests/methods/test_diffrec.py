"""DiffRec: its schedule, its sampler, its loss and its reverse process, each against the dense or the slow way."""

import pytest
import torch
from diffusers import DDPMScheduler

from hybridrec.data.batches import Histories, Query, Rows
from hybridrec.decoders.denoiser import RowDenoiser
from hybridrec.decoders.diffusion import Diffusion, linear_variance
from hybridrec.methods.diffrec import DiffRec


def test_added_variance_is_a_straight_line_but_for_its_first_step():
    betas = torch.tensor(linear_variance(5, 0.1, 0.1, 0.5), dtype=torch.float64)
    variance = 1 - (1 - betas[1:]).cumprod(0) * (1 - 0.01)
    torch.testing.assert_close(variance, torch.tensor([0.02, 0.03, 0.04, 0.05], dtype=torch.float64))
    assert betas[0] == 1e-5


def test_the_reverse_step_is_the_mean_of_the_schedulers_own():
    diffusion = Diffusion(linear_variance(6, 0.5, 0.01, 0.5))
    plain = DDPMScheduler(6, trained_betas=linear_variance(6, 0.5, 0.01, 0.5), prediction_type="sample", clip_sample=False)
    x0, xt = torch.randn(2, 1, 4)
    for t, clean, noised in diffusion.back():
        draws = torch.stack([plain.step(x0, t, xt).prev_sample for _ in range(4000 if t else 1)])
        torch.testing.assert_close(draws.mean(0), clean * x0 + noised * xt, atol=0.02, rtol=1e-4)
    assert [t for t, _, _ in diffusion.back()] == [5, 4, 3, 2, 1, 0]
    assert diffusion.back(1) == [(5, 1.0, 0.0)]


def test_weights_are_differences_of_signal_to_noise():
    diffusion = Diffusion([1e-5, 0.1, 0.2])
    kept = [1 - 1e-5, (1 - 1e-5) * 0.9, (1 - 1e-5) * 0.9 * 0.8]
    ratio = [a / (1 - a) for a in kept]
    wanted = torch.tensor([1.0, ratio[0] - ratio[1], ratio[1] - ratio[2]])
    torch.testing.assert_close(diffusion.weights(torch.arange(3)), wanted)


def test_times_are_drawn_by_the_size_of_their_recent_losses_once_all_are_known():
    diffusion = Diffusion([0.1] * 3, memory=2)
    diffusion.record(torch.tensor([0, 0, 1, 1, 2]), torch.tensor([1.0, 1.0, 3.0, 3.0, 9.0]))
    assert diffusion.draw(4)[1].tolist() == [1.0] * 4  # uniform still: time 2 has one loss only
    diffusion.record(torch.tensor([2]), torch.tensor([9.0]))
    # Times at sqrt(mean L^2) = 1, 3, 9.
    t, fair = diffusion.draw(100_000)
    chance = 0.999 * torch.tensor([1.0, 3.0, 9.0]) / 13 + 0.001 / 3
    torch.testing.assert_close(torch.bincount(t) / 100_000, chance, atol=0.006, rtol=0)
    torch.testing.assert_close(fair, 1 / (3 * chance[t]))


def test_the_memory_of_losses_is_a_queue_for_each_time():
    diffusion, random = Diffusion([0.1] * 4, memory=3), torch.Generator().manual_seed(0)
    queues = [[] for _ in range(4)]
    for _ in range(20):
        t, loss = torch.randint(4, (9,), generator=random), torch.rand(9, generator=random)
        diffusion.record(t, loss)
        for time, value in zip(t.tolist(), loss.tolist(), strict=True):
            queues[time] = [*queues[time], value][-3:]
    for time in range(4):
        assert sorted(diffusion.recent[time].tolist()) == pytest.approx(sorted(queues[time]))


def test_denoiser_worked_by_hand_and_saved_by_diffusers(tmp_path):
    torch.manual_seed(0)
    model = RowDenoiser(6, (4, 3), time_dim=4).eval()
    x = torch.randn(2, 6)
    t = torch.tensor([0, 7])
    angle = torch.tensor([[0.0, 0.0], [7.0, 0.07]])
    when = model.time(torch.cat([angle.cos(), angle.sin()], 1))
    h = torch.tanh(torch.cat([x, when], 1) @ torch.cat([model.read, model.enter.weight.T]) + model.enter.bias)
    wanted = torch.tanh(model.inner[0](h)) @ model.write[:, :3].T + model.write[:, 3]
    torch.testing.assert_close(model(x, t), wanted)
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(RowDenoiser.from_pretrained(tmp_path)(x, t), wanted)


def small(planted, **arguments):
    torch.manual_seed(0)
    return DiffRec(planted, widths=(8, 6), steps=5, noise=1.0, low=0.01, high=0.5, **arguments)


def test_scores_equal_the_dense_reverse_process(planted):
    method = small(planted).eval()
    history = Histories.lists([[3, 4, 9], [], [1]])
    x = history.dense(40)
    for t, clean, noised in method.diffusion.back():
        x = clean * method.denoiser(x, t) + noised * x
    torch.testing.assert_close(method.score(Query(torch.tensor([-1, -1, 0]), history)), x)


def test_the_one_step_control_is_the_denoiser_asked_once(planted):
    method = small(planted, asks=1).eval()
    history = Histories.lists([[3, 4, 9], [1]])
    once = method.denoiser(history.dense(40), 4)
    torch.testing.assert_close(method.score(Query(torch.tensor([0, 1]), history)), once)
    method.asks = None
    assert not torch.allclose(method.score(Query(torch.tensor([0, 1]), history)), once)


def test_loss_and_gradients_equal_the_dense_ones_without_noise_and_dropout(planted):
    torch.manual_seed(0)
    method = DiffRec(planted, widths=(8, 6), steps=1, noise=1.0, dropout=0.0)
    batch = Rows(torch.arange(3), Histories.lists([[3, 4, 9], [2], [1, 39]]))
    method.diffusion.kept.fill_(1.0)  # abar = 1: a row that is not noised, weighted 1 as every t = 0 is
    found = method(batch)["diffusion"]
    gradient = torch.autograd.grad(found, list(method.parameters()))
    x = batch.history.dense(40)
    wanted = (method.denoiser(x, 0) - x).square().mean()
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradient, torch.autograd.grad(wanted, list(method.parameters())))


def test_loss_equals_the_dense_loss_in_expectation_with_noise_and_dropout(planted):
    torch.manual_seed(0)
    method = DiffRec(planted, widths=(8,), steps=1, noise=1.0, low=0.3, high=0.3, dropout=0.3)
    method.diffusion.kept.fill_(0.7)
    with torch.no_grad():
        method.denoiser.read.mul_(0.3)
    history = Histories.lists([[3, 4, 9]] * 20_000)
    found = method(Rows(torch.arange(20_000), history))["diffusion"]
    x = history.dense(40)
    noised = 0.7**0.5 * x + 0.3**0.5 * torch.randn_like(x)
    wanted = (method.denoiser.train()(noised, 0) - x).square().mean()
    torch.testing.assert_close(found, wanted, rtol=0.01, atol=0)


def test_rows_weighted_by_place(planted):
    history = Histories.lists([[3, 4, 9], [5], [7, 8, 7]])
    torch.testing.assert_close(small(planted).rows(history), torch.tensor([1.0, 1, 1, 1, 0, 1, 1]))
    weighted = small(planted, oldest=0.2).rows(history)
    torch.testing.assert_close(weighted, torch.tensor([0.2, 0.6, 1.0, 0.2, 0.0, 0.6, 1.0]))

"""FlowCF: the sparse interpolation against its law, inference against the dense loop."""

import torch

from hybridrec.data.batches import Histories, Query, Rows
from hybridrec.methods.flowcf import FlowCF


def small(planted, **arguments):
    torch.manual_seed(0)
    return FlowCF(planted, widths=(8, 6), steps=4, **arguments)


def test_frequency_is_the_share_of_users(planted):
    counted = planted.histories().dense(40).mean(0)
    torch.testing.assert_close(small(planted).frequency, counted)


def test_each_entry_is_taken_from_the_row_or_from_the_prior(planted):
    method, n = small(planted), 40_000
    history = Histories.lists([[3, 4, 9]] * n)
    t = torch.full((n,), 0.25)
    noised, value = method.interpolate(history, torch.ones(3 * n), t)
    assert noised.once(40).all() and noised.lengths.sum() == len(value)
    dense = noised.dense(40, value)
    wanted = 0.25 * history.dense(40)[0] + 0.75 * method.frequency
    torch.testing.assert_close(dense.mean(0), wanted, atol=0.012, rtol=0)
    # Entries are independent: the covariance of any two is zero.
    off = torch.cov(dense.T).fill_diagonal_(0)
    assert off.abs().max() < 0.008


def test_at_time_zero_only_the_prior_is_left_and_near_one_only_the_row(planted):
    method = small(planted)
    history = Histories.lists([[3, 4, 9]] * 2000)
    zero = method.interpolate(history, torch.ones(6000), torch.zeros(2000))
    torch.testing.assert_close(zero[0].dense(40, zero[1]).mean(0), method.frequency, atol=0.05, rtol=0)
    last = method.interpolate(history, torch.ones(6000), torch.ones(2000))
    torch.testing.assert_close(last[0].dense(40, last[1]), history.dense(40))


def test_scores_equal_the_dense_loop(planted):
    method = small(planted, asks=4).eval()
    with torch.no_grad():
        method.denoiser.write.mul_(8)  # so that steps add items
    history = Histories.lists([[3, 4, 9], [1], []])
    seen = history.dense(40)
    x, added = seen, 0
    for step in range(4):
        t = step / 4
        out = method.denoiser(x, torch.tensor(2 * torch.pi * t))
        if step < 3:
            after = x + (out - x) / (1 - t) * 0.25
            x = ((after > 0.5) | (seen > 0)).float()
            added += int((x > seen).sum())
    assert added
    torch.testing.assert_close(method.score(Query(torch.tensor([-1, 0, -1]), history)), out)


def test_the_loss_is_the_mean_squared_error_of_the_row(planted, monkeypatch):
    method = small(planted, dropout=0.0)
    batch = Rows(torch.arange(2), Histories.lists([[3, 4, 9], [1, 2]]))
    monkeypatch.setattr(method, "interpolate", lambda history, x, t: (history, x))
    torch.manual_seed(0)
    found = method(batch)["flow"]
    torch.manual_seed(0)
    t = torch.randint(4, (2,)) / 4
    x = batch.history.dense(40)
    torch.testing.assert_close(found, (method.denoiser(x, 2 * torch.pi * t) - x).square().mean())

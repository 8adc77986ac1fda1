"""The schedule and the denoiser of one item's vector, against their formulas written out."""

import math

import torch

from hybridrec.data.batches import Histories
from hybridrec.decoders.approximator import Approximator
from hybridrec.decoders.diffusion import Diffusion, truncated_linear


class Sum(torch.nn.Module):
    """Stands for an encoder: the sum of a row's entries up to each."""

    def forward(self, history, x):
        return torch.cat([x[a:b].cumsum(0) for a, b in zip(history.offset[:-1], history.offset[1:], strict=True)])


def test_truncated_linear_by_hand():
    betas = truncated_linear(32)
    assert len(betas) == 32 and math.isclose(betas[0], 0.013125) and math.isclose(betas[-1], 0.635)
    assert math.isclose(betas[1] - betas[0], (0.635 - 0.013125) / 31)
    assert math.isclose(truncated_linear(4)[-1], 0.26)  # 20 / 4 is no variance
    kept = Diffusion(betas).kept
    assert math.isclose(kept[1].item(), (1 - betas[0]) * (1 - betas[1]))


def test_approximator_reads_a_little_of_the_noised_vector_in_every_entry():
    torch.manual_seed(0)
    part = Approximator(4, Sum(), steps=50, uncertainty=0.5).eval()
    history = Histories.lists([[3, 1, 2], [5]])
    e, x, t = torch.randn(4, 4), torch.randn(2, 4), torch.tensor([3, 40])
    wanted = []
    for row, entries in enumerate([e[:3], e[3:]]):
        angle = 20 * t[row] * torch.tensor([1.0, 1 / 100])  # 10000^(-1/2) is the second of two frequencies
        d = part.time(torch.cat([angle.cos(), angle.sin()]))
        wanted.append((entries + 0.5 * (x[row] + d)).sum(0))
    torch.testing.assert_close(part(history, e, x, t), torch.stack(wanted), rtol=1e-4, atol=1e-5)
    one = part(history, e, x, torch.tensor([7]))
    torch.testing.assert_close(one, part(history, e, x, torch.tensor([7, 7])))  # one time for all


def test_shares_are_drawn_while_training_with_their_mean_as_deviation():
    torch.manual_seed(0)
    part = Approximator(4, Sum(), steps=50, uncertainty=0.3)
    shares = part.shares(Histories.lists([[0] * 5000]), torch.empty(5000, 4))
    assert shares.shape == (5000, 4)
    assert abs(shares.mean() - 0.3) < 0.01 and abs(shares.std() - 0.3) < 0.01
    assert part.eval().shares(Histories.lists([[0]]), torch.empty(1, 4)) == 0.3

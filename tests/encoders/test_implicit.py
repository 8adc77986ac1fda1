"""The implicit posterior, against its formula entry by entry."""

import torch
import torch.nn.functional as F

from hybridrec.data.batches import Histories
from hybridrec.encoders.implicit import REACH, ImplicitPosterior

HISTORY = Histories.lists([[0] * 7, [0], [0] * 3])


def test_without_noise_it_equals_its_formula_entry_by_entry():
    torch.manual_seed(0)
    part = ImplicitPosterior(4, 3).eval()
    h = torch.randn(11, 4)
    y, wanted = F.softplus(part.first(h)), []
    for a, b in zip(HISTORY.offset[:-1].tolist(), HISTORY.offset[1:].tolist(), strict=True):
        for t in range(a, b):
            near = part.near.bias.clone()
            for back in range(min(REACH, t - a + 1)):
                near = near + part.near.weight[:, :, REACH - 1 - back] @ y[t - back]
            wanted.append(part.outward(h[t] + F.softplus(part.last(F.softplus(near)))))
    torch.testing.assert_close(part(HISTORY, h), torch.stack(wanted))


def test_while_training_it_draws_around_what_was_read():
    torch.manual_seed(0)
    part = ImplicitPosterior(4, 3, dropout=0.0)
    h = torch.randn(11, 4)
    assert not torch.allclose(part(HISTORY, h), part(HISTORY, h))
    many = Histories.lists([[0] * 20000])
    x = torch.randn(4).expand(20000, 4)
    torch.testing.assert_close(part.disturbed(many, x).mean(0), x[0], atol=0.02, rtol=0)
    noise = part.disturbed(many, x) - x
    assert noise.abs().max() < 1 and (noise.std(0) > 0.1).all()

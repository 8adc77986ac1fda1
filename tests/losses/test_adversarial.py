import math

import torch
import torch.nn.functional as F
from torch import tensor

from hybridrec.losses.adversarial import deceive, discriminate, policy_gradient


def test_two_players_by_hand():
    real, fake = tensor([0.0, 2.0]), tensor([-1.0])
    wanted = F.binary_cross_entropy_with_logits(real, torch.ones(2)) + F.binary_cross_entropy_with_logits(fake, torch.zeros(1))
    torch.testing.assert_close(discriminate(real, fake), wanted)
    torch.testing.assert_close(deceive(fake), F.binary_cross_entropy_with_logits(fake, torch.ones(1)))


def test_the_generator_still_learns_where_the_discriminator_is_sure():
    fake = tensor([-20.0], requires_grad=True)
    deceive(fake).backward()
    assert math.isclose(fake.grad.item(), -1.0, rel_tol=1e-4)


def test_policy_gradient_equals_the_gradient_of_the_expected_reward():
    # Over every sample, weighted by its probability, REINFORCE is the exact gradient of sum_i p_i r_i.
    logits, reward = tensor([0.3, -0.2, 1.0], requires_grad=True), tensor([1.0, 5.0, -2.0], requires_grad=True)
    p = logits.softmax(0)
    (wanted,) = torch.autograd.grad(-(p * reward.detach()).sum(), logits)
    log_p = logits.log_softmax(0)
    expected = sum(p[i].detach() * policy_gradient(log_p[i : i + 1], reward[i : i + 1], baseline=0.7) for i in range(3))
    ours, untouched = torch.autograd.grad(expected, (logits, reward), allow_unused=True)
    torch.testing.assert_close(ours, wanted)
    assert untouched is None

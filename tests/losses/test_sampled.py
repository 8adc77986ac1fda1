"""Losses against drawn items, by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from hybridrec.losses.sampled import calibrated_power, logistic_of, shared_scores, softmax_of


def test_a_target_that_is_drawn_is_no_negative():
    items = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    own, others = shared_scores(torch.tensor([[1.0, 1.0], [2.0, 0.0]]), items, torch.tensor([2, 0]), torch.tensor([0, 2, 2]))
    assert own.tolist() == [6.0, 2.0]
    assert others.tolist() == [[1.0, -math.inf, -math.inf], [-math.inf, 6.0, 6.0]]


def test_softmax_is_cross_entropy_with_the_wanted_item_first():
    own, others = torch.randn(5, dtype=torch.float64), torch.randn(5, 7, dtype=torch.float64)
    wanted = F.cross_entropy(torch.cat([own.unsqueeze(1), others], 1), torch.zeros(5, dtype=torch.int64))
    torch.testing.assert_close(softmax_of(own, others), wanted)
    assert softmax_of(own, torch.full((5, 2), -torch.inf)) == 0


def test_logistic_is_binary_cross_entropy():
    own, others = torch.randn(5, dtype=torch.float64), torch.randn(5, 1, dtype=torch.float64)
    wanted = F.binary_cross_entropy_with_logits(own, torch.ones_like(own))
    wanted = wanted + F.binary_cross_entropy_with_logits(others, torch.zeros_like(others))
    torch.testing.assert_close(logistic_of(own, others), wanted)
    torch.testing.assert_close(logistic_of(own, others, 0.5), wanted - 0.5 * F.softplus(-own).mean())


@pytest.mark.parametrize(("calibration", "power"), [(0.0, 1.0), (1.0, 0.1), (0.5, 0.55)])
def test_the_power_lies_between_one_and_the_share_drawn(calibration, power):
    assert calibrated_power(10, 101, calibration) == pytest.approx(power)

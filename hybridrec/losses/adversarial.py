"""Losses of two players: gradients through the generator where it is differentiable, policy gradients where it is not."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def discriminate(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's ``mean -log D(real) + mean -log(1 - D(fake))``, D the sigmoid of a score.

    Goodfellow et al. 2014, arXiv 1406.2661, eq. 1. Shapes: scores (B,) and (n,); returns a scalar.
    """
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def deceive(fake: Tensor) -> Tensor:
    """The differentiable generator's ``mean -log D(fake)``, the form that does not saturate while D wins.

    Goodfellow et al. 2014, arXiv 1406.2661, sec. 3. ``fake`` (n,) scores of generated samples; returns a scalar.
    """
    return F.softplus(-fake).mean()


def policy_gradient(log_probability: Tensor, reward: Tensor, baseline: Tensor | float = 0.0) -> Tensor:
    """The non-differentiable generator's ``mean -(reward - baseline) log p(sample)``.

    Williams 1992 (REINFORCE); IRGAN, Wang et al. 2017, arXiv 1705.10513, eq. 6. Shapes: (n,) each; no gradient flows
    into the reward; returns a scalar.
    """
    return -((reward - baseline).detach() * log_probability).mean()

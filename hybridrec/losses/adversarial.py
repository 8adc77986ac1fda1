"""Losses of two players: gradients through the generator where it is differentiable, policy gradients where it is not."""

from __future__ import annotations

from typing import Any

import torch
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


def opposed(x: Tensor, scale: float = 1.0) -> Tensor:
    """``x`` itself, whose gradient comes back negated, times ``scale``: what made it ascends where what reads it descends.

    Ganin & Lempitsky 2015, arXiv 1409.7495, eqs. 11 and 12. Any shape.
    """
    return _Opposed.apply(x, scale)


class _Opposed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * grad, None

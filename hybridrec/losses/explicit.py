"""Contrastive objectives that need no negative pair: the survey's explicit objectives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridrec.losses.contrastive import log_sum_exp


def alignment(one: Tensor, two: Tensor) -> Tensor:
    """``mean |n(x) - n(y)|^2`` over positive pairs, where n scales to unit length.

    Wang & Isola 2020, arXiv 2005.10242, sec. 4.1 (alpha = 2); DirectAU, Wang et al. 2022, arXiv 2206.12811, eq. 5.
    Shapes: (B, D) each; returns a scalar.
    """
    return (F.normalize(one, dim=-1) - F.normalize(two, dim=-1)).square().sum(-1).mean()


def uniformity(x: Tensor) -> Tensor:
    """``log mean_{i != j} exp(-2 |n(x_i) - n(x_j)|^2)``: the lower, the more evenly ``x`` covers the sphere.

    Wang & Isola 2020, arXiv 2005.10242, sec. 4.1 (t = 2). ``x`` (B, D), B > 1; returns a scalar, without a (B, B) matrix.
    """
    x = F.normalize(x.float(), dim=-1)
    row = log_sum_exp(4 * x, x)  # -2 |x - y|^2 = 4 <x, y> - 4 on the sphere
    own = 4 * x.square().sum(-1)
    others = row + torch.log1p(-(own - row).exp().clamp(max=1 - torch.finfo(x.dtype).eps))
    return others.logsumexp(0) - 4 - torch.tensor(len(x) * (len(x) - 1.0), device=x.device).log()


def bootstrap(online: Tensor, target: Tensor) -> Tensor:
    """BYOL's ``mean 2 - 2 cos(p, stop(z))``: the online prediction follows the target, which takes no gradient.

    Grill et al. 2020, BYOL, arXiv 2006.07733, eq. 2. Shapes: (B, D) each; returns a scalar.
    """
    return (2 - 2 * F.cosine_similarity(online, target.detach(), dim=-1)).mean()


def barlow_twins(one: Tensor, two: Tensor, redundancy: float = 5e-3) -> Tensor:
    """``sum_d (1 - C_dd)^2 + redundancy * sum_{d != e} C_de^2``, C the correlation of the two views' columns.

    Zbontar et al. 2021, Barlow Twins, arXiv 2103.03230, eqs. 1 and 2. Shapes: (B, D) each, B > 1; returns a scalar.
    """
    correlation = _standard(one).T @ _standard(two) / len(one)  # (D, D)
    own = correlation.diagonal()
    return (1 - own).square().sum() + redundancy * (correlation.square().sum() - own.square().sum())


def _standard(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred / centred.square().mean(0).add(1e-12).sqrt()


def vicreg(
    one: Tensor, two: Tensor, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0, gamma: float = 1.0
) -> Tensor:
    """Views alike, each column's spread at least ``gamma``, columns uncorrelated.

    Bardes et al. 2022, VICReg, arXiv 2105.04906, eqs. 1 to 6. Shapes: (B, D) each, B > 1; returns a scalar.
    """
    loss = invariance * F.mse_loss(one, two)
    for x in (one, two):
        x = x - x.mean(0)
        spread = (x.square().sum(0) / (len(x) - 1) + 1e-4).sqrt()
        off = (x.T @ x / (len(x) - 1)).fill_diagonal_(0)
        loss = loss + variance / 2 * F.relu(gamma - spread).mean() + covariance * off.square().sum() / x.shape[1]
    return loss


def feature_uniformity(x: Tensor, shift: float = 1e-7, degree: int = 4) -> Tensor:
    """``log mean_{d, e} (<x_d, x_e> + shift)^degree`` over standardised columns: the lower, the less alike they are.

    RecDCL, Zhang et al. 2024, arXiv 2401.15635, eq. 6 (sums over the batch, as the authors' code has it). ``x`` (B, D).
    """
    x = _standard(x)
    return (x.T @ x + shift).pow(degree).mean().log()

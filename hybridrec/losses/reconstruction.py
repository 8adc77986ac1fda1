"""Losses that measure how well what was corrupted is rebuilt: the survey's reconstructive objectives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def multinomial(logits: Tensor, rows: Tensor, items: Tensor) -> Tensor:
    """Multinomial negative log-likelihood of sparse rows: ``mean_b -sum_{i in b} log softmax(logits_b)_i``.

    Liang et al. 2018, MultVAE, arXiv 1802.05814, eq. 2. Shapes: ``logits`` (B, I); the chosen entries as ``rows`` (n,)
    and ``items`` (n,); returns a scalar, the mean over B rows.
    """
    picked = logits[rows, items].sum() - (logits.logsumexp(1) * torch.bincount(rows, minlength=len(logits))).sum()
    return -picked / len(logits)


def gaussian(prediction: Tensor, rows: Tensor, items: Tensor, weight: float = 1.0) -> Tensor:
    """Squared error against sparse 0/1 rows, chosen entries counted ``weight`` times: ``mean_b sum_i w_bi (x_bi - p_bi)^2``.

    The Gaussian likelihood of Liang et al. 2018, arXiv 1802.05814, eq. 3. Shapes: ``prediction`` (B, I), ``rows`` (n,) and
    ``items`` (n,) the chosen entries; returns a scalar, the mean over B rows.
    """
    chosen = prediction[rows, items]
    return (prediction.square().sum() + (weight * (1 - chosen).square() - chosen.square()).sum()) / len(prediction)


def bernoulli(logits: Tensor, rows: Tensor, items: Tensor) -> Tensor:
    """Logistic negative log-likelihood of sparse 0/1 rows: ``mean_b sum_i softplus(l_bi) - x_bi l_bi``.

    Liang et al. 2018, arXiv 1802.05814, eq. 4; CDAE, Wu et al. 2016 (WSDM). Shapes as ``multinomial``; returns a scalar.
    """
    return (F.softplus(logits).sum() - logits[rows, items].sum()) / len(logits)


def scaled_cosine_error(prediction: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """``mean (1 - cos(prediction, target))^gamma``: blind to length, and easy rows count less the larger ``gamma``.

    Hou et al. 2022, GraphMAE, arXiv 2205.10803, eq. 2. Shapes: (B, D) each; returns a scalar.
    """
    return (1 - F.cosine_similarity(prediction, target, dim=-1)).clamp(min=0).pow(gamma).mean()


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """``mean_b KL(N(mean, exp(log_variance)) || N(0, I))``.

    Kingma & Welling 2014, arXiv 1312.6114, appendix B. Shapes: (B, D) each; returns a scalar.
    """
    return kl_per_dimension(mean, log_variance).sum(-1).mean()


def kl_per_dimension(mean: Tensor, log_variance: Tensor) -> Tensor:
    """The terms that ``gaussian_kl`` sums: ``1/2 (mean^2 + variance - 1 - log variance)``, (B, D)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2


def annealed(step: int, steps: int, cap: float) -> float:
    """The weight of the KL term after ``step`` updates: straight from 0 to ``cap`` at ``steps``, ``cap`` from then on.

    Liang et al. 2018, arXiv 1802.05814, sec. 2.2.2.
    """
    return cap if steps <= 0 else cap * min(1.0, step / steps)

"""Losses that rank what was chosen above what was not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridrec.losses.contrastive import log_sum_exp


def bpr(anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Bayesian personalised ranking: ``mean -log sigmoid(<a, p> - <a, n>)``.

    Rendle et al. 2009, BPR, arXiv 1205.2618. Shapes: ``anchor`` (B, D), ``positive`` (B, D), ``negative`` (B, D) or
    (B, n, D); returns a scalar, the mean over batch and negatives.
    """
    if negative.dim() == 3:
        anchor, positive = anchor.unsqueeze(1), positive.unsqueeze(1)
    margin = (anchor * (positive - negative)).sum(-1)
    return F.softplus(-margin).mean()


def squared_norm(*embeddings: Tensor) -> Tensor:
    """Half the squared length of the embeddings of a batch, per row: the L2 term of BPR as LightGCN's authors apply it.

    Shapes: each (B, D) or (B, n, D); returns ``sum 1/2 |x|^2 / B``, a scalar.
    """
    return sum((x.square().sum() for x in embeddings), start=embeddings[0].new_zeros(())) / (2 * len(embeddings[0]))


def sampled_softmax(anchor: Tensor, positive: Tensor, negative: Tensor, temperature: float = 1.0) -> Tensor:
    """The positive against sampled negatives: ``mean -log exp(s_p / t) / (exp(s_p / t) + sum_n exp(s_n / t))``.

    Wu et al. 2022, On the effectiveness of sampled softmax loss, arXiv 2201.02327, eq. 3. Shapes: ``anchor`` (B, D),
    ``positive`` (B, D), ``negative`` (B, n, D); returns a scalar. For every item as candidate: ``contrastive.log_sum_exp``.
    """
    own = (anchor * positive).sum(-1, keepdim=True)  # (B, 1)
    others = torch.einsum("bd,bnd->bn", anchor, negative)
    return (torch.cat([own, others], dim=1) / temperature).logsumexp(1).sub(own.squeeze(1) / temperature).mean()


def softmax(anchor: Tensor, items: Tensor, positive: Tensor) -> Tensor:
    """The positive against every item: ``mean log sum_i exp <a, v_i> - <a, v_p>``.

    Shapes: ``anchor`` (B, D), ``items`` (I, D), ``positive`` (B,) positions; returns a scalar without a (B, I) matrix.
    """
    return (log_sum_exp(anchor, items) - (anchor * items[positive]).sum(-1)).mean()


def cosine_contrastive(near: Tensor, far: Tensor, margin: float = 0.9, weight: float = 150.0) -> Tensor:
    """``mean (1 - cos(a, p)) + weight * mean_n max(0, cos(a, n) - margin)``: only hard negatives have a gradient.

    Mao et al. 2021, SimpleX, arXiv 2109.12613, eq. 2. Shapes: ``near`` (B,), cosines with the positives, and ``far`` (B, n),
    those with the negatives; returns a scalar.
    """
    return (1 - near + weight * F.relu(far - margin).mean(1)).mean()


def squared_length(*parameters: Tensor) -> Tensor:
    """``sum |x|^2`` over whole parameters: the ``|Theta|_F^2`` of many papers; returns a scalar."""
    return torch.stack([x.square().sum() for x in parameters]).sum()

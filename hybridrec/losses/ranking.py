"""Losses that rank what was chosen above what was not."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


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

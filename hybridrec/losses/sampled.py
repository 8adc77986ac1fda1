"""Losses of a wanted item against some items drawn from the catalogue, as functions of their scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def shared_scores(anchor: Tensor, items: Tensor, target: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of each row's target (n,) and of the ``drawn`` items, the same for all rows (n, K); a target drawn has -inf.

    Shapes: ``anchor`` (n, D), ``items`` (I, D), ``target`` (n,) and ``drawn`` (K,) positions.
    """
    others = (anchor @ items[drawn].T).masked_fill(target.unsqueeze(1) == drawn, -torch.inf)
    return (anchor * items[target]).sum(1), others


def softmax_of(own: Tensor, others: Tensor) -> Tensor:
    """``mean -log e^own / (e^own + sum e^others)``: ``own`` (n,), ``others`` (n, K); a scalar."""
    return (torch.cat([own.unsqueeze(1), others], 1).logsumexp(1) - own).mean()


def logistic_of(own: Tensor, others: Tensor, power: float = 1.0) -> Tensor:
    """``mean -log sigmoid(own)^power - sum log(1 - sigmoid(others))``: ``own`` (n,), ``others`` (n, K); a scalar.

    Binary cross-entropy at power 1. A smaller power is gBCE (Petrov & Macdonald 2023, arXiv 2308.07192, eq. 7), which takes
    back the overconfidence that sampling brings: see ``calibrated_power``.
    """
    return (power * F.softplus(-own) + F.softplus(others).sum(1)).mean()


def calibrated_power(drawn: int, items: int, calibration: float) -> float:
    """The power of gBCE for ``drawn`` of ``items`` negatives: ``a (t (1 - 1/a) + 1/a)``, ``a = K / (I - 1)`` (eq. 12).

    At calibration t = 0 it is 1, plain binary cross-entropy; at 1 the share of items that is drawn.
    """
    share = drawn / (items - 1)
    return share * (calibration * (1 - 1 / share) + 1 / share)

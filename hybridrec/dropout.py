"""Dropout that is not held up by drawing its mask."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridrec.errors import ArgumentError

STEPS = 2**16  # a rate is rounded to so many


def dropout(x: Tensor, rate: float, training: bool = True) -> Tensor:
    """``x`` with entries at 0, each with probability ``rate``, the others scaled up to keep the mean; same shape and type.

    Srivastava et al. 2014, JMLR 15. On a CPU torch draws one number an entry, one after the other, which takes longer than
    the layer before it; here four entries share the 64 bits of a draw, and the rate is rounded to 1/65,536. Elsewhere this is
    ``torch.nn.functional.dropout``. Raises ArgumentError for a rate that is not in [0, 1].
    """
    _check(rate)
    left_out = round(rate * STEPS)
    if not training or not left_out:
        return x
    if x.device.type != "cpu" or left_out == STEPS:
        return F.dropout(x, rate)
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[: x.numel()].view(x.shape)
    return x * ((bits >= left_out - STEPS // 2).to(x.dtype) * (STEPS / (STEPS - left_out)))


def _check(rate: float) -> None:
    if not 0 <= rate <= 1:
        raise ArgumentError(f"rate of dropout must be in [0, 1], not {rate}")


class Dropout(nn.Dropout):
    """``dropout`` as a layer. Raises ArgumentError for a rate that is not in [0, 1]."""

    def __init__(self, rate: float) -> None:
        _check(rate)
        super().__init__(rate)

    def forward(self, x: Tensor) -> Tensor:
        """``x``, with entries left out while training."""
        return dropout(x, self.p, self.training)

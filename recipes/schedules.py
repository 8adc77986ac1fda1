"""Learning rates over the steps of a run, for the recipes that share them."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def falling(optimizer: Optimizer, steps: int) -> LambdaLR:
    """Up over the first hundred steps, then down to zero in a straight line."""
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 100) * max(0.0, 1 - step / steps))

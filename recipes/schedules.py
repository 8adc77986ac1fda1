"""Learning rates over the steps of a run, runs to the end, closed forms: training that recipes share."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

import hybridrec as hr


def falling(optimizer: Optimizer, steps: int) -> LambdaLR:
    """Up over the first hundred steps, then down to zero in a straight line."""
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 100) * max(0.0, 1 - step / steps))


def warm_cosine(optimizer: Optimizer, steps: int) -> LambdaLR:
    """Five steps up, then half a cosine down to a twentieth."""
    return LambdaLR(optimizer, lambda t: min(1.0, (t + 1) / 5) * max(0.05, 0.5 * (1 + math.cos(math.pi * t / steps))))


def to_the_end(
    method: Any, data: hr.Dataset, epochs: int, batch_size: int, lr: float, seed: int, progress: bool = True
) -> None:
    """Train ``method`` for all its epochs under ``falling`` and keep the last weights: nothing is validated on the way."""
    hr.fit(
        method,
        data,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        schedule=falling,
        every=epochs,
        patience=None,
        validate=lambda _: 0.0,
        seed=seed,
        progress=progress,
    )


def solved(method: Any, data: hr.Dataset, seed: int = 0) -> Any:
    """A closed form, solved on the GPU where there is one."""
    hr.fit(method.to(torch.accelerator.current_accelerator() or "cpu"), data, seed=seed)
    return method

"""The moving average of weights."""

from __future__ import annotations

import torch
from torch import nn

from hybridrec.errors import ArgumentError


class Average:
    """The moving average of a method's trained weights, and its exchange with the weights themselves.

    Polyak & Juditsky 1992; the first steps count more, as ``min(decay, (1 + t) / (10 + t))`` after t steps.
    """

    def __init__(self, method: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ArgumentError(f"average must lie in [0, 1), not {decay}")
        self.decay, self.steps = decay, 0
        self.weights = [p for p in method.parameters() if p.requires_grad]
        self.mean = [p.detach().clone() for p in self.weights]

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of one more step in."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.mean, [p.detach() for p in self.weights], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Put the average in the place of the weights, or the weights back in theirs."""
        for weight, mean in zip(self.weights, self.mean, strict=True):
            kept = weight.clone()
            weight.copy_(mean)
            mean.copy_(kept)

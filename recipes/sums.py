"""Scores of methods added up, where ``hybridrec.Blend`` does not serve: its parts can be saved, these need not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from hybridrec.data.batches import Query


class Sum:
    """Standardised scores of methods over one catalogue, each times its weight."""

    def __init__(self, methods: Sequence[Any], weights: Sequence[float] | None = None) -> None:
        self.methods, self.weights = methods, weights or [1.0] * len(methods)

    def score(self, query: Query) -> torch.Tensor:
        """Scores of all items: (B, I)."""
        scores = (m.score(query) for m in self.methods)
        weighed = [w * torch.nn.functional.layer_norm(s, s.shape[1:]) for w, s in zip(self.weights, scores, strict=True)]
        return torch.stack(weighed).sum(0)

"""BSPM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from hybridrec.data.batches import Query
from hybridrec.linear import interactions, right_vectors
from hybridrec.rows import Recency, multiply, timed
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class BSPM(nn.Module):
    """Rows blurred over the item graph, then sharpened: a diffusion without noise and without learning.

    Choi et al. 2023, Blurring-sharpening process models, arXiv 2211.09324, eqs. 7 to 13, Euler steps, late merge: with
    ``R = D_U^-1/2 X D_I^-1/2``, ``P = R'R`` and V its leading vectors, blur ``b = x + blur (xP - x)`` and low-pass
    ``l = x D_I^-1/2 V V' D_I^1/2`` are merged to ``y = b + ideal l``, then sharpened ``steps`` times:
    ``y - sharpen yP / steps``.
    ``sharpen`` = 0 is the one-step control.
    reconstructive | data-based views (blurring) | - | -

    Shapes: ``smooth`` P (I, I); ``into`` and ``out`` (I, D), ``D_I^-1/2 V`` and ``D_I^1/2 V``.
    """

    sampler = None
    smooth: Tensor
    into: Tensor
    out: Tensor

    def __init__(
        self,
        data: Dataset,
        dim: int = 256,
        ideal: float = 0.3,
        blur: float = 1.0,
        sharpen: float = 1.0,
        steps: int = 1,
        recency: Recency | None = None,
    ) -> None:
        super().__init__()
        self.dim, self.ideal, self.blur, self.sharpen, self.steps = dim, ideal, blur, sharpen, steps
        self.recency = recency
        for name in ("smooth", "into", "out"):
            self.register_buffer(name, torch.empty(0))

    def solve(self, data: Dataset) -> None:
        """Normalise, multiply, find the vectors. Raises DataError where ``dim`` is too large, and for recency without time."""
        from scipy.sparse import diags

        from hybridrec.linear import gram

        timed(data, self.recency)
        x = interactions(data)
        users, items = (np.sqrt(np.maximum(np.asarray(x.sum(axis), dtype=np.float32).ravel(), 1)) for axis in (1, 0))
        r = (diags(1 / users) @ x @ diags(1 / items)).tocsr()
        vectors, root = right_vectors(r, self.dim), torch.from_numpy(items).unsqueeze(1)
        self.smooth = gram(r).to(self.smooth.device)
        self.into, self.out = (vectors / root).to(self.into.device), (vectors * root).to(self.out.device)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        y = self.blur * multiply(query.history, self.smooth, self.recency)
        y += self.ideal * (multiply(query.history, self.into, self.recency) @ self.out.T)
        if self.blur != 1:
            y += (1 - self.blur) * query.history.dense(y.shape[1])
        for _ in range(self.steps if self.sharpen else 0):
            y = torch.addmm(y, y, self.smooth, alpha=-self.sharpen / self.steps)
        return y

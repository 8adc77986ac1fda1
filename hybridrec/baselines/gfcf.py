"""GF-CF."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from hybridrec.data.batches import Query
from hybridrec.linear import interactions, right_vectors
from hybridrec.rows import ItemWeights, Recency, multiply, timed
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class GFCF(nn.Module):
    """A linear and an ideal low-pass filter on the item graph, added; nothing is learned.

    Shen et al. 2021, How powerful is graph convolution for recommendation?, arXiv 2108.07505, and the authors' code: with
    ``R = D_U^-1/2 X D_I^-1/2`` and ``V`` its leading right singular vectors,
    ``s = x (R'R + ideal D_I^-1/2 V V' D_I^1/2)``. The authors keep 256 vectors and ``ideal`` = 0.3.

    ``dim`` is D; ``recency`` weights the history. Shapes: ``smooth`` R'R (I, I), sparse unless the data are dense;
    ``into`` and ``out`` (I, D), ``D_I^-1/2 V`` and ``D_I^1/2 V``.
    """

    into: Tensor
    out: Tensor

    def __init__(self, data: Dataset, dim: int = 256, ideal: float = 0.3, recency: Recency | None = None) -> None:
        super().__init__()
        self.dim, self.ideal, self.recency = dim, ideal, recency
        self.smooth = ItemWeights()
        self.register_buffer("into", torch.empty(0))
        self.register_buffer("out", torch.empty(0))

    def solve(self, data: Dataset) -> None:
        """Normalise, multiply, find the vectors. Raises DataError where ``dim`` is too large, and for recency without time."""
        from scipy.sparse import diags

        timed(data, self.recency)
        x = interactions(data)
        users, items = (np.sqrt(np.maximum(np.asarray(x.sum(axis), dtype=np.float32).ravel(), 1)) for axis in (1, 0))
        r = diags(1 / users) @ x @ diags(1 / items)
        self.smooth.fill(r.T @ r)
        vectors, root = right_vectors(r.tocsr(), self.dim), torch.from_numpy(items).unsqueeze(1)
        self.into, self.out = (vectors / root).to(self.into.device), (vectors * root).to(self.out.device)

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        low = multiply(query.history, self.into, self.recency) @ self.out.T
        return low.mul_(self.ideal).add_(self.smooth(query.history, self.recency))

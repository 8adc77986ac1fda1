"""Item neighbourhoods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from hybridrec.data.batches import Query
from hybridrec.linear import BLOCK, interactions
from hybridrec.rows import ItemWeights, Recency, timed
from hybridrec.saving import configured

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


@configured
class ItemKNN(nn.Module):
    """An item is worth the similarity of its nearest items to those in the history.

    Deshpande & Karypis 2004, Item-based top-N recommendation algorithms, ACM TOIS 22(1). Similarity
    ``s_ij = <x_i, x_j> / (|x_i| |x_j| + shrink)`` of the items' columns; of each item only the ``neighbours`` most similar
    others are kept (ties: the lower position), and the sum over the history is not normalised.

    ``shrink`` lowers similarities that rest on few users; ``recency`` weights the history.
    """

    def __init__(self, data: Dataset, neighbours: int = 200, shrink: float = 0.0, recency: Recency | None = None) -> None:
        super().__init__()
        self.neighbours, self.shrink, self.recency = neighbours, shrink, recency
        self.weights = ItemWeights()

    def solve(self, data: Dataset) -> None:
        """Find every item's neighbours, a block of items at a time. Raises DataError for recency without time."""
        from scipy.sparse import csc_matrix, hstack

        timed(data, self.recency)
        x = interactions(data)
        columns, length = x.T.tocsr(), np.sqrt(np.asarray(x.sum(0), dtype=np.float64).ravel())
        blocks = []
        for start in range(0, x.shape[1], BLOCK):
            shared = (columns @ x[:, start : start + BLOCK]).tocsc()  # (I, block)
            shared.sort_indices()
            target = np.repeat(np.arange(shared.shape[1]), np.diff(shared.indptr))
            value = shared.data / (length[shared.indices] * length[start + target] + self.shrink)
            value[shared.indices == start + target] = 0
            # By column, then by falling similarity, then by position: the first of each column stay. Of floats of one sign
            # the bits sort as the numbers do, so that one integer key sorts ten times as fast as two keys.
            order = np.argsort((target << 32) - value.astype(np.float32).view(np.int32), kind="stable")
            rank = np.arange(len(order)) - shared.indptr[target]
            kept = order[(rank < self.neighbours) & (value[order] > 0)]
            blocks.append(csc_matrix((value[kept], (shared.indices[kept], target[kept])), shape=shared.shape))
        self.weights.fill(hstack(blocks))

    def score(self, query: Query) -> Tensor:
        """Scores of all items: (B, I)."""
        return self.weights(query.history, self.recency)

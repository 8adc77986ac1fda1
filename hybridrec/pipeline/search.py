"""Search for the items of largest product with a query, where scoring every one of them takes too long."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from hybridrec.data.batches import Histories
from hybridrec.errors import HybridrecError
from hybridrec.evaluation.topk import best

SCORES = 1 << 22  # scores held at once

logger = logging.getLogger("hybridrec")


class Search(Protocol):
    """Finds the items of largest product with a query among the vectors it was last given."""

    def build(self, vectors: Tensor, queries: Tensor) -> None:
        """Take in the item vectors (I, D); ``queries`` (n, D) are a sample of what will be asked."""

    def __call__(self, query: Tensor, seen: Histories, k: int) -> tuple[Tensor, Tensor]:
        """The ``k`` best items of each query (B, D) that are not ``seen``: scores and positions (B, k), -inf at the end."""


def exact(vectors: Tensor, query: Tensor, seen: Histories, k: int) -> tuple[Tensor, Tensor]:
    """What a ``Search`` finds, by scoring every one of ``vectors`` (I, D); equal scores in order of position."""

    def blocks() -> Iterator[tuple[int, Tensor]]:
        start = 0
        for block in vectors.split(max(1, SCORES // max(1, len(query)))):
            yield start, query @ block.T
            start += len(block)

    return best(blocks(), seen, k)


class Faiss:
    """An inverted file of faiss: vectors lie in cells around centres, and only the nearest cells are searched.

    Johnson, Douze & Jegou 2017, arXiv 1702.08734. ``cells`` defaults to 4 sqrt(I); ``probes`` of them are searched. Building
    measures ``recall``: the share of the exact ten best that are found, over a sample of queries; it is logged.

    A query whose cells hold fewer than ``k`` items that are not seen is answered by exact search.
    """

    def __init__(self, cells: int | None = None, probes: int = 32, seed: int = 0) -> None:
        self.cells, self.probes, self.seed = cells, probes, seed
        self.recall = float("nan")

    def build(self, vectors: Tensor, queries: Tensor) -> None:
        """Cluster ``vectors`` (I, D) into cells and measure the recall on ``queries`` (n, D)."""
        try:
            import faiss
        except ImportError as e:
            raise HybridrecError("approximate search needs faiss: pip install 'hybridrec[search]'") from e
        items, width = vectors.shape
        cells = max(1, min(self.cells or int(4 * items**0.5), items))
        self.coarse = faiss.IndexFlatIP(width)  # kept: the index below only points to it
        self.index: Any = faiss.IndexIVFFlat(self.coarse, width, cells, faiss.METRIC_INNER_PRODUCT)
        self.index.cp.min_points_per_centroid = 1  # else faiss remarks on standard error where cells are few
        self.index.cp.seed = self.seed
        self.index.nprobe = min(self.probes, cells)
        self.vectors = vectors
        dense = vectors.cpu().contiguous().numpy()
        self.index.train(dense)
        self.index.add(dense)
        if len(queries):
            none = Histories.lists([[]] * len(queries), vectors.device)
            k = min(10, items)
            found, wanted = self._near(queries, k)[1], exact(vectors, queries, none, k)[1].cpu()
            self.recall = (found.unsqueeze(2) == wanted.unsqueeze(1)).any(1).float().mean().item()
            logger.info(
                "faiss: recall@%d against exact search %.4f over %d queries (%d items, %d of %d cells searched)",
                *(k, self.recall, len(queries), items, self.index.nprobe, cells),
            )

    def _near(self, query: Tensor, k: int) -> tuple[Tensor, Tensor]:
        scores, index = self.index.search(query.cpu().contiguous().numpy(), k)
        return torch.from_numpy(scores), torch.from_numpy(index)

    def __call__(self, query: Tensor, seen: Histories, k: int) -> tuple[Tensor, Tensor]:
        """See ``Search``."""
        items, hidden = self.index.ntotal, seen.to("cpu")
        scores, index = self._near(query, min(k + int(hidden.lengths.max()), items))
        key = torch.arange(len(query)).unsqueeze(1) * items + index
        out = (index < 0) | torch.isin(key, hidden.rows * items + hidden.item)
        # What is left moves to the front, in the order it came.
        order = out.int().argsort(dim=1, stable=True)[:, :k]
        scores, index = scores.masked_fill(out, -torch.inf).gather(1, order), index.gather(1, order)
        if len(short := scores.isinf().any(1).nonzero().flatten()):
            at = short.to(query.device)
            more = exact(self.vectors, query[at], seen.take(at), k)
            scores[short], index[short] = more[0].cpu(), more[1].cpu()
        return scores, index

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


class Index(Protocol):
    """Item vectors made ready to be searched."""

    def __call__(self, query: Tensor, seen: Histories, k: int) -> tuple[Tensor, Tensor]:
        """The ``k`` best items of each query (B, D) that are not ``seen``: scores and positions (B, k), -inf at the end."""


class Search(Protocol):
    """A way to find the items of largest product with a query."""

    def build(self, vectors: Tensor, queries: Tensor) -> Index:
        """The index of item vectors (I, D); ``queries`` (n, D) are a sample of what will be asked."""


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
    """

    def __init__(self, cells: int | None = None, probes: int = 32, seed: int = 0) -> None:
        self.cells, self.probes, self.seed = cells, probes, seed
        self.recall = float("nan")  # of the index built last

    def build(self, vectors: Tensor, queries: Tensor) -> Inverted:
        """Cluster ``vectors`` (I, D) into cells and measure the recall on ``queries`` (n, D). Raises HybridrecError."""
        try:
            import faiss
        except ImportError as e:
            raise HybridrecError("approximate search needs faiss: pip install 'hybridrec[search]'") from e
        items, width = vectors.shape
        cells = max(1, min(self.cells or int(4 * items**0.5), items))
        coarse = faiss.IndexFlatIP(width)
        ivf = faiss.IndexIVFFlat(coarse, width, cells, faiss.METRIC_INNER_PRODUCT)
        ivf.cp.min_points_per_centroid = 1  # else faiss remarks on standard error where cells are few
        ivf.cp.seed, ivf.nprobe = self.seed, min(self.probes, cells)
        dense = vectors.cpu().contiguous().numpy()
        ivf.train(dense)
        ivf.add(dense)
        index = Inverted(vectors, coarse, ivf)
        k = min(10, items)
        wanted = exact(vectors, queries, Histories.lists([[]] * len(queries), vectors.device), k)[1].cpu()
        self.recall = (index.near(queries, k)[1].unsqueeze(2) == wanted.unsqueeze(1)).any(1).float().mean().item()
        logger.info(
            "faiss: recall@%d against exact search %.4f over %d queries (%d items, %d of %d cells searched)",
            *(k, self.recall, len(queries), items, ivf.nprobe, cells),
        )
        return index


class Inverted:
    """What ``Faiss`` builds. A query whose cells hold fewer than ``k`` items that are not seen is answered exactly."""

    def __init__(self, vectors: Tensor, coarse: Any, ivf: Any) -> None:
        self.vectors, self.coarse, self.ivf = vectors, coarse, ivf  # coarse is kept: ivf only points to it

    def near(self, query: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The best ``k`` of the cells searched: scores and positions (B, k), position -1 where there are no more."""
        scores, index = self.ivf.search(query.cpu().contiguous().numpy(), k)
        return torch.from_numpy(scores), torch.from_numpy(index)

    def __call__(self, query: Tensor, seen: Histories, k: int) -> tuple[Tensor, Tensor]:
        """See ``Index``."""
        items, hidden = len(self.vectors), seen.to("cpu")
        scores, index = self.near(query, min(k + int(hidden.lengths.max()), items))
        key = torch.arange(len(query)).unsqueeze(1) * items + index
        out = (index < 0) | torch.isin(key, hidden.rows * items + hidden.item)
        # What is left moves to the front, in the order it came.
        order = out.int().argsort(dim=1, stable=True)[:, :k]
        scores, index = scores.masked_fill(out, -torch.inf).gather(1, order), index.gather(1, order)
        if len(short := scores.isinf().any(1).nonzero().flatten()):
            at = short.to(query.device)
            more = exact(self.vectors, query[at], seen.take(at), k)
            scores[short], index[short] = more[0].cpu(), more[1].cpu()
        return scores.to(query.device), index.to(query.device)

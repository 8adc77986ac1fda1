"""Score-based pairs: positives and negatives chosen by how alike they are, not by what they are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridrec.pairs.natural import Contrast, dealt

SCORES = 1 << 22  # similarities held at once


def hardest(anchor: Tensor, items: Tensor, negative: Tensor, k: int = 1) -> Tensor:
    """The ``k`` of the sampled negatives that score highest now: dynamic negative sampling, Zhang et al. 2013 (SIGIR).

    Shapes: ``anchor`` (B, D), ``items`` (I, D), ``negative`` (B, n) positions, n >= k; returns positions (B, k).
    """
    with torch.no_grad():
        score = torch.einsum("bd,bnd->bn", anchor, items[negative])
        return negative.gather(1, score.topk(k, dim=1).indices)


def sampled(logits: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """``n`` draws a row from the softmax of ``logits`` (B, I), with replacement, and their log-probabilities: (B, n) each.

    What a generator that is a policy proposes as negatives: IRGAN, Wang et al. 2017, arXiv 1705.10513, sec. 2.3.
    """
    with torch.no_grad():
        chosen = torch.multinomial(logits.softmax(1), n, replacement=True)
    return chosen, logits.log_softmax(1).gather(1, chosen)


def prototypes(x: Tensor, k: int, rounds: int = 20, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Spherical k-means: unit centroids (k, D) and the nearest one of each row (N,).

    What NCL (Lin et al. 2022, arXiv 2202.06200, sec. 3.3) takes as semantic neighbours. Centroids start at rows drawn
    with ``seed``; one that loses its rows restarts at the row worst served. k is at most N.
    """
    x = F.normalize(x.detach().float(), dim=-1)
    k = min(k, len(x))
    random = torch.Generator().manual_seed(seed)
    centroid = x[torch.randperm(len(x), generator=random)[:k].to(x.device)]
    for _ in range(rounds):
        near, belongs = _nearest(x, centroid)
        total = torch.zeros_like(centroid).index_add_(0, belongs, x)
        empty = (torch.bincount(belongs, minlength=k) == 0).nonzero().flatten()
        total[empty] = x[near.topk(len(empty), largest=False).indices]
        centroid = F.normalize(total, dim=-1)
    return centroid, _nearest(x, centroid)[1]


def _nearest(x: Tensor, centroid: Tensor) -> tuple[Tensor, Tensor]:
    parts = [(part @ centroid.T).max(1) for part in x.split(max(1, SCORES // max(1, len(centroid))))]
    if not parts:
        return x.new_zeros(0), torch.zeros(0, dtype=torch.int64, device=x.device)
    return torch.cat([p.values for p in parts]), torch.cat([p.indices for p in parts])


def nearest_prototype(x: Tensor, centroids: Tensor) -> Tensor:
    """Which of the unit ``centroids`` (k, D) is nearest to each of the unit rows ``x`` (n, D): (n,)."""
    return _nearest(x, centroids)[1]


def prototypical(x: Tensor, index: Tensor, centroids: Tensor, belongs: Tensor) -> Contrast:
    """Rows ``index`` of ``x`` (N, D), each node once, with the prototype they belong to against all prototypes (k, D)."""
    nodes, mine, over = dealt(index)
    return Contrast(x[nodes[mine]], centroids, belongs[nodes[mine]], over)

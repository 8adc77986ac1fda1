"""Metrics of ranked lists, from where the hits are. Every function is over tensors and knows neither data nor method."""

from __future__ import annotations

import torch
from torch import Tensor

from hybridrec.errors import ArgumentError

NAMES = ("recall", "ndcg", "mrr", "hit", "precision", "map", "coverage", "gini", "novelty")


def cutoff(metric: str) -> int:
    """The k of a metric such as ``"ndcg@20"``. Raises ArgumentError for what is none."""
    name, _, k = metric.rpartition("@")
    if name not in NAMES or not (k.isascii() and k.isdigit()) or not 1 <= int(k) < 2**31:
        raise ArgumentError(f"{metric!r} is no metric: wanted NAME@K, such as ndcg@20, with NAME one of {', '.join(NAMES)}")
    return int(k)


def per_user(hit: Tensor, wanted: Tensor, ks: tuple[int, ...]) -> dict[str, Tensor]:
    """Accuracy of each user's list at each cut-off: ``{"recall@10": (n,), ...}``, float64.

    ``hit`` (n, K) says which ranks hold a target, ``wanted`` (n,) how many targets there are (T); all is 0 where there is
    none. With h_j = hit[:, j]:

    - recall@k = sum_{j<=k} h_j / T; precision@k = sum_{j<=k} h_j / k; hit@k = 1 if any;
    - ndcg@k = sum_{j<=k} h_j / log2(j + 1), over its best possible value, sum_{j<=min(k, T)} 1 / log2(j + 1)
      (Jarvelin & Kekalainen 2002);
    - mrr@k = 1 / rank of the first hit, 0 without one;
    - map@k = sum_{j<=k} h_j precision@j / T (TREC's map_cut: T, not min(k, T)).
    """
    h, wanted = hit.double(), wanted.clamp(min=1)
    ranks = torch.arange(1, hit.shape[1] + 1, dtype=torch.float64)
    hits = h.cumsum(1)
    discount = (ranks + 1).log2().reciprocal()
    gain, ideal = (h * discount).cumsum(1), torch.cat([torch.zeros(1, dtype=torch.float64), discount.cumsum(0)])
    precision = (h * hits / ranks).cumsum(1)
    first = torch.where(hits > 0, (h * (hits == 1) / ranks).sum(1, keepdim=True), 0.0)
    result: dict[str, Tensor] = {}
    for k in ks:
        j = min(k, hit.shape[1]) - 1  # a catalogue may be shorter than the cut-off
        result[f"recall@{k}"] = hits[:, j] / wanted
        result[f"ndcg@{k}"] = gain[:, j] / ideal[wanted.clamp(max=j + 1)]
        result[f"mrr@{k}"] = first[:, j]
        result[f"hit@{k}"] = (hits[:, j] > 0).double()
        result[f"precision@{k}"] = hits[:, j] / k
        result[f"map@{k}"] = precision[:, j] / wanted
    return result


def coverage(exposure: Tensor) -> float:
    """The share of items that appear in at least one list; ``exposure`` (I,) counts the lists each is in."""
    return (exposure > 0).double().mean().item()


def gini(exposure: Tensor) -> float:
    """How unequally items are shown, 0 all alike: ``sum_i (2i - I - 1) x_i / (I sum_i x_i)``, x in rising order (I,)."""
    x = exposure.double().sort().values
    n = len(x)
    weight = 2 * torch.arange(1, n + 1, dtype=torch.float64) - n - 1
    total = x.sum()
    return ((weight * x).sum() / (n * total)).item() if total > 0 else 0.0


def self_information(popularity: Tensor, users: int) -> Tensor:
    """What naming each item tells, in bits: ``-log2((count + 1) / (users + 1))`` (I,); one added, so that it is finite, and
    counts above the number of users (repeated rows) taken for it, so that it is not negative.

    Its mean over a list is the list's novelty (Zhou et al. 2010, PNAS 107, "surprisal").
    """
    return -((popularity.clamp(max=users).double() + 1) / (users + 1)).log2()

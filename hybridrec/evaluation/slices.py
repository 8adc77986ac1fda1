"""Accuracy by how often items were chosen and by how much is known of users; what was never seen has a slice of its own."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hybridrec.evaluation.metrics import per_user

if TYPE_CHECKING:
    from hybridrec.evaluation.case import Case

BANDS = {"popularity": 5, "history": 4}
SHOWN = ("recall", "ndcg", "hit")

Slices = dict[str, dict[str, dict[str, float]]]


def slices(case: Case, hit: Tensor, named: Tensor, chosen: Tensor, ks: tuple[int, ...]) -> Slices:
    """``{"popularity": {"1-20": {"users": 512, "targets": 803, "recall@10": ...}, ...}, "history": {...}}``.

    - popularity: targets by the training rows of their item (``chosen`` (I,)), in bands that hold about equally many
      training rows each: long-tail accuracy. Band 0: cold items. A list counts only for the targets of the band.
    - history: users by the length of what the method read of them, in bands of about equally many users. Band 0: cold users.

    Shapes: ``hit`` and ``named`` (n, K). A slice without a target is left out.
    """
    result: Slices = {"popularity": {}, "history": {}}
    labels, band = bands(chosen, chosen, BANDS["popularity"])
    user, item = case.target // case.items, case.original(case.target % case.items)
    row = torch.full((len(case.known),), -1).index_put_((case.users,), torch.arange(len(case.users)))[user]
    own, theirs = band[item][row >= 0], row[row >= 0]
    where = torch.where(named >= 0, band[named], -1)
    for b, label in enumerate(labels):
        wanted = torch.bincount(theirs[own == b], minlength=len(case.users))
        _add(result["popularity"], label, hit & (where == b), wanted, ks)
    length = case.history.lengths[case.users]
    labels, band = bands(length, (length > 0).long(), BANDS["history"])
    for b, label in enumerate(labels):
        _add(result["history"], label, hit, case.wanted * (band == b), ks)
    return result


def _add(to: dict[str, dict[str, float]], label: str, hit: Tensor, wanted: Tensor, ks: tuple[int, ...]) -> None:
    some = wanted > 0
    if bool(some.any()):
        means = {name: x.mean().item() for name, x in per_user(hit[some], wanted[some], ks).items() if name.startswith(SHOWN)}
        to[label] = {"users": int(some.sum()), "targets": int(wanted.sum()), **means}


def bands(value: Tensor, weight: Tensor, n: int) -> tuple[list[str], Tensor]:
    """Counts in at most ``n`` ranges of about equal weight, and 0 in one of its own: labels, and the range of each (m,).

    Equal counts are never parted, so that ranges can be named: ``["0", "1-20", "21-60", ...]``.
    """
    order = value.argsort()
    rising, share = value[order], weight[order].double().cumsum(0)
    if not len(value) or share[-1] <= 0:
        return ["0"], torch.zeros_like(value)
    at = torch.searchsorted(share, share[-1] * torch.arange(1, n + 1, dtype=torch.float64) / n)
    last = torch.unique(torch.cat([rising.new_zeros(1), rising[at.clamp(max=len(value) - 1)]])).tolist()
    labels = ["0"] + [f"{a + 1}-{b}" if a + 1 < b else f"{b}" for a, b in pairwise(last)]
    return labels, torch.searchsorted(torch.tensor(last), value)

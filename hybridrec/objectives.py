"""What a sequence model's output is asked: the wanted item against one other, some others, or all of them.

An objective is handed to a method. It is called with outputs ``z`` (n, D), item vectors (I, D) and what is ``Wanted``, and
returns the mean over the outputs.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from hybridrec.data.batches import Histories, not_chosen
from hybridrec.errors import DataError
from hybridrec.losses.sampled import calibrated_power, logistic_of, shared_scores, softmax_of
from hybridrec.losses.softmax import catalogue_cross_entropy
from hybridrec.saving import configured


class Wanted(NamedTuple):
    """Items wanted (n,), the rows (n,) they belong to, and the whole histories of these rows."""

    item: Tensor
    row: Tensor
    history: Histories


class Objective(Protocol):
    """How far outputs are from what is wanted: a scalar."""

    def __call__(self, z: Tensor, items: Tensor, wanted: Wanted) -> Tensor: ...


@configured
class BinaryCrossEntropy:
    """Each wanted item against ``negatives`` of its own that are not in its history: SASRec as published, with one.

    Kang & McAuley 2018, arXiv 1808.09781, eq. 7. Raises DataError for a history that holds every item.
    """

    def __init__(self, negatives: int = 1) -> None:
        self.negatives = negatives

    def __call__(self, z: Tensor, items: Tensor, wanted: Wanted) -> Tensor:
        """The loss of outputs ``z`` (n, D)."""
        n, history = len(items), wanted.history
        chosen = torch.unique(history.rows * n + history.item)
        if len(chosen) and int(torch.bincount(chosen // n).max()) >= n:
            raise DataError(f"a history holds all {n} items: no negative can be drawn; leave it out, or use FullSoftmax()")
        drawn = not_chosen(chosen, wanted.row, n, self.negatives)  # (n, negatives)
        own = (z * items[wanted.item]).sum(1)
        return logistic_of(own, torch.einsum("nd,nkd->nk", z, items[drawn]))


@configured
class GeneralisedBCE:
    """gBCE: binary cross-entropy against items drawn for the whole batch, its overconfidence taken back.

    Petrov & Macdonald 2023, gSASRec, arXiv 2308.07192, eqs. 7 and 12; there every output draws its own.
    """

    def __init__(self, negatives: int = 256, calibration: float = 0.75) -> None:
        self.negatives, self.calibration = negatives, calibration

    def __call__(self, z: Tensor, items: Tensor, wanted: Wanted) -> Tensor:
        """The loss of outputs ``z`` (n, D)."""
        count = min(self.negatives, len(items) - 1)
        drawn = torch.randint(len(items), (count,), device=z.device)
        power = calibrated_power(count, len(items), self.calibration)
        return logistic_of(*shared_scores(z, items, wanted.item, drawn), power)


@configured
class SampledSoftmax:
    """The softmax over the wanted item and ``negatives`` items drawn uniformly for the whole batch.

    Klenitskiy & Vasilev 2023, arXiv 2309.07602, compare it with the above on SASRec.
    """

    def __init__(self, negatives: int = 512) -> None:
        self.negatives = negatives

    def __call__(self, z: Tensor, items: Tensor, wanted: Wanted) -> Tensor:
        """The loss of outputs ``z`` (n, D)."""
        drawn = torch.randint(len(items), (self.negatives,), device=z.device)
        return softmax_of(*shared_scores(z, items, wanted.item, drawn))


@configured
class FullSoftmax:
    """The softmax over the whole catalogue, in blocks: no (n, I) matrix is held."""

    def __init__(self) -> None:
        pass

    def __call__(self, z: Tensor, items: Tensor, wanted: Wanted) -> Tensor:
        """The loss of outputs ``z`` (n, D)."""
        return catalogue_cross_entropy(z, items, wanted.item)

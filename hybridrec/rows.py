"""A history as a sparse row of weights, and its product with item weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hybridrec.bags import bags, check_bags
from hybridrec.data.batches import Histories
from hybridrec.errors import ArgumentError, DataError, HybridrecError
from hybridrec.saving import configured

DENSE = 1 << 14  # items: at most 1 GiB


class UnsolvedError(HybridrecError, RuntimeError):
    """A closed form asked for scores before it was solved."""


@configured
class Recency:
    """Weights that fall by a factor of ``decay`` with every step back: ``decay ** (steps before the latest)``."""

    def __init__(self, decay: float = 0.7) -> None:
        if not 0 < decay <= 1:
            raise ArgumentError(f"decay must lie in (0, 1], not {decay}")
        self.decay = decay

    def __call__(self, history: Histories) -> Tensor:
        """One weight for each entry of ``history``: (n,)."""
        entry = torch.arange(len(history.item), device=history.item.device)
        back = history.offset[1:][history.rows] - 1 - entry
        return torch.pow(self.decay, back.float())


def timed(data: Any, recency: Recency | None) -> None:
    """Raise DataError where histories are to be weighted by recency and the training rows have no time."""
    if recency is not None and data.train.time is None:
        raise DataError(
            f"data set {data.name!r} has no time in {data.goal!r}, so that no entry of a history is more recent than "
            "another; add a timestamp column or leave recency out"
        )


def weigh(history: Histories, recency: Recency | None = None) -> Tensor:
    """The weight of each entry of ``history``: (n,); 1 without ``recency``. Of a repeat only the latest entry counts."""
    weight = torch.ones(len(history.item), device=history.item.device) if recency is None else recency(history)
    return weight * history.once(int(history.item.max()) + 1) if len(weight) else weight


def multiply(history: Histories, matrix: Tensor, recency: Recency | None = None) -> Tensor:
    """``X M``: weighted rows (B, I) times ``matrix`` (I, D), reading only the rows chosen: (B, D). Raises UnsolvedError."""
    if not matrix.numel():
        raise UnsolvedError("nothing is solved yet: call hybridrec.fit(method, data) or method.solve(data) first")
    weight = weigh(history, recency).to(matrix.dtype)
    return bags(history.item, matrix, history.offset, weight)


class ItemWeights(nn.Module):
    """Item-to-item weights (I, I), kept as CSR, or dense where more than one in 32 is not zero and I is below 16,384.

    An entry of a sparse row costs some 50 times what one of a dense row does: it is scattered, and carries its place.

    Shapes: ``offset`` (I + 1,), ``item`` (nnz,), ``value`` (nnz,); dense: ``value`` (I, I), the others empty.
    """

    offset: Tensor
    item: Tensor
    value: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, dtype in (("offset", torch.int64), ("item", torch.int32), ("value", torch.float32)):
            self.register_buffer(name, torch.empty(0, dtype=dtype))

    def verify(self) -> None:
        """Raise DataError for a torn matrix, as a file may hold one."""
        if len(self.offset):
            check_bags(self.item, self.offset, len(self.offset) - 1, len(self.offset) - 1)
            if self.value.shape != self.item.shape:
                raise DataError(f"{len(self.value)} values stand at {len(self.item)} places")

    def fill(self, matrix: Any) -> None:
        """Take over a scipy sparse matrix (I, I)."""
        csr, device = matrix.tocsr(), self.value.device
        if csr.nnz * 32 > csr.shape[0] ** 2 and csr.shape[0] < DENSE:
            self.value = torch.from_numpy(csr.toarray()).float().to(device)
            self.offset, self.item = (x.new_empty(0) for x in (self.offset, self.item))
        else:
            self.value = torch.from_numpy(csr.data).float().to(device)
            self.offset = torch.from_numpy(csr.indptr).long().to(device)
            self.item = torch.from_numpy(csr.indices).int().to(device)

    def forward(self, history: Histories, recency: Recency | None = None) -> Tensor:
        """Weighted rows times the weights: (B, I)."""
        if not len(self.offset):
            return multiply(history, self.value, recency)
        rows, items = len(history.offset) - 1, len(self.offset) - 1
        # Each entry of a history names a row of weights; the entries of all named rows are added where they belong.
        length = (self.offset[1:] - self.offset[:-1])[history.item]
        start = length.cumsum(0) - length
        entry = torch.arange(int(length.sum()), device=length.device)
        entry += torch.repeat_interleave(self.offset[history.item] - start, length)
        place = torch.repeat_interleave(history.rows * items, length) + self.item[entry]
        value = self.value[entry] * torch.repeat_interleave(weigh(history, recency), length)
        return value.new_zeros(rows * items).scatter_add_(0, place, value).view(rows, items)

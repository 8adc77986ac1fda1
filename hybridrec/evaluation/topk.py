"""Exact top-k under one total order: higher score first, then lower index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hybridrec.data.batches import Histories

TIES_AT_ONCE = 1 << 22  # scores of tied rows that are looked through together


def best(blocks: Iterator[tuple[int, Tensor]], seen: Histories, k: int) -> tuple[Tensor, Tensor]:
    """``top`` over blocks of columns without those in ``seen``: values and columns (B, <= k), -inf where there are no more.

    ``blocks`` yields the first column of a block and its scores, which are overwritten; blocks come in order of columns.
    """
    hide = _Hide(seen)
    values = torch.empty(len(seen.offset) - 1, 0, device=seen.item.device)
    index = torch.empty(len(values), 0, dtype=torch.int64, device=seen.item.device)
    for start, scores in blocks:
        hide(scores, start)
        if values.shape[1] < k:
            more, at = top(scores, k)
        else:
            # Only a column better than the k-th so far can matter: among equals the earlier stays. NaN is let through.
            groups = Groups(scores, k)
            most = int((~(groups.maxima <= values[:, -1:])).sum(1).max())
            if not most:
                continue
            more, at = groups.top(k, min(k, most))
        values, by = torch.cat([values, more], 1).sort(dim=1, descending=True, stable=True)
        values, index = values[:, :k], torch.cat([index, at + start], 1).gather(1, by[:, :k])
    return values, index


class _Hide:
    """Puts minus infinity where a row has seen a column, in blocks of columns."""

    def __init__(self, seen: Histories) -> None:
        self.row, self.item = seen.rows, seen.item
        self.ordered = False

    def __call__(self, scores: Tensor, start: int) -> None:
        row, item = self.row, self.item
        if start or (len(item) and int(item.max()) >= scores.shape[1]):
            if not self.ordered:  # so that what lies in a block is a slice
                (self.item, order), self.ordered = item.sort(), True
                self.row = row[order]
            low, high = torch.searchsorted(self.item, item.new_tensor([start, start + scores.shape[1]])).tolist()
            row, item = self.row[low:high], self.item[low:high] - start
        if scores.is_contiguous():
            scores.view(-1).index_fill_(0, row * scores.shape[1] + item, -torch.inf)
        else:
            scores[row, item] = -torch.inf


def top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` best of each row, best first, equal scores in order of index: values (B, <= k) and columns (B, <= k).

    NaN counts as the highest score, so that it is seen.
    """
    k = min(k, scores.shape[1])
    groups = Groups(scores, k)
    return groups.top(k, k) if groups.maxima.shape[1] > 2 * k else _top(scores, k)


class Groups:
    """Rows of scores with the maximum of every few neighbouring columns.

    The k best columns lie in the k best groups: as groups are in order of index, the order of their best members (score,
    then index) is that of (maximum, then group). Only the members of those groups need be sorted.
    """

    def __init__(self, scores: Tensor, k: int) -> None:
        columns = scores.shape[1]
        # Maxima and members together are fewest at the square root; below 32 neighbours the maximum is not vectorised.
        self.size = 64 if columns > 2048 * k else 32
        self.scores = scores
        whole = columns // self.size
        split = scores[:, : whole * self.size].unflatten(1, (whole, self.size)).amax(2)
        rest = scores[:, whole * self.size :]
        self.maxima = torch.cat([split, rest.amax(1, keepdim=True)], 1) if rest.shape[1] else split  # (B, groups)

    def top(self, k: int, most: int) -> tuple[Tensor, Tensor]:
        """The ``k`` best columns of the ``most`` best groups: values and columns (B, <= k)."""
        found, group = self.maxima.topk(min(most + 1, self.maxima.shape[1]))
        members = self._members(self.scores, group[:, :most])
        values, by = members.topk(min(k + 1, members.shape[1]))
        # Where scores are equal, or a group left out has one equal to the worst taken, torch.topk's choice is arbitrary.
        doubt = _equal_neighbours(values).any(1)
        if most == k < self.maxima.shape[1]:
            doubt |= (values[:, k - 1] == found[:, k]) & (found[:, k] > -torch.inf)
        values, index = values[:, :k].contiguous(), self._columns(group, by[:, :k])
        for rows in _parts(doubt, self.scores.shape[1]):
            ordered = _top(self.maxima[rows], most)[1].sort(1).values  # members come in order of index
            values[rows], by = _top(self._members(self.scores[rows], ordered), k)
            index[rows] = self._columns(ordered, by)
        return values, index

    def _members(self, scores: Tensor, group: Tensor) -> Tensor:
        """Scores (B, n * size) of groups (B, n), minus infinity behind the last column."""
        columns, whole = scores.shape[1], scores.shape[1] // self.size
        parted = scores[:, : whole * self.size].unflatten(1, (whole, self.size))
        if whole * self.size == columns:
            return parted.gather(1, group.unsqueeze(2).expand(-1, -1, self.size)).flatten(1)
        # The last group is shorter. It stands in for itself, filled up, wherever it was chosen.
        last = torch.nn.functional.pad(scores[:, whole * self.size :], (0, self.size - columns % self.size), value=-torch.inf)
        if not whole:
            return last
        members = parted.gather(1, group.clamp(max=whole - 1).unsqueeze(2).expand(-1, -1, self.size))
        return torch.where((group == whole).unsqueeze(2), last.unsqueeze(1), members).flatten(1)

    def _columns(self, group: Tensor, by: Tensor) -> Tensor:
        """Columns (B, k) of the members that stand at ``by`` (B, k)."""
        return group.gather(1, by // self.size) * self.size + by % self.size


def _top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """``top`` from ``torch.topk``, which finds the values but any of several equal columns: those are put right."""
    columns = scores.shape[1]
    k = min(k, columns)
    values, index = scores.topk(min(k + 1, columns))
    equal = _equal_neighbours(values)
    doubt, edge = equal.any(1), values[:, k - 1]
    values, index = values[:, :k].contiguous(), index[:, :k].contiguous()
    if columns > k:
        for rows in _parts(equal[:, k - 1], columns):
            index[rows] = _lowest(scores[rows], edge[rows].unsqueeze(1), k)
            values[rows] = scores[rows.unsqueeze(1), index[rows]]
    for rows in _parts(doubt, k):
        low, by = index[rows].sort(1)
        values[rows], by = values[rows].gather(1, by).sort(dim=1, descending=True, stable=True)
        index[rows] = low.gather(1, by)
    return values, index


def _parts(rows: Tensor, columns: int) -> Iterator[Tensor]:
    """Where ``rows`` (B,) is True, as positions, so many at once that their scores stay within bounds."""
    for part in rows.nonzero().flatten().split(max(1, TIES_AT_ONCE // columns)):
        if len(part):
            yield part


def _equal_neighbours(values: Tensor) -> Tensor:
    """Where a sorted value equals the next and is not -inf: (B, k - 1)."""
    return (values[:, 1:] == values[:, :-1]) & (values[:, 1:] > -torch.inf)


def _lowest(scores: Tensor, edge: Tensor, k: int) -> Tensor:
    """Columns (B, k) of all scores above ``edge`` (B, 1) and of the first ones equal to it."""
    above, equal = scores > edge, scores == edge
    # torch.topk puts NaN above all; a row that has one is refused by the caller, here it must only keep its shape.
    above |= scores.isnan()
    room = k - above.sum(1, keepdim=True)
    return (above | (equal & (equal.cumsum(1, dtype=torch.int32) <= room))).nonzero()[:, 1].view(-1, k)

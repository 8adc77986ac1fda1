"""Histories as sequences: cut to a window, shifted by a step, and the sampler that draws them.

The order of a history is that of its times; entries of one time keep the order of the file they came from. Nothing here is
padded: a batch is the entries it has, in CSR, whatever the longest history.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridrec.data.batches import Histories, Plan, Rows, Sampler, generator
from hybridrec.errors import ArgumentError, QueryError

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset


def last(history: Histories, window: int) -> Histories:
    """Each row's last ``window`` entries."""
    back = history.offset[1:][history.rows] - torch.arange(len(history.item), device=history.item.device)
    return kept(history, back <= window)


def kept(history: Histories, entries: Tensor) -> Histories:
    """Each row's entries where ``entries`` (n,) is True; a row may be left empty."""
    count = torch.bincount(history.rows[entries], minlength=len(history.offset) - 1)
    time = None if history.time is None else history.time[entries]
    return Histories(F.pad(count.cumsum(0), (1, 0)), history.item[entries], time)


def readable(history: Histories, met: Tensor, window: int) -> Histories:
    """Each row's last ``window`` entries whose item is in ``met`` (I,), True for items that were trained on.

    Raises QueryError for a position that is no item's.
    """
    wrong = history.item[(history.item < 0) | (history.item >= len(met))]
    if len(wrong):
        raise QueryError(f"a history names item position {int(wrong[0])}, and there are {len(met)} items: 0 to {len(met) - 1}")
    return last(kept(history, met[history.item]), window)


def mean_length(data: Dataset, window: int) -> float:
    """The mean number of entries of a training history cut to ``window``; 1 where there is none."""
    length = torch.bincount(data.train.index[0]).clamp(max=window)
    length = length[length > 0].float()
    return length.mean().item() if len(length) else 1.0


def entry_share(batch: Rows, mean: float) -> float:
    """What a mean over the entries of a batch of rows is to be multiplied with, ``mean`` being ``mean_length``.

    Then every entry weighs the same, whichever batch or process it is in, though ``fit`` weighs rows.
    """
    return len(batch.history.item) / len(batch.user) / mean


def places(history: Histories) -> Tensor:
    """How many entries of its row stand before each entry: (n,)."""
    return torch.arange(len(history.item), device=history.item.device) - history.offset[history.rows]


def shifted(history: Histories, start: int) -> Histories:
    """What is read where each entry is to be foretold: its row's entry before it, or ``start`` where it is the first."""
    item = history.item.roll(1)
    item[history.offset[:-1][history.lengths > 0]] = start
    return Histories(history.offset, item)


def prepended(history: Histories, item: int) -> Histories:
    """The histories with ``item`` before the first entry of every row, empty ones too."""
    return _inserted(history, item, 1)


def appended(history: Histories, item: int) -> Histories:
    """The histories with ``item`` after the last entry of every row, empty ones too."""
    return _inserted(history, item, 0)


def preceded(history: Histories, items: Tensor) -> Histories:
    """The histories with ``items`` (B, K) before the first entry of each row that has one; empty rows stay empty."""
    some = history.lengths > 0
    further = F.pad((some * items.shape[1]).cumsum(0), (1, 0))
    own = torch.arange(len(history.item), device=history.item.device) + further[1:][history.rows]
    entries = history.item.new_empty(len(history.item) + int(further[-1]))
    new = torch.ones_like(entries, dtype=torch.bool)
    new[own] = False
    entries[own], entries[new] = history.item, items[some].flatten()
    return Histories(history.offset + further, entries)


def runs(item: Tensor, end: Tensor, length: Tensor) -> Histories:
    """The runs of ``length`` (B,) entries of ``item`` (n,) that stop short of ``end`` (B,), one a row."""
    offset = F.pad(length.cumsum(0), (1, 0))
    shift = torch.repeat_interleave(end - offset[1:], length, output_size=int(offset[-1]))
    return Histories(offset, item[torch.arange(len(shift), device=shift.device) + shift])


def _inserted(history: Histories, item: int, before: int) -> Histories:
    offset = history.offset + torch.arange(len(history.offset), device=history.offset.device)
    entries = torch.full((int(offset[-1]),), item, device=history.item.device)
    entries[torch.arange(len(history.item), device=history.item.device) + history.rows + before] = history.item
    return Histories(offset, entries)


def newest(history: Histories) -> Tensor:
    """The place of each row's last entry among all entries: (B,). Rows must not be empty."""
    return history.offset[1:] - 1


class HistorySampler(Sampler):
    """Windows of at most ``window`` entries of training histories, each once an epoch; the rows of a batch by length.

    A history longer than the window gives its last entries; with a ``stride``, further windows that end so many entries
    earlier each, until its first entry has been in one. Histories of fewer than ``shortest`` entries are left out.
    Rows of like length stand together, as encoders want them; which rows share a batch does not depend on their length.
    """

    def __init__(
        self,
        data: Dataset,
        batch_size: int = 256,
        seed: int = 0,
        device: torch.device | str = "cpu",
        window: int = 50,
        stride: int | None = None,
        shortest: int = 2,
    ) -> None:
        if window < 1 or (stride is not None and stride < 1):
            raise ArgumentError(f"window and stride must be at least 1, not {window} and {stride}")
        self.history, self.window = data.histories().to(device), window
        length = self.history.lengths
        user = (length >= shortest).nonzero().flatten()
        further = torch.zeros_like(user) if stride is None else (length[user] - window).clamp(min=0) + stride - 1
        count = 1 + (further if stride is None else further // stride)
        self.user = torch.repeat_interleave(user, count)
        step = torch.arange(len(self.user), device=user.device) - torch.repeat_interleave(count.cumsum(0) - count, count)
        self.end = self.history.offset[1:][self.user] - step * (stride or 0)
        self.length = torch.minimum(self.end - self.history.offset[self.user], self.end.new_tensor(window))
        self.plan = Plan(len(self.user), batch_size, seed)

    def epoch(self, epoch: int, rank: int = 0, world: int = 1, start: int = 0) -> Iterator[Rows]:
        """Batches of epoch ``epoch`` from batch ``start`` on, the share of process ``rank``."""
        order = self.plan.order(epoch, self.user.device)
        for step in range(start, self.plan.steps):
            batch = order[self.plan.edge(step) : self.plan.edge(step + 1)]
            mine = self.plan.mine(step, rank, world)
            batch = batch[self.length[batch].argsort(stable=True)][rank :: mine.step]
            yield Rows(self.user[batch], self.take(batch))

    def take(self, windows: Tensor) -> Histories:
        """The entries of ``windows`` (B,)."""
        return runs(self.history.item, self.end[windows], self.length[windows])


class PrefixSampler(Sampler):
    """Entries of training histories, each with what stood before it in its row: rows that end in what is to be told.

    Every entry once an epoch, or only ``each`` of every history, drawn anew for every epoch. A row has at most ``window``
    entries, the last of them the one told; the rows of a batch stand by length, and are drawn without regard to it.
    """

    def __init__(
        self,
        data: Dataset,
        batch_size: int = 256,
        seed: int = 0,
        device: torch.device | str = "cpu",
        window: int = 50,
        each: int | None = None,
    ) -> None:
        if window < 1 or (each is not None and each < 1):
            raise ArgumentError(f"window and each must be at least 1, not {window} and {each}")
        self.history, self.window, self.each = data.histories().to(device), window, each
        self.user = self.history.rows
        self.length = (places(self.history) + 1).clamp(max=window)
        count = self.history.lengths if each is None else self.history.lengths.clamp(max=each)
        self.plan = Plan(int(count.sum()), batch_size, seed)

    def drawn(self, epoch: int) -> Tensor:
        """The entries of epoch ``epoch`` (n,), by row."""
        if self.each is None:
            return torch.arange(len(self.user), device=self.user.device)
        lot = torch.rand(len(self.user), generator=generator("cpu", self.plan.seed, epoch, 1), dtype=torch.float64)
        order = (self.user + lot.to(self.user.device)).argsort()  # shuffled within each row
        return order[places(self.history) < self.each]

    def epoch(self, epoch: int, rank: int = 0, world: int = 1, start: int = 0) -> Iterator[Rows]:
        """Batches of epoch ``epoch`` from batch ``start`` on, the share of process ``rank``."""
        order = self.drawn(epoch)[self.plan.order(epoch, self.user.device)]
        for step in range(start, self.plan.steps):
            batch = order[self.plan.edge(step) : self.plan.edge(step + 1)]
            mine = self.plan.mine(step, rank, world)
            batch = batch[self.length[batch].argsort(stable=True)][rank :: mine.step]
            yield Rows(self.user[batch], runs(self.history.item, batch + 1, self.length[batch]))

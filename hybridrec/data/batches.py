"""What a method is fed: batches as NamedTuples of tensors, and the samplers that draw them.

A sampler draws an epoch as tensors on the device. What it draws depends on ``(seed, epoch)`` alone, and every process
of several draws the same epoch and takes its own rows of each batch: no row is lost, none is seen twice, and one process
with the same batch size sees the same batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from hybridrec.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset, Relation

ROWS_AT_ONCE = 1 << 20  # rows whose negatives are drawn together: bounds memory, not randomness


class Histories(NamedTuple):
    """Ragged lists of items, one a row, oldest first: row b is ``item[offset[b] : offset[b + 1]]``.

    Shapes: ``offset`` (B + 1,) int64, ``item`` (n,) int64, ``time`` (n,) float64 or None.
    """

    offset: Tensor
    item: Tensor
    time: Tensor | None = None

    @classmethod
    def of(cls, relations: Sequence[Relation], rows: int) -> Histories:
        """Group the links of ``relations`` by source, by time where all have it; ties keep the order given."""
        index = torch.cat([r.index for r in relations], dim=1)
        times = [r.time for r in relations if r.time is not None]
        time = torch.cat(times) if len(times) == len(relations) else None
        order = torch.arange(index.shape[1]) if time is None else time.argsort(stable=True)
        order = order[index[0, order].argsort(stable=True)]
        offset = torch.zeros(rows + 1, dtype=torch.int64)
        offset[1:] = torch.bincount(index[0], minlength=rows).cumsum(0)
        return cls(offset, index[1, order], None if time is None else time[order])

    @classmethod
    def lists(cls, histories: Sequence[Sequence[int]], device: torch.device | str = "cpu") -> Histories:
        """Histories from plain lists of item positions."""
        lengths = torch.tensor([len(h) for h in histories], dtype=torch.int64)
        offset = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        return cls(offset.to(device), torch.tensor([i for h in histories for i in h], dtype=torch.int64, device=device))

    @property
    def lengths(self) -> Tensor:
        """How long each history is: (B,)."""
        return self.offset[1:] - self.offset[:-1]

    @property
    def rows(self) -> Tensor:
        """The row of every entry: (n,)."""
        return torch.repeat_interleave(
            torch.arange(len(self.offset) - 1, device=self.offset.device), self.lengths, output_size=len(self.item)
        )

    def once(self, items: int) -> Tensor:
        """True at the last entry of each item in each row (n,): what is left of rows read as sets of ``items`` items."""
        key, order = (self.rows * items + self.item).sort(stable=True)
        last = torch.ones_like(key, dtype=torch.bool)
        last[:-1] = key[1:] != key[:-1]
        return torch.empty_like(last).index_put_((order,), last)

    def take(self, rows: Tensor) -> Histories:
        """The histories of ``rows`` (B,), in that order."""
        lengths = self.lengths[rows]
        offset = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        # Entry j of the result lies as far behind its row's start as it does in the source.
        shift = torch.repeat_interleave(self.offset[rows] - offset[:-1], lengths, output_size=int(offset[-1]))
        entries = torch.arange(len(shift), device=shift.device) + shift
        return Histories(offset, self.item[entries], None if self.time is None else self.time[entries])

    def to(self, device: torch.device | str) -> Histories:
        """The same on another device."""
        time = None if self.time is None else self.time.to(device)
        return Histories(self.offset.to(device), self.item.to(device), time)

    def dense(self, items: int, weight: Tensor | None = None) -> Tensor:
        """Rows as a matrix (B, I): 1, or ``weight`` (n,), where chosen. A repeat counts once, with its largest weight."""
        matrix = torch.zeros(len(self.offset) - 1, items, device=self.item.device)
        value = torch.ones(len(self.item), device=self.item.device) if weight is None else weight.to(matrix.dtype)
        return matrix.view(-1).scatter_reduce_(0, self.rows * items + self.item, value, "amax").view_as(matrix)


class Rows(NamedTuple):
    """Users and what they chose, one a row. Asked of a trained method it is a query.

    Shapes: ``user`` (B,) int64, -1 where the user was never seen in training; ``history`` B rows;
    ``text`` (B, D) prompts as the method's ``text_vectors``, zero for a row without one, or None.
    """

    user: Tensor
    history: Histories
    text: Tensor | None = None

    def to(self, device: torch.device | str) -> Rows:
        """The same on another device."""
        return Rows(self.user.to(device), self.history.to(device), None if self.text is None else self.text.to(device))


Query = Rows


class Pairs(NamedTuple):
    """Chosen items beside items not chosen: ``user`` (B,), ``positive`` (B,), ``negative`` (B,) or (B, n); int64."""

    user: Tensor
    positive: Tensor
    negative: Tensor


def generator(device: torch.device | str, *key: int) -> torch.Generator:
    """A random generator on ``device`` whose stream depends on every number of ``key``."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little") >> 1)


def not_chosen(chosen: Tensor, row: Tensor, items: int, count: int, random: torch.Generator | None = None) -> Tensor:
    """Items that ``row`` (n,) did not choose: (n, count), each uniform over all such items; every row must have one.

    ``chosen`` holds the sorted keys ``row * items + item`` of what was chosen.
    """
    shape = (len(row), count)
    drawn = torch.randint(items, shape, generator=random, device=row.device)
    if not len(chosen):
        return drawn
    base = (row * items).unsqueeze(1).expand(shape)

    def hit(key: Tensor) -> Tensor:
        return chosen[torch.searchsorted(chosen, key).clamp_(max=len(chosen) - 1)] == key

    again = hit(base + drawn).nonzero(as_tuple=True)
    while len(again[0]):
        fresh = torch.randint(items, (len(again[0]),), generator=random, device=row.device)
        drawn[again] = fresh
        still = hit(base[again] + fresh)
        again = (again[0][still], again[1][still])
    return drawn


class Plan:
    """The order of ``n`` rows in an epoch, cut into batches of nearly equal size (at most ``batch_size``)."""

    def __init__(self, n: int, batch_size: int, seed: int) -> None:
        if n == 0:
            raise DataError("there is nothing to train on: the goal relation has no training rows")
        if batch_size < 1:
            raise ArgumentError(f"batch_size must be at least 1, not {batch_size}")
        self.n, self.seed, self.steps = n, seed, -(-n // batch_size)

    def order(self, epoch: int, device: torch.device | str) -> Tensor:
        """The rows in the order of this epoch: (n,), the same on every device."""
        return torch.randperm(self.n, generator=generator("cpu", self.seed, epoch)).to(device)

    def edge(self, step: int) -> int:
        """Where batch ``step`` begins in the order."""
        return step * self.n // self.steps

    def size(self, step: int) -> int:
        """Rows of batch ``step``, all processes together."""
        return self.edge(step + 1) - self.edge(step)

    def mine(self, step: int, rank: int, world: int) -> slice:
        """The rows of batch ``step`` that belong to process ``rank`` of ``world``."""
        if self.n // self.steps < world:
            raise DataError(f"a batch of {self.n // self.steps} rows cannot feed {world} processes; raise batch_size")
        return slice(self.edge(step) + rank, self.edge(step + 1), world)


class Sampler:
    """What ``fit`` asks of a sampler: ``steps``, ``size(step)`` and ``epoch(...)``. The plan answers the first two."""

    plan: Plan

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return self.plan.steps

    def size(self, step: int) -> int:
        """Rows of batch ``step``, all processes together."""
        return self.plan.size(step)


class PairSampler(Sampler):
    """Every training link once an epoch, each with items the user did not choose (drawn uniformly, exactly rejected).

    Raises DataError for a user who chose every item, since no negative exists.
    """

    def __init__(
        self,
        data: Dataset,
        batch_size: int = 2048,
        seed: int = 0,
        device: torch.device | str = "cpu",
        negatives: int = 1,
    ) -> None:
        self.items = data.counts[data.target]
        self.negatives = negatives
        self.index = data.train.index.to(device)
        self.chosen = torch.unique(self.index[0] * self.items + self.index[1])  # sorted keys
        full = torch.bincount(self.chosen // self.items, minlength=1) >= self.items
        if bool(full.any()):
            culprit = data.ids[data.source][full.nonzero()[:1].flatten().cpu()][0]
            raise DataError(
                f"{data.source} {culprit!r} chose all {self.items} {data.target}s: no negative can be drawn; leave it out"
            )
        self.plan = Plan(self.index.shape[1], batch_size, seed)

    def draw(self, user: Tensor, random: torch.Generator) -> Tensor:
        """Items that ``user`` (n,) did not choose: (n, negatives), each uniform over all such items."""
        return not_chosen(self.chosen, user, self.items, self.negatives, random)

    def epoch(self, epoch: int, rank: int = 0, world: int = 1, start: int = 0) -> Iterator[Pairs]:
        """Batches of epoch ``epoch`` from batch ``start`` on, the share of process ``rank``."""
        device, plan = self.index.device, self.plan
        order = plan.order(epoch, device)
        together = max(1, ROWS_AT_ONCE * plan.steps // plan.n)
        for first in range(start - start % together, plan.steps, together):
            last = min(first + together, plan.steps)
            begin = plan.edge(first)
            rows = order[begin : plan.edge(last)]
            user, positive = self.index[0, rows], self.index[1, rows]
            negative = self.draw(user, generator(device, plan.seed, epoch, first))
            for step in range(max(first, start), last):
                s = plan.mine(step, rank, world)
                mine = slice(s.start - begin, s.stop - begin, s.step)
                one = negative[mine]
                yield Pairs(user[mine], positive[mine], one.squeeze(1) if self.negatives == 1 else one)


class RowSampler(Sampler):
    """Every user with a training history once an epoch, as sparse rows."""

    def __init__(self, data: Dataset, batch_size: int = 512, seed: int = 0, device: torch.device | str = "cpu") -> None:
        self.history = data.histories().to(device)
        self.user = self.history.lengths.nonzero().flatten()
        self.plan = Plan(len(self.user), batch_size, seed)

    def epoch(self, epoch: int, rank: int = 0, world: int = 1, start: int = 0) -> Iterator[Rows]:
        """Batches of epoch ``epoch`` from batch ``start`` on, the share of process ``rank``."""
        order = self.user[self.plan.order(epoch, self.user.device)]
        for step in range(start, self.plan.steps):
            user = order[self.plan.mine(step, rank, world)]
            yield Rows(user, self.history.take(user))

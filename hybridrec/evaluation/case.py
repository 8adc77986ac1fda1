"""One ranking task: who is judged, what each reads, what is masked and what is wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hybridrec.data.batches import Histories, Query
from hybridrec.errors import ArgumentError, DataError
from hybridrec.evaluation.protocol import Protocol

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset, Relation


class Case:
    """What ``evaluate`` was asked, in tensors. Items are positions among the candidates, in the catalogue's order.

    Shapes: ``users`` (n,) positions of the judged, ``wanted`` (n,) how many targets each has, ``target`` sorted keys
    ``user * items + item``; ``candidates`` (items,) catalogue positions, or None for all.
    """

    def __init__(
        self,
        data: Dataset,
        part: str,
        protocol: Protocol,
        users: Tensor | Sequence[int] | None = None,
        candidates: Tensor | Sequence[int] | None = None,
    ) -> None:
        parts = ["train", *(name for name, r in data.heldout.items() if len(r))]
        everyone, self.catalogue = data.sides["user"], data.sides["item"]
        self.source, self.ids = data.source, data.ids[data.source].values
        self.candidates = None if candidates is None else _positions(candidates, self.catalogue, "candidates")
        self.items = self.catalogue if self.candidates is None else len(self.candidates)
        asked = None
        if users is not None:
            asked = torch.zeros(everyone, dtype=torch.bool).index_fill_(0, _positions(users, everyone, "users"), True)

        def rows(name: str) -> Relation:
            """The rows of a part, of those who are asked about: of a few among millions, only theirs are sorted."""
            whole = data.part(name)
            return whole if asked is None else whole.keep(asked[whole.index[0]])

        self.history = _histories([rows(p) for p in protocol.inputs(part, parts)], everyone)
        self.known = torch.zeros(everyone, dtype=torch.bool)
        self.known[data.train.index[0]] = True
        self.sample = protocol.sample
        masked = [rows(p).index for p in protocol.masks(part, parts)]
        mask = self._keys(torch.cat(masked, 1)) if masked else torch.empty(0, dtype=torch.int64)
        target = self._keys(rows(part).index)
        self.target = target[~among(target, mask)]
        self.met = self._keys(torch.cat([rows(p).index for p in parts], 1)) if self.sample else self.target
        count = torch.bincount(self.target // self.items, minlength=everyone)
        judged = count > 0 if protocol.absent is None else torch.ones(everyone, dtype=torch.bool)
        if asked is not None:
            judged &= asked
        self.users = judged.nonzero().flatten()
        self.wanted = count[self.users]
        if not bool((self.wanted > 0).any()):
            raise DataError(f"data set {data.name!r}: nobody judged has a {part} target that is not masked and is a candidate")
        self.mask = self._ragged(mask) if self.sample is None else Histories(torch.zeros(everyone + 1).long(), mask[:0])

    def _keys(self, index: Tensor) -> Tensor:
        """Sorted ``user * items + position`` of the links among the candidates, each once."""
        user, item = index
        if self.candidates is not None:
            position = torch.full((self.catalogue,), -1).index_put_((self.candidates,), torch.arange(self.items))
            item = position[item]
            user, item = user[item >= 0], item[item >= 0]
        return torch.unique(user * self.items + item)

    def _ragged(self, keys: Tensor) -> Histories:
        offset = torch.zeros(len(self.known) + 1, dtype=torch.int64)
        offset[1:] = torch.bincount(keys // self.items, minlength=len(self.known)).cumsum(0)
        return Histories(offset, keys % self.items)

    def query(self, user: Tensor) -> Query:
        """What a method is told of ``user`` (B,): -1 for those without training rows, and what each has chosen."""
        return Query(torch.where(self.known[user], user, -1), self.history.take(user))

    def drawn(self, user: Tensor) -> Histories:
        """Targets and drawn items of ``user`` (B,), where the protocol samples."""
        assert self.sample is not None
        row, item = self.sample.draw(user, self.met, self.items), torch.arange(len(user)).unsqueeze(1)
        low, high = torch.searchsorted(self.target, torch.stack([user, user + 1]) * self.items)
        own = torch.repeat_interleave(torch.arange(len(user)), high - low)
        shift = torch.repeat_interleave(low - (high - low).cumsum(0) + (high - low), high - low)
        target = self.target[torch.arange(len(own)) + shift] % self.items
        keys = torch.cat([(item * self.items + row).flatten(), own * self.items + target]).sort().values
        offset = torch.searchsorted(keys, torch.arange(len(user) + 1) * self.items)
        return Histories(offset, keys % self.items)

    def hits(self, lists: Tensor) -> Tensor:
        """Which ranks of ``lists`` (n, K) hold a target: (n, K)."""
        return among(self.users.unsqueeze(1) * self.items + lists, self.target) & (lists >= 0)

    def original(self, items: Tensor) -> Tensor:
        """Catalogue positions of positions among the candidates; -1 stays."""
        return items if self.candidates is None else torch.where(items >= 0, self.candidates[items], -1)

    @property
    def digest(self) -> str:
        """A hash of who is judged over which candidates (16 hex digits)."""
        h = hashlib.blake2b(digest_size=8)
        for x in (self.users, self.candidates):
            h.update(b"all" if x is None else x.numpy().tobytes())
        return h.hexdigest()


def _positions(x: Tensor | Sequence[int], n: int, what: str) -> Tensor:
    """Sorted, each once. Raises ArgumentError where one is not a position."""
    found = torch.as_tensor(x).unique().cpu()
    whole = not found.dtype.is_floating_point and found.dtype != torch.bool
    if not whole or not len(found) or int(found[0]) < 0 or int(found[-1]) >= n:
        raise ArgumentError(
            f"{what} must be positions from 0 to {n - 1}, at least one; found {found.dtype} {found.tolist()[:5]}"
        )
    return found.long()


def _histories(relations: list[Relation], rows: int) -> Histories:
    if not relations:
        return Histories(torch.zeros(rows + 1, dtype=torch.int64), torch.empty(0, dtype=torch.int64))
    return Histories.of(relations, rows)


def among(keys: Tensor, known: Tensor) -> Tensor:
    """Which ``keys`` are in the sorted ``known``."""
    if not len(known):
        return torch.zeros_like(keys, dtype=torch.bool)
    return known[torch.searchsorted(known, keys).clamp_(max=len(known) - 1)] == keys

"""Rules that divide the goal relation into train, valid and test: callables ``Dataset -> Dataset``, recorded in ``split``.

A rule divides all rows of the goal, however they were divided before. What it draws depends on its arguments and on which
pairs there are, not on the order of rows. Rows of other relations that would tell what is held out are left out:
each rule says which.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from hybridrec.data.batches import generator
from hybridrec.data.dataset import Dataset, Relation, Split
from hybridrec.errors import ArgumentError, DataError

PARTS = ("train", "valid", "test")
TRAIN, VALID, TEST = range(3)


def divide(data: Dataset, part: Tensor, rule: object) -> Dataset:
    """``data`` with row r of ``pooled(data)`` in part ``PARTS[part[r]]``; ``part`` is (E,) int8. Train must not be empty."""
    rows = pooled(data)
    kept = {PARTS[p]: rows.keep(part == p) for p in (TRAIN, VALID, TEST) if p == TRAIN or bool((part == p).any())}
    train = kept.pop("train")
    if not len(train):
        raise DataError(
            f"{type(rule).__name__} leaves no training rows of the {len(rows)} rows of {data.goal!r}; hold out less"
        )
    arguments = asdict(rule)  # type: ignore[call-overload]
    return replace(data.with_train(train), heldout=kept, split=Split(type(rule).__name__, arguments))


def pooled(data: Dataset) -> Relation:
    """All rows of the goal: train, valid, test."""
    return joined([data.train, *(data.heldout[p] for p in PARTS[1:] if p in data.heldout)])


def joined(parts: Sequence[Relation]) -> Relation:
    """The rows of all ``parts``, in their order; a time or value that some of them lack is NaN there."""
    if len(parts) == 1:
        return parts[0]

    def join(name: str) -> Tensor | None:
        found = [getattr(r, name) for r in parts]
        if all(x is None for x in found):
            return None
        blank = torch.float64 if name == "time" else torch.float32
        return torch.cat(
            [torch.full((len(r),), math.nan, dtype=blank) if x is None else x for r, x in zip(parts, found, strict=True)]
        )

    return replace(parts[0], index=torch.cat([r.index for r in parts], 1), time=join("time"), value=join("value"))


def with_valid(data: Dataset) -> Dataset:
    """``data`` with valid rows: as it is where it has some, else with one in ten of its training rows, and no test rows.

    They are drawn at random, and are the same in every call: what is chosen by them may then be trained on all.
    """
    if len(data.heldout.get("valid", ())):
        return data
    away = torch.rand(len(data.train), generator=generator("cpu", 0)) < 0.1
    return replace(data.with_train(data.train.keep(~away)), heldout={"valid": data.train.keep(away)})


def _fraction(rule: object, **fractions: float) -> None:
    for name, x in fractions.items():
        if not 0 <= x <= 1:
            raise ArgumentError(f"{type(rule).__name__}: {name} is {x}, wanted a fraction between 0 and 1")
    if sum(fractions.values()) >= 1:
        raise ArgumentError(f"{type(rule).__name__}: {fractions} hold out everything; together they must stay below 1")


@dataclass(frozen=True)
class WithoutOverlap:
    """The given split, less held-out rows whose pair lies in an earlier part: for files that would be refused as they are."""

    given: ClassVar[bool] = True  # load reads the split column before it applies this rule

    def __call__(self, data: Dataset) -> Dataset:
        """``data`` with fewer held-out rows."""
        items = data.counts[data.target]
        seen, heldout = data.train.index[0] * items + data.train.index[1], {}
        for part in PARTS[1:]:
            if part in data.heldout:
                rows = data.heldout[part]
                pair = rows.index[0] * items + rows.index[1]
                heldout[part] = rows.keep(~torch.isin(pair, seen))
                seen = torch.cat([seen, pair])
        if not any(len(r) for r in heldout.values()):
            raise DataError(
                f"{data.name}: every held-out pair of {data.goal!r} lies in an earlier part too; split it otherwise"
            )
        return replace(data, heldout={p: r for p, r in heldout.items() if len(r)}, split=Split(type(self).__name__, {}))


@dataclass(frozen=True)
class RandomSplit:
    """Each user's pairs at random: ``valid + test`` of them held out, rounded, at least one left for training.

    Rows that repeat a pair go where the pair goes. Users with too few pairs to round to one keep all of theirs in training.
    """

    train: float = 0.8
    valid: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        _fraction(self, valid=self.valid, test=self.test)
        if abs(self.train + self.valid + self.test - 1) > 1e-6:
            raise ArgumentError(f"RandomSplit: {self.train} + {self.valid} + {self.test} is not 1")

    def __call__(self, data: Dataset) -> Dataset:
        """``data``, divided anew."""
        rows = pooled(data)
        users, items = data.counts[data.source], data.counts[data.target]
        key = _lottery(rows.index[0].numpy(), rows.index[1].numpy(), users, items, self.seed)
        pairs = np.sort(key)
        pairs = pairs[np.concatenate([[True], pairs[1:] != pairs[:-1]])] if len(pairs) else pairs
        shift = np.uint64(64 - _bits(users))
        count = np.bincount((pairs >> shift).astype(np.int64), minlength=users)
        start = np.cumsum(count) - count
        held = np.minimum(np.floor(count * (self.valid + self.test) + 0.5), np.maximum(count - 1, 0))
        # Where the held-out pairs do not divide evenly, a lot of the user's decides which part gets the odd one.
        lot = _lottery(np.arange(users), np.zeros(users, np.int64), users, items + 1, ~self.seed) << np.uint64(_bits(users))
        share = self.test / (self.valid + self.test) if self.valid + self.test else 0.0
        test = np.floor(held * share + lot / 2.0**64).astype(np.int64)
        held = held.astype(np.int64)
        # A user's first pairs by lot are tested, the next validated: rows up to that pair's key.
        part = np.zeros(len(key), np.int8)
        for code, upto in ((VALID, held), (TEST, test)):
            last = np.where(upto > 0, pairs[np.minimum(start + upto - 1, len(pairs) - 1)], np.uint64(0))
            for a in range(0, len(key), 1 << 20):
                mine = key[a : a + (1 << 20)]
                user = rows.index[0, a : a + (1 << 20)].numpy()
                part[a : a + (1 << 20)][(mine <= last[user]) & (upto[user] > 0)] = code
        del key, pairs
        return divide(data, torch.from_numpy(part), self)


def _bits(n: int) -> int:
    return max(1, int(n - 1).bit_length())


def _lottery(user: np.ndarray, item: np.ndarray, users: int, items: int, seed: int) -> np.ndarray:
    """A number for each row, uint64: the user in the highest bits, below them a hash of (seed, user, item)."""
    key = np.empty(len(user), np.uint64)
    bits = np.uint64(_bits(users))
    salt = np.uint64(generator("cpu", seed).initial_seed())
    for a in range(0, len(user), 1 << 20):
        u = user[a : a + (1 << 20)].astype(np.uint64)
        x = (u * np.uint64(items) + item[a : a + (1 << 20)].astype(np.uint64)) ^ salt
        # The finaliser of SplitMix64 (Steele, Lea & Flood 2014, OOPSLA).
        x += np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
        key[a : a + (1 << 20)] = (u << (np.uint64(64) - bits)) | (x >> bits)
    return key


@dataclass(frozen=True)
class LeaveOneOut:
    """Each user's last row is tested, and the one before it validated where ``valid``; by time, else in file order.

    Users with fewer than three rows (two without ``valid``) stay in training. The last row may repeat an earlier pair.
    """

    valid: bool = True

    def __call__(self, data: Dataset) -> Dataset:
        """``data``, divided anew."""
        rows = pooled(data)
        _refuse_unknown_times(rows, data, self)
        order = torch.arange(len(rows)) if rows.time is None else rows.time.argsort(stable=True)
        order = order[rows.index[0, order].argsort(stable=True)]
        count = torch.bincount(rows.index[0], minlength=data.counts[data.source])
        last = (count.cumsum(0) - 1)[count >= 2 + self.valid]
        part = torch.zeros(len(rows), dtype=torch.int8)
        part[order[last]] = TEST
        if self.valid:
            part[order[last - 1]] = VALID
        return divide(data, part, self)


@dataclass(frozen=True)
class TemporalSplit:
    """The latest rows of all users are tested, those before them validated. Rows of one moment stay together.

    Rows of other relations later than the last training row are left out: they were not known then.
    """

    valid: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        _fraction(self, valid=self.valid, test=self.test)

    def __call__(self, data: Dataset) -> Dataset:
        """``data``, divided anew."""
        rows = pooled(data)
        if rows.time is None:
            raise DataError(
                f"TemporalSplit: {data.goal!r} has no times; give its file a 'timestamp' column, or split otherwise"
            )
        _refuse_unknown_times(rows, data, self)
        moments = rows.time.sort().values
        part = torch.zeros(len(rows), dtype=torch.int8)
        for code, held in ((VALID, self.valid + self.test), (TEST, self.test)):
            cut = len(rows) - round(held * len(rows))
            if cut < len(rows):
                part[rows.time >= moments[cut]] = code
        now = rows.time[part == TRAIN].max() if bool((part == TRAIN).any()) else moments[0]
        known = {
            name: r.keep(~(r.time > now)) if r.time is not None and name != data.goal else r
            for name, r in data.relations.items()
        }
        return divide(replace(data, relations=known), part, self)


def _refuse_unknown_times(rows: Relation, data: Dataset, rule: object) -> None:
    if rows.time is not None and bool(rows.time.isnan().any()):
        n = int(rows.time.isnan().sum())
        raise DataError(
            f"{type(rule).__name__}: {n} of the {len(rows)} rows of {data.goal!r} have no timestamp; "
            "give them one or leave them out"
        )


@dataclass(frozen=True)
class ColdItems:
    """A fraction ``test`` of the items has all its rows tested, a further fraction ``valid`` validated; none is trained on.

    What other relations of users or groups say of these items is left out; what describes them (triples, bundles) stays.
    """

    valid: float = 0.1
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        _fraction(self, valid=self.valid, test=self.test)

    def __call__(self, data: Dataset) -> Dataset:
        """``data``, divided anew."""
        rows = pooled(data)
        cold = _draw(rows.index[1], data.counts[data.target], self.valid, self.test, self.seed)
        known = {
            name: r.keep(cold[r.index[1]] == TRAIN)
            if name != data.goal and r.target == data.target and r.source in ("user", "group")
            else r
            for name, r in data.relations.items()
        }
        return divide(replace(data, relations=known), cold[rows.index[1]], self)


@dataclass(frozen=True)
class ColdUsers:
    """A fraction ``test`` of the users has all its rows tested, a further fraction ``valid`` validated; none is trained on.

    What these users did to the same kind of item in other relations is left out; friends, groups and other domains stay.
    """

    valid: float = 0.1
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        _fraction(self, valid=self.valid, test=self.test)

    def __call__(self, data: Dataset) -> Dataset:
        """``data``, divided anew."""
        rows = pooled(data)
        cold = _draw(rows.index[0], data.counts[data.source], self.valid, self.test, self.seed)
        known = {
            name: r.keep(cold[r.index[0]] == TRAIN)
            if name != data.goal and (r.source, r.target) == (data.source, data.target)
            else r
            for name, r in data.relations.items()
        }
        return divide(replace(data, relations=known), cold[rows.index[0]], self)


def _draw(entity: Tensor, n: int, valid: float, test: float, seed: int) -> Tensor:
    """The part of each entity (n,) int8: drawn among those that have rows; the others are left in training."""
    active = entity.unique()
    active = active[torch.randperm(len(active), generator=generator("cpu", seed))]
    tested, held = round(test * len(active)), round((test + valid) * len(active))
    part = torch.zeros(n, dtype=torch.int8)
    part[active[tested:held]] = VALID
    part[active[:tested]] = TEST
    return part

"""Exact full-catalogue ranking of users' held-out items: users in chunks, items in blocks, never users x items."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from hybridrec.data.batches import Histories, Query
from hybridrec.errors import HybridrecError
from hybridrec.evaluation.metrics import per_user
from hybridrec.evaluation.protocol import FULL, Protocol
from hybridrec.evaluation.result import Result
from hybridrec.evaluation.topk import best

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset

SCORES = 1 << 22  # scores held at once
CHUNK = 512  # users ranked together


class ScoreError(HybridrecError, ValueError):
    """Scores that cannot be ranked: names the method, the user and what was found."""


def evaluate(
    method: Any,
    data: Dataset,
    part: str = "test",
    *,
    ks: Sequence[int] = (10, 20),
    protocol: Protocol = FULL,
    users: Tensor | Sequence[int] | None = None,
    candidates: Tensor | Sequence[int] | None = None,
    chunk: int | None = None,
) -> Result:
    """Rank the catalogue for every user with rows in ``part`` and measure where those rows' items stand.

    Under several processes every one of them must call this: each ranks its share of the users, and all return the same.

    Args:
        method: anything with ``score(query) -> (B, I)``, or with ``represent(query) -> (B, D)`` and ``catalogue() -> (I, D)``.
        data: where rows, masks and histories come from.
        part: the part whose rows are the targets: ``test``, ``valid`` or ``train``.
        ks: cut-offs.
        protocol: what is read, what is masked, who counts; see ``hybridrec.evaluation.protocol``.
        users: positions of the only users to judge; None for all.
        candidates: positions of items to rank among themselves; None for all. Targets outside them are dropped.
        chunk: users ranked together; chosen from the sizes if None. It changes speed and memory only.

    Raises:
        ScoreError: a score is NaN, or ``score`` returns another shape than (B, I).
        DataError: ``part`` has no rows.
    """
    started = time.perf_counter()
    ks = tuple(sorted({int(k) for k in ks}))
    if not ks or ks[0] < 1:
        raise ValueError(f"ks must be cut-offs of at least 1, not {ks}")
    case = _Case(data, part, protocol, users, candidates)
    training = getattr(method, "training", False)
    if training:
        method.eval()
    try:
        with torch.no_grad():
            lists = _rank(method, case, min(ks[-1], case.items), chunk)
    finally:
        if training:
            method.train()
    hit = case.hits(lists)
    values = per_user(hit, case.wanted, ks)
    return Result(
        metrics={name: x.mean().item() for name, x in values.items()},
        users=case.users,
        per_user=values,
        lists=lists if case.candidates is None else torch.where(lists >= 0, case.candidates[lists], -1),
        seconds=time.perf_counter() - started,
    )


class _Case:
    """Who is ranked, what they read, what is masked and what is wanted, in positions among the candidates."""

    def __init__(
        self,
        data: Dataset,
        part: str,
        protocol: Protocol,
        users: Tensor | Sequence[int] | None,
        candidates: Tensor | Sequence[int] | None,
    ) -> None:
        parts = ["train", *(name for name, r in data.heldout.items() if len(r))]
        everyone, self.catalogue = data.sides["user"], data.sides["item"]
        self.candidates = None if candidates is None else torch.as_tensor(candidates, dtype=torch.int64).unique()
        self.items = self.catalogue if self.candidates is None else len(self.candidates)
        self.input = _histories(data, protocol.inputs(part, parts), everyone)
        self.known = torch.zeros(everyone, dtype=torch.bool)
        self.known[data.train.index[0]] = True
        masked = [data.part(p).index for p in protocol.masks(part, parts)]
        mask = self._keys(torch.cat(masked, 1)) if masked else torch.empty(0, dtype=torch.int64)
        self.targets = self._keys(data.part(part).index)
        self.targets = self.targets[~_among(self.targets, mask)]
        self.mask = _ragged(mask, self.items, everyone)
        count = torch.bincount(self.targets // self.items, minlength=everyone)
        judged = count > 0
        if users is not None:
            judged &= torch.zeros(everyone, dtype=torch.bool).index_fill_(0, torch.as_tensor(users, dtype=torch.int64), True)
        self.users = judged.nonzero().flatten()
        self.wanted = count[self.users]

    def _keys(self, index: Tensor) -> Tensor:
        """Sorted ``user * items + position`` of the links among the candidates, each once."""
        user, item = index
        if self.candidates is not None:
            position = torch.full((self.catalogue,), -1).index_put_((self.candidates,), torch.arange(self.items))
            item = position[item]
            user, item = user[item >= 0], item[item >= 0]
        return torch.unique(user * self.items + item)

    def hits(self, lists: Tensor) -> Tensor:
        """Which ranks of ``lists`` (n, K) hold a target: (n, K)."""
        return _among(self.users.unsqueeze(1) * self.items + lists, self.targets) & (lists >= 0)


def _histories(data: Dataset, parts: list[str], rows: int) -> Histories:
    if not parts:
        return Histories(torch.zeros(rows + 1, dtype=torch.int64), torch.empty(0, dtype=torch.int64))
    return data.histories(*parts)


def _among(keys: Tensor, known: Tensor) -> Tensor:
    """Which ``keys`` are in the sorted ``known``."""
    if not len(known):
        return torch.zeros_like(keys, dtype=torch.bool)
    return known[torch.searchsorted(known, keys).clamp_(max=len(known) - 1)] == keys


def _ragged(keys: Tensor, items: int, rows: int) -> Histories:
    offset = torch.zeros(rows + 1, dtype=torch.int64)
    offset[1:] = torch.bincount(keys // items, minlength=rows).cumsum(0)
    return Histories(offset, keys % items)


def _rank(method: Any, case: _Case, k: int, chunk: int | None) -> Tensor:
    """The best ``k`` candidates of every judged user, (n, k) int64 positions; -1 where there are no more."""
    device = _device(method)
    world, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_available() and dist.is_initialized() else (1, 0)
    scorer = (
        _Dot(method, case, device) if hasattr(method, "catalogue") and hasattr(method, "represent") else _Whole(method, case)
    )
    size = chunk or scorer.chunk
    lists = torch.zeros(len(case.users), k, dtype=torch.int64, device=device)
    bad = torch.zeros(1, dtype=torch.int64, device=device)
    history, mask = case.input.to(device), case.mask.to(device)
    # Whole chunks go to processes in turn, so that a chunk is computed in the same shape by one process or many.
    for start in range(rank * size, len(case.users), world * size):
        user = case.users[start : start + size].to(device)
        known = case.known[case.users[start : start + size]].to(device)
        query = Query(torch.where(known, user, -1), history.take(user))
        values, index = best(scorer.blocks(query), mask.take(user), k)
        wrong = values.isnan().any(1).nonzero().flatten()
        if len(wrong):
            bad.fill_(int(user[wrong[0]]) + 1)
            break
        lists[start : start + size] = torch.where(values > -torch.inf, index, -1)
    if world > 1:
        dist.all_reduce(bad, dist.ReduceOp.MAX)
        dist.all_reduce(lists)
    if bad.item():
        raise ScoreError(f"{type(method).__name__} scores NaN for user position {bad.item() - 1}; a NaN has no rank")
    return lists.cpu()


class _Dot:
    """Blocks of scores that are products of user and item vectors."""

    def __init__(self, method: Any, case: _Case, device: torch.device) -> None:
        self.method = method
        vectors = method.catalogue()
        self.vectors = (vectors if case.candidates is None else vectors[case.candidates.to(device)]).float()
        self.chunk = CHUNK

    def blocks(self, query: Query) -> Iterator[tuple[int, Tensor]]:
        """First column and scores (B, block) of each block."""
        user = self.method.represent(query).float()
        start = 0
        for block in self.vectors.split(max(1, SCORES // len(user))):
            yield start, user @ block.T
            start += len(block)


class _Whole:
    """Scores that only the method can compute, all columns at once."""

    def __init__(self, method: Any, case: _Case) -> None:
        self.method, self.case = method, case
        self.chunk = max(1, min(CHUNK, SCORES // case.catalogue))

    def blocks(self, query: Query) -> Iterator[tuple[int, Tensor]]:
        """One block: 0 and the scores (B, candidates)."""
        scores = self.method.score(query)
        wanted = (len(query.user), self.case.catalogue)
        if tuple(scores.shape) != wanted:
            raise ScoreError(f"{type(self.method).__name__}.score returned shape {tuple(scores.shape)}, wanted {wanted}")
        chosen = self.case.candidates
        # A copy: scores are overwritten by the mask, and may be the method's own.
        yield 0, scores.float().clone() if chosen is None else scores[:, chosen.to(scores.device)].float()


def _device(method: Any) -> torch.device:
    for tensors in ("parameters", "buffers"):
        for x in getattr(method, tensors, tuple)():
            return x.device
    return torch.device("cpu")

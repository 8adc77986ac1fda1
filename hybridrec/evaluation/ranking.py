"""Exact full-catalogue ranking of users' held-out items: users in chunks, items in blocks, never users x items."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from hybridrec.data.batches import Histories, Query
from hybridrec.errors import DataError, HybridrecError
from hybridrec.evaluation.case import Case
from hybridrec.evaluation.metrics import coverage, gini, per_user, self_information
from hybridrec.evaluation.passport import passport
from hybridrec.evaluation.protocol import FULL, Protocol
from hybridrec.evaluation.result import Result
from hybridrec.evaluation.slices import slices
from hybridrec.evaluation.topk import best

if TYPE_CHECKING:
    from hybridrec.data.dataset import Dataset

SCORES = 1 << 25  # scores held at once
CHUNK = {"cpu": 256}  # users ranked together: enough for the matrix product, few enough for the cache
LARGE_CHUNK = 2048  # on a GPU


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
    An item scored minus infinity is never named.

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
        ScoreError: a score is NaN, or scores are not of the shape (B, I).
        DataError: ``part`` has no rows, or nobody judged has a target.
    """
    started = time.perf_counter()
    cuts = tuple(sorted({int(k) for k in ks}))
    if not cuts or cuts[0] < 1:
        raise DataError(f"ks must be cut-offs of at least 1, not {ks}")
    case = Case(data, part, protocol, users, candidates)
    training = getattr(method, "training", False)
    if training:
        method.eval()
    try:
        with torch.no_grad():
            lists = _rank(method, case, min(cuts[-1], case.items), chunk)
    finally:
        if training:
            method.train()
    hit, named = case.hits(lists), case.original(lists)
    values = per_user(hit, case.wanted, cuts)
    if protocol.absent is not None:
        for x in values.values():
            x[case.wanted == 0] = protocol.absent
    chosen = torch.bincount(data.train.index[1], minlength=case.catalogue)
    metrics = {name: x.mean().item() for name, x in values.items()}
    metrics |= _of_the_catalogue(
        lists, self_information(chosen, len(case.known))[case.original(torch.arange(case.items))], cuts
    )
    result = Result(
        metrics=metrics,
        users=case.users,
        ids=case.ids[case.users.numpy()],
        per_user=values,
        lists=named,
        slices=slices(case, hit, named, chosen, cuts),
    )
    result.passport = passport(method, data, part, protocol, case, result, time.perf_counter() - started)
    return result


def _of_the_catalogue(lists: Tensor, information: Tensor, ks: tuple[int, ...]) -> dict[str, float]:
    """Coverage and Gini of what is named over all candidates, and the mean novelty of a named item."""
    result = {}
    for k in ks:
        named = lists[:, :k][lists[:, :k] >= 0]
        exposure = torch.bincount(named, minlength=len(information))
        result[f"coverage@{k}"], result[f"gini@{k}"] = coverage(exposure), gini(exposure)
        result[f"novelty@{k}"] = information[named].mean().item() if len(named) else 0.0
    return result


def _rank(method: Any, case: Case, k: int, chunk: int | None) -> Tensor:
    """The best ``k`` candidates of every judged user, (n, k) int64 positions; -1 where there are no more, or no target."""
    device = _device(method)
    world, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_available() and dist.is_initialized() else (1, 0)
    product = hasattr(method, "catalogue") and hasattr(method, "represent")
    scorer = _Products(method, case, device) if product else _Scores(method, case, device)
    size = chunk or scorer.chunk
    lists = torch.zeros(len(case.users), k, dtype=torch.int64, device=device)
    bad = torch.zeros(1, dtype=torch.int64, device=device)
    ranked = (case.wanted > 0).nonzero().flatten()
    lists[(case.wanted == 0).to(device)] = -1 if rank == 0 else 0
    # Whole chunks go to processes in turn, so that a chunk is computed in the same shape by one process or many.
    for start in range(rank * size, len(ranked), world * size):
        rows = ranked[start : start + size]
        user = case.users[rows]
        blocks = scorer.blocks(case.query(user).to(device))
        if case.sample is not None:
            blocks = _only(blocks, case.drawn(user).to(device))
        values, index = best(blocks, case.mask.take(user).to(device), k)
        wrong = values.isnan().any(1).nonzero().flatten()
        if len(wrong):
            bad.fill_(int(user[wrong[0].cpu()]) + 1)
            break
        lists[rows.to(device)] = torch.where(values > -torch.inf, index, -1)
    if world > 1:
        dist.all_reduce(bad, dist.ReduceOp.MAX)
        dist.all_reduce(lists)
    if bad.item():
        who = f"{case.source} {case.ids.tolist()[int(bad) - 1]!r}"
        raise ScoreError(f"{type(method).__name__} scores NaN for {who}; NaN has no rank: look for it in the weights")
    return lists.cpu()


def _only(blocks: Iterator[tuple[int, Tensor]], allowed: Histories) -> Iterator[tuple[int, Tensor]]:
    """``blocks`` with minus infinity wherever a row does not allow a column."""
    row, item = allowed.rows, allowed.item
    for start, scores in blocks:
        here = (item >= start) & (item < start + scores.shape[1])
        kept = torch.full_like(scores, -torch.inf)
        kept[row[here], item[here] - start] = scores[row[here], item[here] - start]
        yield start, kept


class _Products:
    """Scores that are products of user and item vectors, block of items by block."""

    def __init__(self, method: Any, case: Case, device: torch.device) -> None:
        self.method = method
        vectors = method.catalogue()
        if len(vectors) != case.catalogue:
            raise ScoreError(f"{type(method).__name__}.catalogue has {len(vectors)} rows, wanted {case.catalogue}")
        self.vectors = (vectors if case.candidates is None else vectors[case.candidates.to(device)]).float()
        self.chunk = CHUNK.get(device.type, LARGE_CHUNK)

    def blocks(self, query: Query) -> Iterator[tuple[int, Tensor]]:
        """First column and scores (B, block) of each block."""
        user = self.method.represent(query).float()
        start = 0
        for block in self.vectors.split(max(1, SCORES // len(user) // 64) * 64):
            yield start, user @ block.T
            start += len(block)


class _Scores:
    """Scores that only the method can compute, all columns at once."""

    def __init__(self, method: Any, case: Case, device: torch.device) -> None:
        self.method, self.case = method, case
        self.chunk = max(1, min(CHUNK.get(device.type, LARGE_CHUNK), SCORES // case.catalogue))

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

"""Speed and memory of the evaluator: large products, and the scores of an ml-1m-sized catalogue against a plain loop.

python tests/benchmarks/bench_evaluate.py [--users 50000]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hybridrec.data.dataset import Dataset, Ids, Relation
from hybridrec.evaluation.passport import peak_memory, reset_peak_memory
from hybridrec.evaluation.ranking import CHUNK, SCORES, evaluate

Rank = Callable[[np.ndarray, set[int], int], list[int]]


class Products:
    """Scores as products of user and item vectors."""

    def __init__(self, users: int, items: int, dim: int = 64) -> None:
        random = torch.Generator().manual_seed(0)
        self.users, self.items = torch.randn(users, dim, generator=random), torch.randn(items, dim, generator=random)

    def represent(self, query: Any) -> torch.Tensor:
        return self.users[query.user]

    def catalogue(self) -> torch.Tensor:
        return self.items


class Table:
    """Scores that are there already."""

    def __init__(self, scores: torch.Tensor) -> None:
        self.scores = scores

    def score(self, query: Any) -> torch.Tensor:
        return self.scores[query.user]


def synthetic(users: int, items: int, each: int) -> Dataset:
    """Random links: eight tenths train, one valid, one test."""
    random = torch.Generator().manual_seed(0)
    key = torch.unique(torch.randint(users * items, (users * each,), generator=random))
    index, place = torch.stack([key // items, key % items]), torch.rand(len(key), generator=random)
    part = [Relation("user", "item", index[:, (a <= place) & (place < b)]) for a, b in ((0, 0.8), (0.8, 0.9), (0.9, 1))]
    ids = {"user": Ids(np.arange(users)), "item": Ids(np.arange(items))}
    return Dataset(ids, {"interact": part[0]}, "interact", {"valid": part[1], "test": part[2]}, name="synthetic")


def timed(call: Callable[[], Any], repeats: int = 1) -> tuple[float, float]:
    """Least wall and processor seconds."""
    found = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(w for w, _ in found), min(c for _, c in found)


def bare(method: Products, users: torch.Tensor) -> None:
    """The least that exact ranking by products could be: matrix product and torch.topk, block by block."""
    size = CHUNK["cpu"]
    for chunk in method.users[users].split(size):
        for block in method.items.split(SCORES // size):
            (chunk @ block.T).topk(20)


def by_sorting(row: np.ndarray, seen: set[int], k: int) -> list[int]:
    """The best ``k`` items of a user, in plain Python."""
    scores = row.tolist()
    return sorted((item for item in range(len(scores)) if item not in seen), key=scores.__getitem__, reverse=True)[:k]


def by_argsort(row: np.ndarray, seen: set[int], k: int) -> list[int]:
    """The same by numpy."""
    row = row.copy()
    row[list(seen)] = -np.inf
    return np.argsort(-row, kind="stable")[:k].tolist()


def plain(data: Dataset, scores: np.ndarray, rank: Rank, ks: tuple[int, ...] = (10, 20)) -> dict[str, float]:
    """One user after the other: rank what was not seen, look for the targets, add up the metrics."""
    seen: dict[int, set[int]] = {u: set() for u in range(len(scores))}
    wanted: dict[int, set[int]] = {u: set() for u in range(len(scores))}
    for part, kept in (("train", seen), ("valid", seen), ("test", wanted)):
        for user, item in data.part(part).index.T.tolist():
            kept[user].add(item)
    total: dict[str, float] = {}
    judged = [u for u in wanted if wanted[u]]
    for user in judged:
        hits = [item in wanted[user] for item in rank(scores[user], seen[user], max(ks))]
        for k in ks:
            found = [j for j, h in enumerate(hits[:k]) if h]
            ideal = sum(1 / math.log2(j + 2) for j in range(min(k, len(wanted[user]))))
            values = {
                "recall": len(found) / len(wanted[user]),
                "precision": len(found) / k,
                "hit": float(bool(found)),
                "mrr": 1 / (found[0] + 1) if found else 0.0,
                "ndcg": sum(1 / math.log2(j + 2) for j in found) / ideal,
                "map": sum((n + 1) / (j + 1) for n, j in enumerate(found)) / len(wanted[user]),
            }
            for name, value in values.items():
                total[f"{name}@{k}"] = total.get(f"{name}@{k}", 0) + value / len(judged)
    return total


def large(users: int, items: int = 100_000) -> None:
    """Memory over the embeddings, and time against the bare loop."""
    data, method = synthetic(users, items, 40), Products(users, items)
    some = torch.arange(0, users, 10)
    evaluate(method, data, users=some[:512])
    reset_peak_memory()
    before = peak_memory()
    wall, _ = timed(lambda: evaluate(method, data))
    peak = (peak_memory() - before) / 2**30
    print(
        f"{users:,} users x {items:,} items x 64: {wall:.1f} s ({users / wall:,.0f} users/s), {peak:.2f} GiB above embeddings"
    )
    ours, floor = timed(lambda: evaluate(method, data, users=some), 3), timed(lambda: bare(method, some), 3)
    print(
        f"  a tenth of them: {ours[0]:.2f} s, bare matmul + topk {floor[0]:.2f} s: {floor[0] / ours[0]:.0%} "
        f"(processor time {ours[1]:.2f} s, {floor[1]:.2f} s: {floor[1] / ours[1]:.0%})"
    )
    assert peak < 1.5, f"{peak:.2f} GiB, wanted less than 1.5"
    assert floor[1] / ours[1] >= 0.7, "less than 70% of the time of the bare loop"


def small() -> None:
    """Users a second against the plain loop, over the same scores."""
    data = synthetic(6040, 3260, 165)
    scores = torch.randn(6040, 3260, generator=torch.Generator().manual_seed(1))
    found = evaluate(Table(scores), data).metrics
    wall, cpu = timed(lambda: evaluate(Table(scores), data), 3)
    print(f"6,040 users x 3,260 items, given scores: {6040 / wall:,.0f} users/s (processor time {6040 / cpu:,.0f})")
    times = {}
    for rank in (by_sorting, by_argsort):
        for name, value in plain(data, scores.numpy(), rank).items():
            assert abs(value - found[name]) < 1e-9, name
        loop = timed(lambda rank=rank: plain(data, scores.numpy(), rank))
        times[rank] = loop[1] / cpu
        print(
            f"  plain loop over users, {rank.__name__}: {6040 / loop[0]:,.0f} users/s, {loop[0] / wall:.0f} times slower "
            f"(processor time {loop[1] / cpu:.0f})"
        )
    assert times[by_sorting] >= 20, "less than 20 times as fast as the plain loop"


def diffrec() -> None:
    """The size on which the authors' DiffRec takes 27 s."""
    data, method = synthetic(5949, 2810, 96), Products(5949, 2810)
    wall, cpu = timed(lambda: evaluate(method, data), 3)
    print(f"5,949 users x 2,810 items x 64: {wall:.2f} s (processor time {cpu:.2f} s)")
    assert cpu < 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=50_000, help="users of the large case")
    asked = parser.parse_args()
    small()
    diffrec()
    large(asked.users)

"""Closed forms: processor seconds of solving and scoring beside other routes to the same numbers, and EASE's peak memory.

    python tests/benchmarks/bench_baselines.py                       # random data of the size of MovieLens-1M
    python tests/benchmarks/bench_baselines.py --data path/to/folder

A path of ridge weights: one more inverse in place against one more weight from an eigendecomposition made once.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

import hybridrec as hr
from hybridrec import linear
from hybridrec.data.dataset import Dataset, Ids, Relation
from hybridrec.foldin import row_vectors
from hybridrec.rows import multiply

# The kernel's own high-water mark (Linux): that of getrusage starts at the parent's.
PEAK = """
import sys
from pathlib import Path
import numpy as np
from scipy.sparse import random
from hybridrec import linear

def solve(x):
    return linear.without_self_(linear.invert_(linear.regularise_(linear.gram(x), 100)))

def held(name):
    return next(int(line.split()[1]) * 1024 for line in Path("/proc/self/status").open() if line.startswith(name))

items = int(sys.argv[1])
x = random(2000, items, 10 / items, "csr", np.float32, np.random.default_rng(0))
solve(x[:, :500])
Path("/proc/self/clear_refs").write_text("5")
before = held("VmRSS")
solve(x)
print((held("VmHWM") - before) / (4 * items**2))
"""


def random_data(users: int, items: int, links: int) -> Dataset:
    """Links drawn with popularity falling off as one over rank, each once, in random order; no time."""
    random = np.random.default_rng(0)
    weight = 1 / np.arange(1, items + 1) ** 0.8
    key = np.unique(random.integers(users, size=2 * links) * items + random.choice(items, 2 * links, p=weight / weight.sum()))
    key = random.permutation(key)[:links]
    index = torch.from_numpy(np.stack([key // items, key % items]))
    ids = {"user": Ids(np.arange(users)), "item": Ids(np.arange(items))}
    return Dataset(ids, {"interact": Relation("user", "item", index)}, "interact", name="random")


def seconds(work: Callable[[], Any]) -> float:
    """Processor time, which other work on the machine changes less than it does the clock; the better of two."""
    times = []
    for _ in range(2):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def peak(items: int) -> float:
    """What solving EASE adds to a process at its highest, in matrices of items by items."""
    done = subprocess.run([sys.executable, "-c", PEAK, str(items)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure(data: Dataset, dim: int, items: int) -> dict[str, float]:
    """Every route, in processor seconds; the last is a ratio."""
    from scipy.linalg import eigh

    x = linear.interactions(data)
    gram = linear.gram(x)
    ready = linear.regularise_(gram.clone(), 500)
    value, basis = (torch.from_numpy(a) for a in eigh(gram.numpy()))
    history = data.histories()
    rows = history.take(torch.arange(min(512, data.sides["user"])))
    weights = torch.randn_like(gram)
    dense = rows.dense(len(gram))
    vectors = torch.randn(len(gram), dim) / dim
    ridge = torch.full((data.sides["user"],), 3.0)
    found = {
        "Gram matrix": seconds(lambda: linear.gram(x)),
        "inverse, in place": seconds(lambda: linear.invert_(ready.clone())),
        "inverse, numpy": seconds(lambda: np.linalg.inv(ready.numpy())),
        "eigendecomposition": seconds(lambda: eigh(gram.numpy())),
        "inverse for one more ridge from it": seconds(lambda: (basis / (value + 500)) @ basis.T),
        "diagonal of the inverse, Krylov": seconds(lambda: hr.KrylovEASE(data).solve(data)),
        f"{len(dense)} rows scored, sparse": seconds(lambda: multiply(rows, weights)),
        f"{len(dense)} rows scored, dense": seconds(lambda: dense @ weights),
        "iALS, users' half, batched": seconds(lambda: row_vectors(history, vectors, 0.1, ridge)),
        "iALS, users' half, a loop": seconds(lambda: loop(history, vectors, ridge)),
    }
    if find_spec("implicit"):
        found |= implicit(x, dim)
    found["iALS, 5 sweeps"] = seconds(lambda: hr.IALS(data, dim=dim, sweeps=5).solve(data))
    found[f"peak of EASE at {items:,} items, in matrices"] = peak(items)
    return found


def loop(history: Any, vectors: torch.Tensor, ridge: torch.Tensor) -> None:
    """The normal equations of one user after the other."""
    common = 0.1 * vectors.T @ vectors + ridge[0] * torch.eye(vectors.shape[1])
    for part in history.item.split(history.lengths.tolist()):
        v = vectors[part]
        torch.linalg.solve(common + v.T @ v, v.sum(0))


def implicit(x: Any, dim: int) -> dict[str, float]:
    """The package implicit's compiled solvers on the same rows."""
    from implicit.als import AlternatingLeastSquares

    def fit(cg: bool) -> None:
        model = AlternatingLeastSquares(dim, iterations=5, use_gpu=False, num_threads=torch.get_num_threads(), use_cg=cg)
        model.fit(x, show_progress=False)

    return {
        "iALS, 5 sweeps, implicit, exact": seconds(lambda: fit(False)),
        "iALS, 5 sweeps, implicit, conjugate gradients": seconds(lambda: fit(True)),
    }


def main() -> None:
    """Print one line a route."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a data set folder; random data if not given")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--items", type=int, default=8000, help="items for the peak of memory")
    parser.add_argument("--quick", action="store_true", help="small data")
    args = parser.parse_args()
    shape = (1000, 500, 20_000) if args.quick else (5949, 2810, 403_277)
    data = hr.load(args.data) if args.data else random_data(*shape)
    print(f"{data}; {torch.get_num_threads()} thread(s), processor seconds")
    for name, value in measure(data, args.dim, 3000 if args.quick else args.items).items():
        print(f"{name:48}{value:10.3f}", flush=True)


if __name__ == "__main__":
    main()

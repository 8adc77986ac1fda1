"""One machine, 1,000,000 users, 1,000,000 items, 100,000,000 interactions: load, split, train a dot product, rank.

    python tests/benchmarks/bench_scale.py                # full size: 2.4 GB on disk, 16 GiB of memory at the most
    python tests/benchmarks/bench_scale.py --share 0.1    # a tenth of all sizes

Interactions are generated (items by a power law, times at random) as an Arrow file, which is mapped into memory. Each phase is
timed, and the most memory that the process has held by its end is told (resident pages, mapped ones included).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

LIMIT = 16 * 1024**3
SCHEMA = pa.schema({"user_id": pa.int64(), "item_id": pa.int64(), "timestamp": pa.int64()})
WORK = """
import json, resource, sys, time
import torch
import hybridrec as hr
from hybridrec.data.batches import PairSampler

folder, batch, judged, steps = sys.argv[1], *map(int, sys.argv[2:5])
told, start = {}, time.perf_counter()

def phase(name, n):
    global start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    told[name] = {"seconds": time.perf_counter() - start, "count": n, "peak": peak}
    start = time.perf_counter()

phase("imports", 0)
data = hr.load(folder)
rows = len(data.train) + sum(map(len, data.heldout.values()))
phase("load and split", rows)
sampler = PairSampler(data, batch_size=batch)
for step, pairs in enumerate(sampler.epoch(0)):
    if step == 9:
        break
phase("sample", len(pairs.user) * 10)
del sampler, pairs

class Steps(PairSampler):
    steps = steps

    def epoch(self, *args, **kwargs):
        for step, pairs in zip(range(self.steps), super().epoch(*args, **kwargs)):
            yield pairs

torch.manual_seed(0)
method = hr.AMF(data, dim=64, warmup=1)  # plain BPR until the attack begins
method.sampler = Steps
fitted = hr.fit(method, data, epochs=1, batch_size=batch, lr=1e-2, validate=lambda method: 0.0, progress=False)
told["loss"] = fitted.history[-1]["rank"]
phase("train", steps * batch)
users = torch.randperm(data.counts["user"], generator=torch.Generator().manual_seed(0))[:judged].sort().values
result = hr.evaluate(method, data, users=users)
told["metrics"] = {k: result.metrics[k] for k in ("recall@20", "ndcg@20")}
phase("evaluate", len(result.users))
print(json.dumps(told))
"""


def write(folder: Path, rows: int, users: int, items: int) -> None:
    """``interactions.arrow`` of so many rows: users alike, items by a power law."""
    random = np.random.default_rng(0)
    with pa.OSFile(str(folder / "interactions.arrow"), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for start in range(0, rows, 1 << 20):
            n = min(1 << 20, rows - start)
            item = (random.random(n) ** 3 * items).astype(np.int64)
            columns = [random.integers(users, size=n), item, random.integers(789652009, 1427784002, size=n)]
            writer.write_table(pa.table(columns, schema=SCHEMA))


def measure(share: float, judged: int = 10_000, steps: int = 200, batch: int = 65_536) -> dict:
    """What each phase took, in a process of its own."""
    rows, users, items = (int(n * share) for n in (100_000_000, 1_000_000, 1_000_000))
    with tempfile.TemporaryDirectory(prefix="hybridrec-scale-") as name:
        write(Path(name), rows, users, items)
        call = [sys.executable, "-c", WORK, name, *map(str, (batch, judged, steps))]
        done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True)
    return {"rows": rows, "users": users, "items": items, "batch": batch, **json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    """Print the table; exit 1 where more memory was held than the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the full sizes (default: %(default)s)")
    parser.add_argument("--judged", type=int, default=10_000, help="users ranked")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=65_536)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    args = parser.parse_args()
    found = measure(args.share, args.judged, args.steps, args.batch)
    print(f"{found['users']:,} users, {found['items']:,} items, {found['rows']:,} interactions")
    phases = {name: x for name, x in found.items() if isinstance(x, dict) and "peak" in x}
    for name, x in phases.items():
        rate = f"{x['count'] / x['seconds']:14,.0f} a second" if x["count"] else ""
        print(f"{name:16s} {x['seconds']:8.1f} s   peak {x['peak'] / 1024**3:6.2f} GiB {rate}")
    peak = max(x["peak"] for x in phases.values())
    print(f"loss {found['loss']:.4f}; {found['metrics']}; peak {peak / 1024**3:.2f} GiB of {LIMIT / 1024**3:.0f}")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(1 if peak > LIMIT else 0)


if __name__ == "__main__":
    main()

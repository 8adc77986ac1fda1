"""Loading 20 million interactions: seconds, and peak memory against the bytes of the file's int64 columns."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

LOAD = """
import resource, sys, time
import torch, pyarrow.parquet, pyarrow.compute
from hybridrec.data.folder import load
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
data = load(sys.argv[1])
seconds = time.perf_counter() - start
print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, len(data.train))
"""


def write(folder: Path, rows: int, users: int, items: int, text: bool) -> None:
    """An ``interactions.parquet`` with ids as integers or as text, in the sizes of MovieLens-20M."""
    random = np.random.default_rng(0)
    kind = pa.string() if text else pa.int64()
    schema = pa.schema({"user_id": kind, "item_id": kind, "timestamp": pa.int64()})
    with pq.ParquetWriter(folder / "interactions.parquet", schema, compression="zstd") as writer:
        for start in range(0, rows, 1 << 20):
            n = min(1 << 20, rows - start)
            user, item = random.integers(users, size=n), (random.random(n) ** 3 * items).astype(np.int64)
            columns = [pa.array(user), pa.array(item), pa.array(random.integers(789652009, 1427784002, size=n))]
            if text:
                columns[:2] = [pa.array(np.char.add("U", user.astype(str))), pa.array(np.char.add("B00", item.astype(str)))]
            writer.write_table(pa.table(columns, schema=schema))


def measure(rows: int = 20_000_000, users: int = 138_493, items: int = 26_744, text: bool = False) -> dict[str, float]:
    """Seconds, peak growth in bytes, and that as a multiple of ``3 * 8 * rows``, in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), rows, users, items, text)
        done = subprocess.run([sys.executable, "-c", LOAD, name], capture_output=True, text=True, check=True)
    seconds, peak, train = map(float, done.stdout.split())
    return {"rows": rows, "train": train, "seconds": seconds, "peak_bytes": peak, "times_columns": peak / (3 * 8 * rows)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000, help="interactions (default: %(default)s)")
    args = parser.parse_args()
    for text in (False, True):
        found = measure(args.rows, text=text)
        print(
            f"{'string' if text else 'int64'} ids, {args.rows:,} rows: loaded and split in {found['seconds']:.1f} s, "
            f"peak {found['peak_bytes'] / 1e9:.2f} GB, {found['times_columns']:.2f} x its three int64 columns (limit 3)"
        )

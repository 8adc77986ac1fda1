"""What a training step of an embedding table sends between two processes and holds in each: measured against 4 N D.

    python tests/benchmarks/bench_traffic.py             # DDP and FSDP2, two processes (gloo) on this machine
    unshare -rn sh -c 'ip link set lo up; python tests/benchmarks/bench_traffic.py'    # so that nobody else's traffic counts

Bytes are those of the loopback interface (Linux), as the difference of a long and a short run, so that what is sent once
does not count. Memory is the most that a process held while it trained, beyond what it held before.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from workers.launch import torchrun

WORK = """
import json, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
import hybridrec as hr
from hybridrec.data.batches import PairSampler
from hybridrec.data.dataset import Dataset, Ids, Relation

out, nodes, dim, steps = sys.argv[2], *map(int, sys.argv[3:6])
half = nodes // 2
index = torch.randint(half, (2, 4096), generator=torch.Generator().manual_seed(0))
data = Dataset({"user": Ids(range(half)), "item": Ids(range(half))}, {"interact": Relation("user", "item", index)}, "interact")

class Steps(PairSampler):
    steps = steps

    def epoch(self, *args, **kwargs):
        while True:
            yield from super().epoch(*args, **kwargs)

def limited(*args, **kwargs):
    for _, pairs in zip(range(steps), Steps.epoch(*args, **kwargs)):
        yield pairs

def resident():
    return int(next(x for x in open("/proc/self/status") if x.startswith("VmRSS")).split()[1]) * 1024

method = hr.AMF(data, dim=dim, warmup=1)
method.sampler = type("Sampler", (Steps,), {"epoch": limited})
before = resident()
record = hr.fit(method, data, epochs=1, batch_size=1024, progress=False)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
if record.processes == 1 or torch.distributed.get_rank() == 0:
    Path(out).write_text(json.dumps({"before": before, "peak": peak, "processes": record.processes}))
"""
FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "NO_WRAP",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}


def sent() -> int:
    """Bytes that have gone over the loopback interface."""
    line = next(x for x in Path("/proc/net/dev").read_text().splitlines() if x.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[8])


def run(nodes: int, dim: int, steps: int, processes: int, environment: dict[str, str]) -> dict:
    """Bytes and memory of one run of so many steps."""
    with tempfile.TemporaryDirectory() as folder:
        script, out = Path(folder) / "work.py", Path(folder) / "out.json"
        script.write_text(WORK)
        package, start = Path(__file__).parents[2], sent()
        torchrun(script, package, out, nodes, dim, steps, processes=processes, environment=environment, timeout=3600)
        return {**json.loads(out.read_text()), "bytes": sent() - start}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=40_000, help="users and items together (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20, help="more steps in the long run than in the short one")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    table = 4 * args.nodes * args.dim
    print(f"{args.nodes:,} nodes, D = {args.dim}: the table has {table / 1e6:.2f} MB")
    found = {}
    for name, processes, environment in (("one process", 1, {}), ("DDP", 2, {}), ("FSDP2", 2, FSDP)):
        short, long = (run(args.nodes, args.dim, n, processes, environment) for n in (2, 2 + args.steps))
        each = (long["bytes"] - short["bytes"]) / args.steps / processes
        grown = long["peak"] - long["before"]
        found[name] = {"sent_by_a_process_a_step": each, "memory": grown, "table": table, "processes": long["processes"]}
        print(f"{name:12s} sent by a process a step {each / 1e6:8.2f} MB = {each / table:5.2f} tables", end="; ")
        print(f"memory + {grown / 1e6:7.1f} MB", flush=True)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Two real processes (gloo) rank the same lists as one, to the last position."""

import json
import os
import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).parent.parent / "workers" / "ranking.py"


def run(processes: int, out: Path) -> list[list]:
    """What each process wrote."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launch, str(WORKER), str(out)], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(Path(f"{out}-{rank}.json").read_text()) for rank in range(processes)]


def test_two_processes_find_what_one_finds(tmp_path):
    (one,), (first, second) = run(1, tmp_path / "one"), run(2, tmp_path / "two")
    assert len(one) == 9 and "user 'u1099'" in one[-1]
    assert len(one[0]["lists"]) == 733 and len(one[2]["lists"]) == 1100
    assert first == one and second == one

"""Two real processes (gloo) rank the same lists as one, to the last position."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from workers.launch import CPUS, command

WORKER = Path(__file__).parent.parent / "workers" / "ranking.py"


def start(processes: int, out: Path) -> subprocess.Popen:
    """The worker, by torchrun; one process is told by the environment what torchrun would tell it."""
    environment = {**os.environ, **CPUS}
    if processes > 1:
        launch = command(WORKER, out, processes=processes)
    else:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        launch = [sys.executable, str(WORKER), str(out)]
        environment |= {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return subprocess.Popen(launch, env=environment, stderr=subprocess.PIPE, text=True)


def found(worker: subprocess.Popen, processes: int, out: Path) -> list[list]:
    """What each process wrote."""
    _, errors = worker.communicate(timeout=280)
    assert worker.returncode == 0, errors
    return [json.loads(Path(f"{out}-{rank}.json").read_text()) for rank in range(processes)]


def test_two_processes_find_what_one_finds(tmp_path):
    workers = start(1, tmp_path / "one"), start(2, tmp_path / "two")
    try:
        (one,), (first, second) = found(workers[0], 1, tmp_path / "one"), found(workers[1], 2, tmp_path / "two")
    finally:
        for worker in workers:
            worker.kill()
    assert len(one) == 9 and "user 'u1099'" in one[-1]
    assert len(one[0]["lists"]) == 733 and len(one[2]["lists"]) == 1100
    assert first == one and second == one

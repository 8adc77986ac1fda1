"""Two real processes in the middle of training: one is killed, falls silent, or is sent SIGTERM. Prints how each of them ends.

    python tests/workers/lost.py

One line of JSON a case: exit codes by rank, what the process that was left alone said, and the seconds it took to end.
"""

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import kills

from hybridrec.data.batches import PairSampler
from hybridrec.methods import SGL

SILENCE = 4.0  # seconds until a process that does not answer is taken for lost


class Slow(PairSampler):
    """Batches with a pause before each, so that there is time to be interrupted in."""

    def epoch(self, *args, **kwargs):
        for batch in super().epoch(*args, **kwargs):
            time.sleep(0.05)
            yield batch


def case(number: signal.Signals, folder: Path) -> dict:
    """Send ``number`` to the second of two processes once a checkpoint is there."""
    out, checkpoints = folder / "out", folder / "checkpoints"
    processes = kills.start("SGL", 2, checkpoints, out)
    until = time.monotonic() + 120
    while not list(checkpoints.glob("step-*")) and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(processes[1], number)
    begun = time.monotonic()
    first = kills.ended(processes[0], 60)
    seconds = time.monotonic() - begun
    if number == signal.SIGSTOP:
        os.kill(processes[1], signal.SIGKILL)
    codes = [first, kills.ended(processes[1], 60)]
    said = [line for line in Path(f"{out}.log").read_text().splitlines() if line.startswith(("error: ", "SIGTERM"))]
    return {"signal": number.name, "codes": codes, "said": said, "seconds": round(seconds, 1)}


if __name__ == "__main__":
    SGL.sampler, kills.PATIENCE = Slow, 2 * SILENCE
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
        with tempfile.TemporaryDirectory() as scratch:
            print(json.dumps(case(number, Path(scratch))), flush=True)

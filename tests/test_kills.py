"""Real processes, killed at random moments, go on to the same weights and log: the tally of tests/workers/kills.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).parent / "workers" / "kills.py"


def tally(kills: int, seed: int) -> dict:
    command = [sys.executable, str(WORKER), "--kills", str(kills), "--seed", str(seed)]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_three_kills_change_nothing():
    found = tally(3, seed=0)
    assert found["kills"] == 3 and found["runs"] >= 1
    assert found["different"] == 0 and found["hung"] == 0


@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_twenty_five_kills_change_nothing():
    found = tally(25, seed=1)
    assert found["kills"] == 25 and found["runs"] >= 7
    assert found["in_write"] >= 3 and found["left_alone_and_ended"] >= 1
    assert found["different"] == 0 and found["hung"] == 0


def test_a_lost_process_ends_the_other_with_a_clear_message_and_sigterm_to_one_stops_both():
    command = [sys.executable, str(WORKER.parent / "lost.py")]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    killed, silent, stopped = map(json.loads, done.stdout.splitlines()[-3:])
    for case in (killed, silent):
        assert case["codes"] == [3, -9] and "another process of this run was lost or did not answer" in case["said"][0]
    assert stopped["codes"] == [143, 143] and "SIGTERM: stopped" in stopped["said"][0]

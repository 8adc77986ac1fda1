"""Two real processes (gloo) against one: the same rows, the same losses, the same metrics."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from workers.launch import torchrun

WORKERS = Path(__file__).parent / "workers"
WORKER = WORKERS / "two_processes.py"


def run(processes: int, out: Path) -> dict:
    """What the worker wrote when started by torchrun with so many processes."""
    torchrun(WORKER, out, processes=processes)
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    return run(1, folder / "one.json"), run(2, folder / "two.json")


def test_two_processes_see_every_row_once(runs):
    one, two = runs
    assert two["processes"] == 2 and len(two["seen"]) == 2
    whole = [sorted(batch) for batch in one["seen"][0]]
    assert len(whole) == 4 * -(-600 // 128)
    shared = [sorted(a + b) for a, b in zip(*two["seen"], strict=True)]
    assert shared == whole  # batch by batch: no row lost, none twice


def test_two_processes_follow_the_losses_of_one(runs):
    one, two = runs
    for a, b in zip(one["history"], two["history"], strict=True):
        assert b == pytest.approx(a, rel=1e-4)


def test_two_processes_end_with_the_same_weights_and_metrics(runs):
    one, two = runs
    assert two["weights"] == pytest.approx(one["weights"], rel=1e-3, abs=1e-4)
    assert two["metrics"] == pytest.approx(one["metrics"], abs=1e-6)


def compared(methods: list[str], out: Path) -> dict:
    """The rows of tests/workers/one_against_two.py by method."""
    command = [sys.executable, str(WORKERS / "one_against_two.py"), "--json", str(out), "--methods", *methods]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr[-3000:]
    return {row["method"]: row for row in json.loads(out.read_text())["found"]}


def test_every_kind_of_method_follows_one_process_for_fifty_steps(tmp_path):
    rows = compared(["SGL", "MultVAE", "SASRec", "CFGAN", "Align"], tmp_path / "rows.json")
    for row in rows.values():
        assert row["steps"] >= 50 and row["loss"] < 1e-4 and row["metric"] < 1e-6, row


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_method_whose_randomness_is_shared_follows_one_process(tmp_path):
    rows = compared(["all"], tmp_path / "rows.json")
    assert len(rows) > 10
    for row in rows.values():
        assert row["steps"] >= 50 and row["loss"] < 1e-4 and row["metric"] < 1e-6, row

"""recipes/align.py, whole, on small data and a tiny encoder: by one process and by two, and the artifact is asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import planted
from standin import titled
from tinytext import tiny_sentences

from hybridrec.data.writing import save_folder

ROOT = Path(__file__).parent.parent


def python(*arguments: str, processes: int = 1) -> str:
    """What a recipe prints when run from the top folder, as the README says."""
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "accelerate.commands.launch", "--config_file", "accelerate_config.yaml"]
        start += ["--num_processes", str(processes), "--num_cpu_threads_per_process", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([*start, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("align")
    data = titled(planted())
    save_folder(data, folder / "data")
    return folder, tiny_sentences(folder / "tiny", data.tables["item"]["title"].to_pylist())


def align(inputs, name: str, processes: int = 1) -> tuple[str, list[dict]]:
    folder, tiny = inputs
    small = ["--dim", "8", "--rank", "2", "--views", "1", "--epochs", "2", "--batch_size", "12", "--column", "title"]
    where = ["--encoder", str(tiny), "--out", str(folder / name), "--report", str(folder / f"{name}.json")]
    said = python("recipes/align.py", str(folder / "data"), *small, *where, processes=processes)
    return said, json.loads((folder / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def single(inputs):
    return align(inputs, "one")


def test_one_process_ends_with_a_table_and_an_artifact_that_answers(inputs, single):
    said, rows = single
    names = [
        "random",
        "popularity of title",
        "frozen, mean of history",
        "frozen + kernel ridge",
        "frozen + ridge",
        "aligned (LoRA)",
        "aligned, texts shuffled",
    ]
    assert [row["row"] for row in rows] == names
    assert all(name in said for name in names) and str(inputs[0] / "one") in said
    for row in rows:
        assert 0 <= row["metrics"]["ndcg@20"] <= 1
        assert row["split"]["name"] == "ColdItems" and row["judged"]["candidates"] == 8
        assert len(row["lead"]) == (row["row"] != "aligned (LoRA)")
    answer = python("recipes/query.py", "space robots", "--k", "3", "--artifact", str(inputs[0] / "one"))
    assert len(answer.strip().splitlines()) == 3


def test_two_processes_come_to_the_same_table(inputs, single):
    _, one = single
    _, two = align(inputs, "together", processes=2)
    fixed = [row["metrics"] for row in one[:5]]
    assert [row["metrics"] for row in two[:5]] == fixed  # nothing of these is trained in batches
    for a, b in zip(one[5:], two[5:], strict=True):
        assert b["training"]["processes"] == 2 and a["training"]["processes"] == 1
        assert b["metrics"]["ndcg@20"] == pytest.approx(a["metrics"]["ndcg@20"], abs=0.15)  # dropout differs

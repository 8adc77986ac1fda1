"""recipes/sequential.py, whole, on planted data."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import planted

from hybridrec.data.dataset import Feature
from hybridrec.data.writing import save_folder

RECIPE = Path(__file__).parent.parent / "recipes" / "sequential.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    data = planted(users=100)
    feature = Feature(torch.randn(40, 200), torch.ones(40, dtype=torch.bool))
    path = tmp_path_factory.mktemp("sequential") / "tiny"
    save_folder(replace(data, features={"item": {"text": feature}}), path)
    return path


def call(*arguments):
    command = [sys.executable, str(RECIPE), *map(str, arguments)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def test_it_trains_judges_and_writes_passports_then_trains_on_all_before_the_last_item(folder, tmp_path):
    rows = ["EASE+recency", "SASRec-sampled", "TiedSASRec"]
    done = call(folder, *rows, "--epochs", 2, "--out", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in rows:
        found = json.loads((tmp_path / f"tiny-{name}-0.json").read_text())
        test, valid = found["test"], found["valid"]
        assert test["split"]["name"] == "LeaveOneOut" and test["data"]["rows"]["test"] == 100
        assert test["protocol"]["input"] == ["train", "valid"] and valid["part"] == "valid"
        assert 0 <= test["metrics"]["ndcg@10"] <= 1 and test["data"]["order"] == "time, ties in file order"
    again = call(folder, "SASRec-sampled", "--out", tmp_path, "--final", "--save", tmp_path / "saved")
    assert again.returncode == 0, again.stderr[-3000:]
    final = json.loads((tmp_path / "tiny-SASRec-sampled-0-final.json").read_text())["test"]
    before = json.loads((tmp_path / "tiny-SASRec-sampled-0.json").read_text())["test"]
    assert final["data"]["rows"]["train"] == before["data"]["rows"]["train"] + 100
    assert final["training"]["epochs"] == before["training"]["best_epoch"]
    assert (tmp_path / "saved" / "tiny-SASRec-sampled-0-final" / "model.safetensors").exists()


def test_epochs_batches_and_windows_may_be_other_than_the_row_says(folder, tmp_path):
    done = call(folder, "EASE", "CL4SRec", "--epochs", 1, "--batch_size", 16, "--stride", 3, "--out", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "tiny-CL4SRec-0.json").read_text())["test"]
    assert found["method"]["arguments"]["stride"] == 3 and found["training"]["settings"]["batch_size"] == 16
    assert json.loads((tmp_path / "tiny-EASE-0.json").read_text())["test"]["training"]["epochs"] == 0


def test_unknown_rows_are_named(folder):
    done = call(folder, "SASRek")
    assert done.returncode == 2 and "no row ['SASRek']" in done.stderr

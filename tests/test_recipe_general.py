"""recipes/general.py, whole, on planted data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import planted

import hybridrec as hr
from hybridrec.data.writing import save_folder
from hybridrec.saving import build

RECIPES = Path(__file__).parent.parent / "recipes"
FILES = sorted(RECIPES.glob("general*.yaml"))


def test_it_trains_judges_by_both_protocols_and_writes_passports(tmp_path):
    save_folder(planted(users=100), tmp_path / "tiny")
    (tmp_path / "mine.yaml").write_text(
        "Wide: {method: LightGCN, arguments: {dim: 8}}\nMultVAE: {fit: {batch_size: 50}}\nEASE: {arguments: {ridge: 5.0}}\n"
    )
    labels = ["Wide", "MultVAE", "EASE"]
    command = [sys.executable, RECIPES / "general.py", tmp_path / "tiny", *labels, "--epochs", 2]
    command += ["--arguments", tmp_path / "mine.yaml", "--out", tmp_path / "out"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    for label in labels:
        found = json.loads((tmp_path / "out" / f"tiny-{label}-0.json").read_text())
        assert {protocol: run["protocol"]["mask"] for protocol, run in found.items()} == {
            "full": ["train", "valid"],
            "train-mask": ["train"],
        }
    assert (
        json.loads((tmp_path / "out" / "tiny-MultVAE-0.json").read_text())["full"]["training"]["settings"]["batch_size"] == 50
    )


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_every_entry_of_its_files_builds(file):
    data = planted(users=100)
    for label, spec in yaml.safe_load(file.read_text()).items():
        assert set(spec) <= {"method", "arguments", "fit"}
        getattr(hr, spec.get("method", label))(data, **build(spec.get("arguments") or {}))
